"""Errors of an environment that somebody brought, told with its name and with when they came."""

from collections.abc import Iterator
import contextlib
import pathlib
import traceback

from aloe_jax import faults

_FRAMES = 3  # of the way to an error that are told, the innermost ones


class Refusal(faults.Refusal):
  """What an environment did that nobody can go on from; its text says all that a person needs."""


def raised(where: str, what: str, error: BaseException) -> Refusal:
  """What an environment raised, as an error that says so.

  Args:
    where: the task, and when; such as 'gymnasium:my_task:Reach-v0, step 3 (seed 7)'.
    what: was done, such as 'step'.
    error: that came of it.
  """
  return Refusal(
    f'{where}: {what} raised {type(error).__name__}: {error}{_way(error)}. Mend that in the '
    'environment, or on this machine.'
  )


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
  """Says which environment returned what a check refuses, see `raised`.

  Raises:
    Refusal: in place of a ValueError.
  """
  try:
    yield
  except ValueError as error:
    raise Refusal(f'{where}: {error}') from error


def _way(error: BaseException) -> str:
  """Where it was raised: files and lines, without those that did no more than pass a call on."""
  frames = traceback.extract_tb(error.__traceback__)
  own = [f for f in frames if not _passes_on(pathlib.Path(f.filename))][-_FRAMES:]
  told = [f'{pathlib.Path(frame.filename).name}:{frame.lineno}' for frame in own]
  return f' ({", ".join(told)})' if told else ''


def _passes_on(path: pathlib.Path) -> bool:
  is_ours = path.parent == pathlib.Path(__file__).parent and path.name.startswith('gymnasium_')
  return is_ours or 'gymnasium' in path.parts or path.name.startswith('<frozen')
