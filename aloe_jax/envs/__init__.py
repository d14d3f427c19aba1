"""The embedded simulator: bimanual tasks, a scripted human, rendered cameras."""
