"""What a person at the robot may say by a button or a key, and what it does to a recorder.

A page and a terminal of the same recorder share one `Commands`, so that a wait which one of them
shows can be ended by the other.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any
import weakref

from aloe_client import arguments

_ONCE = 'A person acts as soon as the robot’s program goes on.'


@dataclasses.dataclass(frozen=True)
class Command:
  """A button.

  Attributes:
    name: of it.
    key: that is pressed for it.
    title: on it.
    help: what it does, for who cannot see where it stands.
  """

  name: str
  key: str
  title: str
  help: str


ALL = (
  Command('takeover', 't', 'Take over', 'A person acts from the next step on'),
  Command('release', 'r', 'Release', 'The policy acts again, from a new chunk'),
  Command('success', 's', 'Success', 'The episode ends: the task is done'),
  Command('failure', 'f', 'Failure', 'The episode ends: the task has failed'),
  Command('cut', 'c', 'Cut', 'The episode ends without a verdict'),
  Command('next', 'n', 'Next', 'The next episode begins'),
  Command('discard', 'd', 'Discard', 'Takes back the episode that goes on, or else the last one'),
  Command('stop', 'x', 'Stop', 'The episode is cut, and no other begins'),
)
NAMES = tuple(command.name for command in ALL)
BY_KEY = {command.key: command.name for command in ALL}


class RefusedError(Exception):
  """A command that cannot be followed now; says why to the person."""


class Commands:
  """Follows commands, from any thread.

  Attributes:
    waiting: whether the robot's program is in `wait`.
  """

  def __init__(self, recorder: Any):
    self.waiting = False
    self._recorder = weakref.proxy(recorder)  # `of` remembers this one for as long as it lives
    self._stopped = threading.Event()
    self._lock = threading.Lock()
    self._fronts = 0

  @property
  def stopped(self) -> bool:
    """Whether a person has said stop, and not next after it."""
    return self._stopped.is_set()

  def open(self) -> None:
    """Says that a page or a terminal is there to be pressed; `close` says that it no longer is."""
    with self._lock:
      self._fronts += 1

  def close(self) -> None:
    """See `open`."""
    with self._lock:
      self._fronts -= 1

  def wait(self, timeout: float | None = None, *, alone: bool = False) -> bool:
    """Waits while the recorder is paused, until a person says next.

    Args:
      timeout: seconds; None waits as long as it takes.
      alone: whether to wait where there is neither a page nor a terminal too, since another thread
        may call `begin` of the recorder.

    Returns:
      Whether an episode may begin; False where a person has said stop, or it took too long.

    Raises:
      RuntimeError: there is neither a page nor a terminal, so that nobody can say it.
    """
    end = None if timeout is None else time.monotonic() + timeout
    self.waiting = True
    try:
      while not self._stopped.is_set():
        if self._recorder.recording:
          return True
        if not self._fronts and not alone:
          raise RuntimeError(
            'nobody can say next: there is neither a page (aloe_client.cockpit.serve) nor a '
            'terminal (aloe_client.terminal.controls).'
          )
        if end is not None and time.monotonic() > end:
          return False
        self._stopped.wait(0.05)
      return False
    finally:
      self.waiting = False

  def run(self, name: str, episode: int | None = None) -> str:
    """Follows a command.

    Args:
      name: one of `NAMES`.
      episode: that the person saw go on or come next; None where it does not matter.

    Returns:
      What was done, for the person.

    Raises:
      RefusedError: nothing was done; says why.
    """
    if name not in NAMES:
      raise RefusedError(f'{name!s:.20}: there is no such command.')
    try:
      with self._lock:  # two people cannot both end one episode
        return self._run(name, episode)
    except RefusedError:
      raise
    except Exception as error:  # such as a full disk: the person is told, the robot goes on
      raise RefusedError(str(error) or type(error).__name__) from error

  def _run(self, name: str, episode: int | None) -> str:
    recorder = self._recorder
    state = recorder.snapshot()
    now, goes_on = state['episode'], state['recording'] and state['step'] > 0
    if episode not in (None, now) and name in ('success', 'failure', 'cut', 'discard'):
      raise RefusedError(f'Not done: it was said of episode {episode}, and now it is {now}.')
    if name == 'takeover':
      if state['who'] == 'human':
        return 'A person acts already.'
      if not recorder.plays:
        raise RefusedError('Another program plays this robot: take over there.')
      if not recorder.takeover():
        raise RefusedError(arguments.NO_PERSON)
      return _ONCE if self.waiting else 'A person acts.'
    if name == 'release':
      if state['who'] != 'human':
        return 'The policy acts already.'
      recorder.release()
      return 'The policy acts, from a new chunk.'
    if name == 'next':
      if recorder.recording:
        raise RefusedError('Nothing waits for it: end the episode first.')
      recorder.begin()
      self._stopped.clear()
      return f'Episode {now} begins.'
    if name == 'discard':
      which = recorder.discard(wait=goes_on)  # no other begins by itself before the scene is back
      if not which:
        raise RefusedError('There is no episode to take back.')
      return f'{which} is put aside.'
    if name in ('success', 'failure') and not goes_on:
      raise RefusedError('There is no episode to end.')
    reason = 'cut' if name == 'stop' else name
    ended = recorder.end(reason, wait=True)
    if name == 'stop':
      self._stopped.set()
      return 'Stopped.' + (f' Episode {now} is cut.' if ended else '')
    return f'Episode {now} ended: {reason}.' if ended else 'Paused before an episode began.'


_KNOWN: weakref.WeakKeyDictionary[Any, Commands] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def of(recorder: Any) -> Commands:
  """The commands of a recorder, the same ones for all who ask."""
  with _LOCK:
    if recorder not in _KNOWN:
      _KNOWN[recorder] = Commands(recorder)
    return _KNOWN[recorder]
