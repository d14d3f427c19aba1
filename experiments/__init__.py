"""Experiments: one file each, plain values with units in comments."""
