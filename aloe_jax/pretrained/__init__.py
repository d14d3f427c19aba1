"""Published checkpoints in and out: openpi's Orbax directories and big_vision's .npz files."""
