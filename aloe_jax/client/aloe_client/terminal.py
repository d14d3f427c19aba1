"""The cockpit's commands as keys of a plain terminal, with a line that says what goes on.

    with terminal.controls(recorder) as keys:
      while keys.wait():  # until a person says next; False once they say stop
        ...

It needs no display and works over SSH.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import importlib
import logging
import os
import select
import sys
import threading
import time
from typing import Any

from aloe_client import commands as commands_lib
from aloe_client import watch as watch_lib

_PERIOD = 0.25  # seconds between two lines
_COLUMNS = 80  # of a terminal that does not say
_BEAT = '|/-\\'
_CLEAR = '\r\x1b[K'
_log = logging.getLogger('aloe_client')


class Controls:
  """The keys of a terminal, while they are read; see `controls`.

  Attributes:
    active: whether there is a terminal.
    commands: what keys do.
  """

  def __init__(self, recorder: Any, source: int, target: int, *, active: bool):
    self.active = active
    self.commands = commands_lib.of(recorder)
    self._recorder, self._source, self._target = recorder, source, target
    self._watch = watch_lib.Watch(recorder)
    self._ended = threading.Event()
    self._last: Any = None  # event that was told
    self._beat = 0

  @property
  def stopped(self) -> bool:
    """Whether a person has said stop."""
    return self.commands.stopped

  def wait(self, timeout: float | None = None) -> bool:
    """Waits until an episode may begin; see `commands.Commands.wait`."""
    return self.commands.wait(timeout)

  def run(self) -> None:
    """Reads keys and writes the line, until `end`."""
    recent = self._recorder.events.recent()
    self._last = recent[-1] if recent else None
    self._say('Keys: ' + ', '.join(f'{c.key} {c.title.lower()}' for c in commands_lib.ALL))
    due = time.monotonic()
    while not self._ended.is_set():
      if time.monotonic() >= due:
        due = time.monotonic() + _PERIOD
        self._show()
      readable, _, _ = select.select([self._source], [], [], max(due - time.monotonic(), 0))
      if readable:
        pressed = os.read(self._source, 64).decode(errors='ignore')
        if not pressed:  # the terminal is gone
          return
        if not pressed.startswith('\x1b'):  # an arrow is several characters, and no command
          for key in pressed.lower():
            self._press(key)

  def end(self) -> None:
    """See `run`."""
    self._ended.set()

  def _press(self, key: str) -> None:
    name = commands_lib.BY_KEY.get(key)
    if name is None:
      if key.isprintable():
        self._say(f'{key}: no command; ' + ' '.join(commands_lib.BY_KEY))
      return
    try:
      self._say(self.commands.run(name))
    except commands_lib.RefusedError as error:
      self._say(f'{name}: {str(error).removeprefix(f"{name}: ")}')

  def _show(self) -> None:
    state = self._watch.look()
    fresh = _since(state['events'], self._last)
    for event in fresh:
      loud = '!! ' if event.loud else ''
      self._say(time.strftime('%H:%M:%S ', time.localtime(event.time)) + loud + event.text)
      self._last = event
    self._beat += 1
    line = f'{_BEAT[self._beat % len(_BEAT)]} {watch_lib.summary(state)}'
    self._write(_CLEAR + line[: self._width() - 1])

  def _width(self) -> int:
    """Columns, within which the line is written over; serial lines say none."""
    with contextlib.suppress(OSError):
      return os.get_terminal_size(self._target).columns or _COLUMNS
    return _COLUMNS

  def _say(self, text: str) -> None:
    self._write(f'{_CLEAR}{text}\r\n')

  def _write(self, text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that is gone stops no robot
      os.write(self._target, text.encode(errors='replace'))


@contextlib.contextmanager
def controls(recorder: Any, source: Any = None, target: Any = None) -> Iterator[Controls]:
  """Reads keys of the terminal, which is as it was when this ends, however it ends.

  Where there is no terminal, that is said as an event, and nothing is read.

  Args:
    recorder: a `Recorder`.
    source: file of keys; by default the standard input.
    target: file of the line; by default the standard output.
  """
  source, target = source or sys.stdin, target or sys.stdout
  trouble = _trouble(source)
  if trouble:
    recorder.events.add('terminal', f'No keys are read: {trouble}.', loud=True)
    yield Controls(recorder, -1, -1, active=False)
    return
  termios, tty = importlib.import_module('termios'), importlib.import_module('tty')
  file = source.fileno()
  before = termios.tcgetattr(file)
  made = Controls(recorder, file, target.fileno(), active=True)
  quiet = logging.NullHandler()  # events are told here; without a handler they would be told twice
  thread = threading.Thread(target=made.run, name='aloe_terminal', daemon=True)
  tty.setcbreak(file)  # keys come at once; Ctrl-C still interrupts
  made.commands.open()
  _log.addHandler(quiet)
  thread.start()
  try:
    yield made
  finally:
    made.end()
    thread.join(2)
    made.commands.close()
    _log.removeHandler(quiet)
    termios.tcsetattr(file, termios.TCSADRAIN, before)
    with contextlib.suppress(OSError):
      os.write(target.fileno(), b'\r\n')


def _trouble(source: Any) -> str:
  """Why keys cannot be read, or empty."""
  try:
    importlib.import_module('termios')
  except ModuleNotFoundError:
    return 'this system has no terminals of POSIX; use the page, aloe_client.cockpit'
  try:
    known = os.isatty(source.fileno())
  except (AttributeError, OSError, ValueError):
    known = False
  if not known:
    return 'the standard input is no terminal; use the page, aloe_client.cockpit'
  if os.tcgetpgrp(source.fileno()) != os.getpgrp():  # the system would stop the robot's program
    return 'the program runs in the background of its terminal; bring it to the front'
  return ''


def _since(events: list[Any], last: Any) -> list[Any]:
  """Events after one of them; all where it is no longer kept."""
  for i in range(len(events) - 1, -1, -1):
    if events[i] is last:
      return events[i + 1 :]
  return events
