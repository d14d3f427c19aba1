"""A message for the case that this process is ended without a chance to say anything."""

import contextlib
import subprocess


class LastWord:
  """A small process that says a text when this one is gone, unless that takes it back.

  Where process 0 is killed, JAX ends the others at once, from a thread that is not Python's.

  Args:
    text: to be said.
  """

  def __init__(self, text: str):
    self._heir = subprocess.Popen(
      ['sh', '-c', 'read -r word || printf "%s\\n" "$1" >&2', 'sh', text],
      stdin=subprocess.PIPE,
      start_new_session=True,  # Ctrl-C is not for it
    )

  def take_back(self) -> None:
    """This process ends by itself, and has said why."""
    assert self._heir.stdin is not None
    with contextlib.suppress(OSError):
      self._heir.stdin.write(b'\n')
      self._heir.stdin.close()
    self._heir.wait()
