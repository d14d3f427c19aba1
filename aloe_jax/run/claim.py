"""One process at a time works in a directory of a bucket, where no system keeps locks.

`train.lock` there names the process, which writes it anew every few seconds for as long as it
lives. What stays silent was left by one that was killed, or whose machine was taken away: the next
one waits that long, and takes over.
"""

import json
import signal
import threading
import time
from typing import Any
import uuid

from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax.buckets import patience
from aloe_jax.buckets import storage
from aloe_jax.run import lock

BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # after which a process counts as gone
_LOOK_SECONDS = 1.0


class Claim:
  """The claim to a directory, held from its making to `release`.

  Args:
    url: of the directory.

  Raises:
    FileExistsError: another process works there; names it.
    OSError: the bucket cannot be used.
  """

  def __init__(self, url: str):
    self._url = f'{url}/{lock.NAME}'
    self._own = lock.me() | {'token': uuid.uuid4().hex}
    self._released = threading.Event()
    self._beats = 0
    _wait_for_others(url, self._url, self._own)
    while not self._take():
      _wait_for_others(url, self._url, self._own)
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._thread.start()

  def release(self) -> None:
    """Gives the directory up."""
    self._released.set()
    self._thread.join()
    if self._is_ours():
      storage.remove(self._url)

  def _take(self) -> bool:
    if not storage.create(self._url, self._content()):
      return False
    return self._is_ours()  # a service that knows no conditions may have let two of them write

  def _content(self) -> bytes:
    return json.dumps(self._own | {'beats': self._beats}, indent=1).encode()

  def _is_ours(self) -> bool:
    return _read(self._url).get('token') == self._own['token']

  def _beat(self) -> None:
    other: dict[str, Any] = {}
    while not self._released.wait(BEAT_SECONDS):
      try:
        with patience.once():
          other = _read(self._url)
          if other.get('token') != self._own['token']:
            break
          self._beats += 1
          storage.write(self._url, self._content())
      except OSError:
        continue  # whoever writes what was learnt says so
    if not self._released.is_set():
      stopping.end_at_once(
        signal.SIGTERM,
        f'error: {self._url} is no longer of this process, but of {lock.named(other)}: this one '
        f'was silent for more than {SILENT_SECONDS:g} s, or the file was removed. It ends, as two '
        'would write over each other.',
      )


def _wait_for_others(url: str, place: str, own: dict[str, Any]) -> None:
  """Returns once nobody works there; raises FileExistsError as soon as somebody is seen to."""
  content = storage.read(place)
  if content is None:
    return
  other = _parsed(content)
  if not lock.is_dead(other, own, locks=False):
    progress.CONSOLE.print(
      f'{place} names {lock.named(other)}; waits for {SILENT_SECONDS:g} s to see whether it lives.',
      soft_wrap=True,
      highlight=False,
    )
    stop = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < stop:
      time.sleep(min(_LOOK_SECONDS, SILENT_SECONDS / 10))
      now = storage.read(place)
      if now is None:
        return
      if now != content:
        raise FileExistsError(
          f'{url} is being worked in by {lock.named(_parsed(now))}; expected one `train` at a '
          'time. Give another --workdir, wait for it, or stop it there: the same command then goes '
          'on after what was finished.'
        )
  if storage.read(place) == content:
    storage.remove(place)
    progress.CONSOLE.print(
      f'Taking over from {lock.named(other)}, which no longer works here.',
      soft_wrap=True,
      highlight=False,
    )


def _read(place: str) -> dict[str, Any]:
  return _parsed(storage.read(place) or b'')


def _parsed(content: bytes) -> dict[str, Any]:
  """Who a file names; {} where it is damaged."""
  try:
    found = json.loads(content)
  except ValueError:
    return {}
  return found if isinstance(found, dict) else {}
