"""What command lines of the experiments ask of an option."""

import argparse
import pathlib


def directory(text: str) -> pathlib.Path:
  """A directory, there already or still to be made."""
  path = pathlib.Path(text)
  if path.exists() and not path.is_dir():
    raise argparse.ArgumentTypeError(f'found a file at {path}, expected a directory or nothing.')
  return path


def count(text: str) -> int:
  """A number of an option that has to be 1 or more."""
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'found {text!r}, expected a whole number of 1 or more.')
  return int(text)
