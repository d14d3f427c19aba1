"""One run: its experiment, starting point, data, checkpoints and phases."""
