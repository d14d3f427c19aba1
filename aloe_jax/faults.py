"""What went wrong in a Python file that a person wrote, and where in it, as one line."""

import pathlib
import traceback

_NOT_THEIRS = ('<', str(pathlib.Path(__file__).parent))  # made code, and this package


class Refusal(ValueError):
  """What somebody's file did that nobody can go on from; says all that a person needs."""


def refused(error: BaseException) -> str:
  """The message of a refusal, or '' for any other error."""
  return str(error) if isinstance(error, Refusal) else ''


def told(error: BaseException) -> str:
  """An exception of somebody's file as 'ZeroDivisionError: division by zero (toy.py, line 3)'."""
  text = f'{type(error).__name__}: {error}' if str(error) else type(error).__name__
  if isinstance(error, SyntaxError):
    return text  # says its file and line itself
  frames = [
    frame
    for frame in traceback.extract_tb(error.__traceback__)
    if not frame.filename.startswith(_NOT_THEIRS)
  ]
  return f'{text} ({frames[-1].filename}, line {frames[-1].lineno})' if frames else text
