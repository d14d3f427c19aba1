"""One step on one device or many; hosts."""
