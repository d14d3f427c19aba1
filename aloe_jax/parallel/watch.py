"""Processes end together: what ends one of them is said by all, and none waits for ever.

Every process says each second that it is there, in the store that all of them share, and listens
for the end of another. One that is killed falls silent; the others name it and end too.
"""

from collections.abc import Callable
import contextlib
import os
import re
import socket
import sys
import threading
import time
import traceback

import jax

from aloe_jax import disk
from aloe_jax import faults
from aloe_jax import stopping
from aloe_jax.parallel import hosts
from aloe_jax.parallel import last_word

BEAT_SECONDS = 1.0
SILENT_SECONDS = 60.0  # after which a process counts as gone; a loaded machine may take its time
_DOUBT_SECONDS = 12.0  # the same once something has failed, which is what happens if one is gone
_LISTEN_SECONDS = 30.0  # of one call that listens
_HEARD_SECONDS = 10.0  # that process 0, through which all talk, stays for the others to hear
_END = 'aloe/end'
_AGAIN = 'The same command on all hosts goes on after what was finished.'


class Watch:
  """Beats and listens from its making on, in threads of its own."""

  def __init__(self) -> None:
    self._client = hosts.client()
    self._finished = threading.Event()
    self._speaking = threading.Lock()  # held for good by whoever ends this process
    self._names = dict.fromkeys(range(hosts.count()), '')
    # Process: its last beat, and when that came.
    self._changed = dict.fromkeys(range(hosts.count()), ('', time.monotonic()))
    self._last_word = None
    if not hosts.is_first():
      self._last_word = last_word.LastWord(
        f'error: process {hosts.number()} ({socket.gethostname()}) was ended without a word of its '
        f'own: it was killed, or process 0 was, through which all talk. {_AGAIN}'
      )
    self._say_so(0)
    self._threads = [threading.Thread(target=f, daemon=True) for f in (self._beat, self._listen)]
    for thread in self._threads:
      thread.start()

  def finish(self) -> None:
    """Leaves the others at the end of a run, once all have got there."""
    hosts.wait('the run is finished')
    self._finished.set()
    self._threads[0].join()
    jax.distributed.shutdown()
    self._threads[1].join(_LISTEN_SECONDS)
    if self._last_word is not None:
      self._last_word.take_back()

  def end(self, message: str, status: int = 1, *, said: bool = False) -> None:
    """Ends all processes, this one with a message that the others say too; does not return.

    Args:
      message: what happened, and what to do.
      status: of this process.
      said: this process has said it already.
    """
    if not self._speaking.acquire(blocking=False):
      time.sleep(_HEARD_SECONDS + _DOUBT_SECONDS)  # another thread is ending the process
    # Another may have been quicker; or there is nobody any more who could be told.
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      self._client.key_value_set(_END, f'{hosts.number()} {socket.gethostname()} {message}')
    self._leave('' if said else f'{message}\n', status)

  def failed(self, error: Exception) -> None:
    """Ends all processes after an error, which may only have come of another's end."""
    doubt = _DOUBT_SECONDS + 2 * BEAT_SECONDS if _is_of_jax(error) else 0
    stop = time.monotonic() + doubt
    while time.monotonic() < stop and not self._silent(_DOUBT_SECONDS):
      time.sleep(BEAT_SECONDS / 2)  # and meanwhile hear what ended another
    if gone := self._silent(_DOUBT_SECONDS):
      self.end(self._gone(gone))
    told = disk.told(error) or faults.refused(error)
    if not told and not isinstance(error, TimeoutError):
      traceback.print_exception(error)
    self.end(f'error: {told or error}')

  def _beat(self) -> None:
    beat = 0
    while not self._finished.wait(BEAT_SECONDS):
      beat += 1
      try:
        self._say_so(beat)
        found = self._client.key_value_dir_get('aloe/beat/')
      except jax.errors.JaxRuntimeError:
        continue  # `_listen` says so
      now = time.monotonic()
      for key, value in found:
        process = int(key.rpartition('/')[2])
        if self._changed[process][0] != value:
          self._changed[process] = value, now
          self._names[process] = value.partition(' ')[2]
      if gone := self._silent(SILENT_SECONDS):
        self.end(self._gone(gone))

  def _say_so(self, beat: int) -> None:
    mine = f'{beat} {socket.gethostname()}'
    self._client.key_value_set(f'aloe/beat/{hosts.number()}', mine, allow_overwrite=True)

  def _listen(self) -> None:
    while not self._finished.is_set():
      try:
        said = self._client.blocking_key_value_get(_END, int(1000 * _LISTEN_SECONDS))
      except jax.errors.JaxRuntimeError as error:
        if self._finished.is_set():
          return
        if 'DEADLINE_EXCEEDED' in str(error):
          continue
        os._exit(1)  # process 0 is gone, which the last word says; JAX ends this one too
      process, host, message = said.split(' ', 2)
      if int(process) == hosts.number() or not self._speaking.acquire(blocking=False):
        return  # this process ends by itself
      self._leave(_told_by(int(process), host, message) + '\n', 1)

  def _silent(self, seconds: float) -> list[int]:
    now = time.monotonic()
    return [
      process
      for process, (_, when) in list(self._changed.items())
      if now - when > seconds and process != hosts.number()
    ]

  def _gone(self, processes: list[int]) -> str:
    named = ', '.join(f'{process} ({self._names[process] or "?"})' for process in processes)
    return (
      f'error: process {named} has said nothing for a while: it was killed, or its machine or '
      f'network is gone. {_AGAIN}'
    )

  def _leave(self, message: str, status: int) -> None:
    sys.stdout.flush()
    sys.stderr.write(message)
    sys.stderr.flush()
    if self._last_word is not None:
      self._last_word.take_back()
    try:
      self._client.key_value_set(f'aloe/heard/{hosts.number()}', '')
      stop = time.monotonic() + _HEARD_SECONDS
      while hosts.is_first() and time.monotonic() < stop:
        gone = set(self._silent(_DOUBT_SECONDS))
        heard = {
          int(k.rpartition('/')[2]) for k, _ in self._client.key_value_dir_get('aloe/heard/')
        }
        if len(heard | gone) == hosts.count():
          break
        time.sleep(0.1)
    except jax.errors.JaxRuntimeError:
      pass
    os._exit(status)  # an orderly end would wait for the others, who wait for this one


_watch: list[Watch] = []


def begin() -> None:
  """Has this process beat and listen, once it has joined the others."""
  _watch.append(Watch())


def together(main: Callable[[], None]) -> None:
  """Runs a command so that all processes that joined in it end together.

  Args:
    main: the command.
  """
  try:
    main()
  except BaseException as error:
    if _watch:
      _end(_watch[0], error)
    raise
  if _watch:
    _watch[0].finish()


def _end(watch: Watch, error: BaseException) -> None:
  if isinstance(error, KeyboardInterrupt):
    signal_number, line = stopping.told(error)
    watch.end(line, 128 + signal_number)
  if isinstance(error, SystemExit):
    if error.code in (None, 0):
      watch.finish()
      return
    if isinstance(error.code, int):  # whoever raised it has said why
      why = '\n'.join(getattr(error, '__notes__', [])) or 'error: it ended; see what it said.'
      watch.end(why, error.code, said=True)
    watch.end(str(error.code))
  if isinstance(error, Exception):
    watch.failed(error)


def _is_of_jax(error: BaseException | None) -> bool:
  """Whether an error comes of what devices and hosts do together."""
  while error is not None:
    if isinstance(error, jax.errors.JaxRuntimeError):
      return True
    error = error.__cause__ or error.__context__
  return False


def _told_by(process: int, host: str, message: str) -> str:
  """What another process said, with who it was."""
  return re.sub('^(error: )?', f'error: process {process} ({host}): ', message, count=1)
