"""What a command has opened and closes before it ends, however it ends."""

from collections.abc import Callable, Iterator
import contextlib

_commands: list[contextlib.ExitStack] = []


@contextlib.contextmanager
def command() -> Iterator[None]:
  """Closes at the end what is told to `at_end` meanwhile, the last one first."""
  with contextlib.ExitStack() as stack:
    _commands.append(stack)
    try:
      yield
    finally:
      _commands.remove(stack)


def at_end(close: Callable[[], None]) -> None:
  """Has the command that runs call something before it ends; does nothing where none runs."""
  if _commands:
    _commands[-1].callback(close)
