"""A bucket that does not answer: said, tried for a while and no longer, and left at a signal.

The libraries that reach buckets try again in silence, for half a minute or for a quarter of an
hour. Here is kept what is being waited for and what went wrong with it, and a thread looks after
that: it says so, and ends the process where nothing came of it for long. gcsfs tells of attempts
that failed in its log, TensorStore in its counters alone.
"""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import dataclasses
import logging
import os
import threading
import time
from typing import TypeVar

import tensorstore

from aloe_jax import files
from aloe_jax import progress
from aloe_jax import stopping

SAID_SECONDS = 10.0  # of trouble, before it is said
LONGEST_SECONDS = 600.0  # of trouble, that anything is tried for
_SLOW_SECONDS = 10.0  # that small objects do not take of a service that answers
_HINDERS_SECONDS = 3.0  # of trouble, after which a signal waits for nothing
_FORGOTTEN_SECONDS = 60.0  # after which trouble counts as over where nothing was tried since
_LOOK_SECONDS = 0.5

_Result = TypeVar('_Result')


@dataclasses.dataclass(eq=False)
class _Wait:
  """Something that is being waited for.

  Attributes:
    url: that is used.
    done: what is to be, such as 'written'.
    small: whether a service that answers does it at once.
    blocks: whether the program does nothing else meanwhile.
    since: when it began.
  """

  url: str
  done: str
  small: bool
  blocks: bool
  since: float

  @property
  def key(self) -> tuple[str, str, bool]:
    """Of the trouble that it may have: bucket, what is to be done there, and whether it is small.

    A lock that is written every few seconds tells nothing of arrays that are not.
    """
    return self.url.partition('://')[2].partition('/')[0], self.done, self.small


@dataclasses.dataclass
class _Trouble:
  """What went wrong with things of a kind, since any of them last went well."""

  since: float
  last: float
  error: str
  is_said: bool = False


@dataclasses.dataclass(frozen=True)
class _Counted:
  """What TensorStore has met since the process began.

  Attributes:
    retries: attempts that failed and are made again.
    codes: {status of HTTP: answers}.
  """

  retries: int
  codes: dict[str, int]

  @property
  def answers(self) -> int:
    """Of requests that were done."""
    return sum(count for code, count in self.codes.items() if code.startswith('2'))


_RETRIES, _CODES = '/tensorstore/kvstore/gcs/retries', '/tensorstore/http/response_codes'
_lock = threading.Lock()
_waits: set[_Wait] = set()
_troubles: dict[tuple[str, str, bool], _Trouble] = {}
_begun = threading.Event()  # there is something to look after
_watcher: list[threading.Thread] = []
_current: contextvars.ContextVar[_Wait | None] = contextvars.ContextVar('current', default=None)
_once: contextvars.ContextVar[bool] = contextvars.ContextVar('once', default=False)


@contextlib.contextmanager
def waiting(url: str | os.PathLike, done: str, *, small: bool = False) -> Iterator[None]:
  """Looks after something that is done in a bucket meanwhile; nothing of a place that is in none.

  Args:
    url: that is used.
    done: what is to be: 'read', 'written' or 'removed'.
    small: whether a service that answers does it at once.
  """
  if not files.is_url(url):
    yield
    return
  blocks = threading.current_thread() is threading.main_thread()
  wait = _Wait(os.fspath(url), done, small, blocks, time.monotonic())
  with _lock:
    _waits.add(wait)
    _begun.set()
    if not _watcher:
      _watcher.append(threading.Thread(target=_watch, name='patience', daemon=True))
      _watcher[0].start()
  token = _current.set(wait)
  try:
    yield
    _went_well(wait)
  finally:
    _current.reset(token)
    with _lock:
      _waits.discard(wait)


def tried(action: Callable[[], _Result], is_passing: Callable[[Exception], bool]) -> _Result:
  """Does something again and again while it fails for a reason that passes, for a limited time.

  Args:
    action: to be done; the library below has waited between its own attempts.
    is_passing: whether an error may be over when it is tried again.
  """
  begin = time.monotonic()
  while True:
    try:
      return action()
    except Exception as error:
      if _once.get() or time.monotonic() > begin + LONGEST_SECONDS or not is_passing(error):
        raise


@contextlib.contextmanager
def once() -> Iterator[None]:
  """Has `tried` try no more than once inside it: what is done comes again by itself."""
  token = _once.set(True)
  try:
    yield
  finally:
    _once.reset(token)


class Listener(logging.Handler):
  """Hears what gcsfs says to its log of attempts that failed, of which it tells nobody else."""

  def emit(self, record: logging.LogRecord) -> None:
    """Takes an error down to what was waited for when it came."""
    wait, text = _current.get(), record.getMessage()
    if wait is not None and ('retrying after' in text or 'out of retries' in text):
      with _lock:
        _went_wrong(wait, time.monotonic(), ' '.join(text.partition('exception: ')[2].split()))


def _went_wrong(wait: _Wait, since: float, error: str) -> None:
  now = time.monotonic()
  trouble = _troubles.setdefault(wait.key, _Trouble(since, now, error))
  trouble.last, trouble.error = now, error[-200:] or 'no answer'


def _went_well(wait: _Wait) -> None:
  with _lock:
    trouble = _troubles.pop(wait.key, None)
  if trouble is not None and trouble.is_said:
    _print(
      f'gs://{wait.key[0]} answers again, after {_duration(time.monotonic() - trouble.since)}.'
    )


def _counted() -> _Counted:
  collected = tensorstore.experimental_collect_matching_metrics
  retries = sum(value['value'] for told in collected(_RETRIES) for value in told['values'])
  codes = {v['code']: v['value'] for told in collected(_CODES) for v in told['values']}
  return _Counted(retries, codes)


def _hear(before: _Counted) -> _Counted:
  """Takes down what came of TensorStore's attempts since `before`; one that went well is enough."""
  now = _counted()
  with _lock:
    waits = [wait for wait in _waits if not wait.small]
    if now.retries > before.retries and now.answers == before.answers:
      failed = {code for code, count in now.codes.items() if count > before.codes.get(code, 0)}
      for wait in waits:
        _went_wrong(wait, time.monotonic(), f'HTTP {", ".join(failed)}' if failed else '')
  if now.answers > before.answers:
    for wait in waits:
      _went_well(wait)
  return now


def _watch() -> None:
  heard = _counted()
  while True:
    if not _begun.is_set():
      _begun.wait()
      heard = _counted()
    time.sleep(_LOOK_SECONDS)
    heard = _hear(heard)
    said, hindered, ends = _look(time.monotonic())
    stopping.hindered(hindered)
    for line in said:
      _print(line)
    if ends:
      stopping.leave(1, f'error: {ends} {stopping.kept()}')


def _look(now: float) -> tuple[list[str], str, str]:
  """Lines to say, what a signal is not to wait for, and what ends the program; '' for nothing."""
  said, hindered, ends = [], '', ''
  with _lock:
    slow = _HINDERS_SECONDS if stopping.asked() else _SLOW_SECONDS
    for wait in _waits:
      if wait.small and now > wait.since + slow and wait.key not in _troubles:
        _went_wrong(wait, wait.since, 'no answer')
    for key, trouble in list(_troubles.items()):
      waits = sorted((w for w in _waits if w.key == key), key=lambda w: (not w.blocks, w.since))
      if not waits:
        if now > trouble.last + _FORGOTTEN_SECONDS:
          del _troubles[key]
        continue
      passed, url = now - trouble.since, waits[0].url
      if passed > _HINDERS_SECONDS:
        hindered = f'{url} could not be {key[1]} ({trouble.error}).'
      if passed > SAID_SECONDS and not trouble.is_said:
        trouble.is_said = True
        said.append(
          f'{url} could not be {key[1]} for {_duration(passed)}: {trouble.error}. It is tried for '
          f'{_duration(LONGEST_SECONDS)} in all; Ctrl-C and SIGTERM are heard.'
        )
      if passed > LONGEST_SECONDS and waits[0].blocks:
        ends = f'{url} could not be {key[1]} for {_duration(passed)}: {trouble.error}.'
    if not _waits and not _troubles:
      _begun.clear()
  return said, hindered, ends


def _duration(seconds: float) -> str:
  return f'{seconds / 60:.0f} min' if seconds >= 90 else f'{seconds:.0f} s'


def _print(line: str) -> None:
  progress.CONSOLE.print(line, highlight=False, soft_wrap=True)
