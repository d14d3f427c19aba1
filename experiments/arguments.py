"""What command lines of the experiments ask of an option."""

import argparse
import pathlib
import tempfile

from aloe_jax import files


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
  """Help that keeps the lines of a docstring, and tells defaults."""

  def __init__(self, prog: str):
    super().__init__(prog, width=100)

  def _get_help_string(self, action: argparse.Action) -> str | None:
    told = action.default not in (None, False)
    return super()._get_help_string(action) if told else action.help


def directory(text: str) -> pathlib.Path:
  """A directory, there already or still to be made."""
  if not text or not text.isprintable():
    raise argparse.ArgumentTypeError(f'found {text!r}, expected the name of a directory.')
  if files.is_url(text):
    raise argparse.ArgumentTypeError(f'found {text}, in a bucket; expected a directory here.')
  path = pathlib.Path(files.expanded(text))
  if found := [mark for mark in '\\"\'' if mark in str(path.absolute())]:
    raise argparse.ArgumentTypeError(
      f'found {found[0]} in {path.absolute()}, expected a path without quotes and backslashes: '
      'commands name it.'
    )
  if path.exists() and not path.is_dir():
    raise argparse.ArgumentTypeError(f'found a file at {path}, expected a directory or nothing.')
  return path


def check_writable(option: str, path: pathlib.Path) -> None:
  """Makes a directory, and looks before anything is done whether files can be written there.

  Raises:
    SystemExit: they cannot.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=path).close()
  except OSError as error:
    raise SystemExit(f'error: {option}: {error}; choose a place that can be written.') from None


def count(text: str) -> int:
  """A number of an option that has to be 1 or more."""
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'found {text!r}, expected a whole number of 1 or more.')
  return int(text)
