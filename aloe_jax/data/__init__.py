"""Episodes on disk, fragments, and the replay buffer."""
