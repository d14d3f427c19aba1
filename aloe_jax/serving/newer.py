"""Newer checkpoints of a run, taken up while the one before goes on answering."""

from collections.abc import Callable
import pathlib
import threading
import time

from aloe_jax.run import checkpoints
from aloe_jax.serving import server as server_lib
from aloe_jax.serving import version as version_lib

_TRIES = 3


class Watcher:
  """Looks for newer checkpoints now and then, in a thread of its own.

  One that is damaged, or does not go with the robot, is told once and left; one that a disk does
  not give is tried again a few times. The version that answers stays.

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
    self._seconds, self._seen = seconds, number
    self._tried = number, 0  # which was tried last, and how often
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
      latest = self._checkpoints.latest()
    except OSError as error:  # a disk that is away for a while
      self._log(f'{self._checkpoints.directory} cannot be read: {error}')
      return False
    if latest is None or latest <= self._seen:
      return False
    path = self._checkpoints.path(latest)
    self._tried = latest, self._tried[1] + 1 if self._tried[0] == latest else 1
    began = time.monotonic()
    self._log(f'{path} is newer; it is made ready while {self._server.version.model.name} answers.')
    try:
      version = self._make(path)
    except Exception as error:  # the one that answers is not given up for it
      again = isinstance(error, OSError) and self._tried[1] < _TRIES
      self._seen = self._seen if again else latest
      self._server.telemetry.reloads.labels('failed').inc()
      self._log(
        f'{path} is not served: {str(error) or type(error).__name__} '
        f'{self._server.version.model.name} goes on answering{", and it is tried again" * again}.'
      )
      return False
    self._seen = latest
    self._server.exchange(version)
    self._server.telemetry.reloads.labels('served').inc()
    self._log(f'{path} answers, after {time.monotonic() - began:.0f} s.')
    return True

  def _run(self) -> None:
    while not self._ended.wait(self._seconds):
      self.look()
