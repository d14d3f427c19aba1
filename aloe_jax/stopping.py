"""Ctrl-C and SIGTERM: heard anywhere in a program, and answered where nothing is lost by it.

A signal ends what is going on at once, unless that is worth to be brought to a good end first: then
whoever does it asks from time to time. A second signal ends the process on the spot.
"""

from collections.abc import Iterator
import contextlib
import os
import select
import signal
import sys
import threading
import time
from typing import Any, NoReturn
import weakref

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_GOES_ON = 'The same command goes on after what was finished.'
# Some send a signal to a process and to its group, which brings it there twice.
_SAME_SECONDS = 1.0
# Native code, such as a compiler, keeps Python from hearing of a signal. A cluster that takes its
# machine back waits for half a minute.
_UNHEARD_SECONDS = 5.0
_LOOK_SECONDS = 0.1


class Stopped(KeyboardInterrupt):
  """A signal ends the program; its text says what is kept and what is done again.

  Attributes:
    number: of the signal.
  """

  def __init__(self, number: int, said: str):
    super().__init__(said)
    self.number = number
    _hearing.ending = said


class Deferral:
  """Something that a signal does not break off.

  Attributes:
    loses: whether something would be lost if the process ended now.
  """

  loses = False


class _Hearing:
  """What came, and what is to be done about it."""

  def __init__(self) -> None:
    self.number: int | None = None  # of the first signal
    self.since = 0.0
    self.said = [_GOES_ON]
    self.deferrals: list[Deferral] = []
    self.raised: weakref.ref[Stopped] | None = None
    self.ending = ''  # of the `Stopped` that ends the program
    self.hindered = ''
    self.repeats = False

  def handle(self, number: int, frame: object) -> None:
    if self.number is not None and not self.repeats:
      if time.monotonic() > self.since + _SAME_SECONDS:
        end_at_once(number, 'Stopped at once. The same command goes on after what is whole.')
      return
    if not self.repeats:
      self.number, self.since = number, time.monotonic()
    self.repeats = False
    if not self.deferrals:
      error = Stopped(number, f'Stopped. {self.said[-1]}')
      self.raised = weakref.ref(error)
      try:
        raise error
      finally:
        del error  # else this frame would keep it after all others have dropped it

  def watch(self, descriptor: int) -> None:
    """Looks after signals that the main thread does not hear, or forgets.

    It hears none while it is in native code: the process ends then, once nothing is lost by it. And
    what is raised inside a callback of the garbage collector, or a destructor, Python drops: it is
    raised again.
    """
    first: tuple[int, float] | None = None
    while True:
      seconds = None if first is None else _LOOK_SECONDS
      if select.select([descriptor], [], [], seconds)[0]:
        data = os.read(descriptor, 1)
        if not data:
          break
        if first is None and data[0] in _NUMBERS:
          first = data[0], time.monotonic()
      if first is None:
        continue
      if self.number is None:
        if time.monotonic() > first[1] + _UNHEARD_SECONDS and not self.loses():
          end_at_once(first[0], self.line())
      elif self.hindered and time.monotonic() > self.since + _UNHEARD_SECONDS:
        end_at_once(self.number, self.line())
      elif self.raised is not None and self.raised() is None and not self.deferrals:
        self.raised, self.repeats = None, True
        os.kill(os.getpid(), self.number)
      elif (  # Heard, and put off: by a call that may be compiled for longer than a cluster waits.
        self.raised is None
        and self.deferrals
        and time.monotonic() > self.since + _UNHEARD_SECONDS
        and not self.loses()
      ):
        end_at_once(self.number, self.line())
    os.close(descriptor)

  def loses(self) -> bool:
    """Whether something is lost if the process ends now that would be kept if it ended later."""
    return not self.hindered and any(one.loses for one in self.deferrals)

  def line(self) -> str:
    """What is said where the process ends before the program has."""
    return ' '.join(filter(None, (self.ending or f'Stopped. {self.said[-1]}', self.hindered)))


_hearing = _Hearing()


@contextlib.contextmanager
def heard() -> Iterator[None]:
  """Raises `Stopped` for Ctrl-C and SIGTERM, which a cluster sends to a job that has to go.

  Signals that are ignored, or that somebody else handles, are left to them.
  """
  defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
  in_main = threading.current_thread() is threading.main_thread()
  ours = [n for n in _NUMBERS if in_main and signal.getsignal(n) is defaults[n]]
  if not ours:
    yield
    return
  global _hearing
  _hearing = _Hearing()
  reads, writes = os.pipe()
  os.set_blocking(writes, False)
  before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
  watcher = threading.Thread(target=_hearing.watch, args=(reads,), daemon=True)
  watcher.start()
  for number in ours:
    signal.signal(number, _hearing.handle)
  hook = sys.unraisablehook
  sys.unraisablehook = lambda dropped: None if _is_stop(dropped) else hook(dropped)
  try:
    yield
  finally:
    sys.unraisablehook = hook
    signal.set_wakeup_fd(before)
    os.close(writes)  # ends the watcher, which could send a signal that nobody hears any more
    watcher.join()
    for number in ours:
      signal.signal(number, defaults[number])
    _hearing = _Hearing()


def _is_stop(dropped: Any) -> bool:
  return issubclass(dropped.exc_type, Stopped)


def asked() -> int | None:
  """Number of the signal that came, None for none."""
  return _hearing.number


def kept() -> str:
  """What a signal would say now of what is kept."""
  return _hearing.said[-1]


def hindered(reason: str) -> None:
  """Tells why nothing is won by waiting for what is put off; '' where that is not so."""
  _hearing.hindered = reason


@contextlib.contextmanager
def saying(line: str) -> Iterator[None]:
  """Has a signal that comes meanwhile say what becomes of what it breaks off.

  Args:
    line: a sentence, such as 'Evaluate 2 is repeated from its beginning.'
  """
  _hearing.said.append(line)
  try:
    yield
  finally:
    _hearing.said.pop()


@contextlib.contextmanager
def deferred() -> Iterator[Deferral]:
  """Keeps a signal from breaking off what is done meanwhile; it does so at the end.

  Raises:
    Stopped: at the end, if a signal came.
  """
  hearing, deferral = _hearing, Deferral()
  hearing.deferrals.append(deferral)
  try:
    yield deferral
  finally:
    hearing.deferrals.remove(deferral)
  if hearing.number is not None and not hearing.deferrals:
    raise Stopped(hearing.number, f'Stopped. {hearing.said[-1]}')


def end(error: KeyboardInterrupt) -> NoReturn:
  """Ends the process that a signal has stopped, after all `finally`s, with a line and 128 + n."""
  end_at_once(*told(error))


def told(error: KeyboardInterrupt) -> tuple[int, str]:
  """Number of the signal that has stopped the program, and the line that is said of it."""
  number = error.number if isinstance(error, Stopped) else signal.SIGINT
  return number, str(error) or f'Stopped. {_GOES_ON}'


def end_at_once(number: int, said: str) -> NoReturn:
  """Ends the process with status 128 + `number`, as shells have it; see `leave`."""
  leave(128 + number, said)


def leave(status: int, said: str) -> NoReturn:
  """Ends the process with a status and a line on standard error.

  Threads of XLA and TensorStore are in native code that nothing ends before the interpreter takes
  itself apart under them, which crashes: so the process ends without that. Files that matter are
  on disk by then, or are none.
  """
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError, RuntimeError):
      stream.flush()
  with contextlib.suppress(OSError):
    os.write(2, f'{said}\n'.encode())
  os._exit(status)
