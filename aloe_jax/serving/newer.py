"""Newer checkpoints of a run, taken up while the one before goes on answering."""

from collections.abc import Callable
import os
import pathlib
import threading
import time
from typing import Any

import fsspec

from aloe_jax import files
from aloe_jax.run import checkpoints
from aloe_jax.serving import server as server_lib
from aloe_jax.serving import version as version_lib

_TRIES = 3


class Watcher:
  """Looks for newer checkpoints now and then, in a thread of its own.

  Where the one that answers is removed, and does not come back, the newest that is there takes its
  place. One that is damaged, or does not go with the robot, is told once and left until its files
  change, as when a whole copy is put back; one that a disk does not give is tried again a few
  times. The version that answers stays.

  Args:
    directory: of the run's checkpoints.
    server: whose version is exchanged.
    make: loads a checkpoint and makes it warm.
    seconds: between two looks.
    log: takes a line of what happens.
    number: of the checkpoint that answers.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    server: server_lib.Server,
    make: Callable[[pathlib.Path], version_lib.Version],
    *,
    number: int,
    seconds: float,
    log: Callable[[str], None],
  ):
    self._checkpoints = checkpoints.Checkpoints(directory)
    self._server, self._make, self._log = server, make, log
    self._seconds, self._number = seconds, number
    self._tried = number, 0  # which was tried last, and how often
    self._gone = 0  # looks at which the one that answers was not there
    self._failed: dict[int, Any] = {}  # {number: its files when it was given up}
    self._last: dict[int, Any] = {}  # likewise, at the last look
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._run, name='newer checkpoints', daemon=True)

  def __enter__(self) -> 'Watcher':
    self._thread.start()
    return self

  def __exit__(self, *error: object) -> None:
    self._ended.set()  # a load that is under way ends with the process

  def look(self) -> bool:
    """Takes a newer checkpoint up, if there is one; whether it did."""
    try:
      latest = self._next()
    except OSError as error:  # a disk that is away for a while
      self._log(f'{self._checkpoints.directory} cannot be read: {error}')
      return False
    if latest is None:
      return False
    path = self._checkpoints.path(latest)
    found = _files(path)
    self._tried = latest, self._tried[1] + 1 if self._tried[0] == latest else 1
    began = time.monotonic()
    self._log(f'{path} is newer; it is made ready while {self._server.version.model.name} answers.')
    try:
      version = self._make(path)
    except Exception as error:  # the one that answers is not given up for it
      again = isinstance(error, OSError) and self._tried[1] < _TRIES
      if not again:
        self._failed[latest], self._tried = found, (latest, 0)
      self._server.telemetry.reloads.labels('failed').inc()
      self._log(
        f'{path} is not served: {str(error) or type(error).__name__} '
        f'{self._server.version.model.name} goes on answering{", and it is tried again" * again}.'
      )
      return False
    self._number = latest
    self._server.exchange(version)
    self._server.telemetry.reloads.labels('served').inc()
    self._log(f'{path} answers, after {time.monotonic() - began:.0f} s.')
    return True

  def _next(self) -> int | None:
    """The newest that is newer than what answers, but for those that failed and are as they were.

    One of those is tried again once it stays as it is now, so that no half of a copy is read.
    """
    numbers = self._checkpoints.numbers()
    self._look_for_own(numbers)
    for number in reversed(numbers):
      if number <= self._number:
        return None
      if number not in self._failed:
        return number
      found, before = _files(self._checkpoints.path(number)), self._last.get(number)
      self._last[number] = found
      if found == before != self._failed[number]:
        return number
    return None

  def _look_for_own(self, numbers: list[int]) -> None:
    """Where the one that answers was removed for good, the newest of those there is newer.

    So it is where a run goes back, or begins anew in the same directory.
    """
    is_behind = not numbers or numbers[-1] < self._number
    self._gone = self._gone + 1 if is_behind and self._number not in numbers else 0
    if self._gone < _TRIES or self._number < 0:
      return
    there = 'none is there, and it goes on answering until one is'
    if numbers:
      there = f'{self._checkpoints.path(numbers[-1])} is the newest there'
    self._log(f'{self._checkpoints.path(self._number)}, which answers, was removed; {there}.')
    self._number = -1  # of the same number may be another one, later

  def _run(self) -> None:
    while not self._ended.wait(self._seconds):
      self.look()


def _files(path: pathlib.Path) -> Any:
  """What tells whether a checkpoint's files are others than before; None where it is not known."""
  try:
    if files.is_url(path):
      files.reach_buckets()
      system, root = fsspec.core.url_to_fs(os.fspath(path))
      found = system.find(root, detail=True)  # of all objects at once
      return sorted(
        (name, about['size'], str(about.get('generation', about.get('mtime'))))
        for name, about in found.items()
      )
    return sorted(
      (str(file), file.stat().st_size, file.stat().st_mtime_ns)
      for file in path.rglob('*')
      if file.is_file()
    )
  except Exception:  # whatever a disk or a bucket says, the server goes on answering
    return None
