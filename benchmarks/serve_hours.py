"""A robot's program for hours, as fast as the server answers, in a process of its own; see `serve`.

The recorder, its executor and its files are those of a robot. Time is not: a tick is over once the
reply that was asked for in it is there. It asks in every tick, more often than a robot does.

Reads a number of ticks from every line, plays them, and prints a line of JSON with what they took
and what happened.
"""

import collections
import json
import pathlib
import shutil
import sys
import tempfile
import time
from typing import Any

import numpy as np

import aloe_client
from aloe_client import asker
from aloe_client import connection as connection_lib
from aloe_client import episode_files
from aloe_jax.envs import clock as clock_lib

EPISODE = 600  # ticks
PIXELS = 224  # rows and columns of a picture, where the policy reads some


class InStep:
  """The recorder's way of asking, but that it waits for the reply before the next tick.

  Args:
    address: of the server.
    clock: of the recorder.
  """

  def __init__(self, address: str, clock: Any):
    self._connection = connection_lib.Connection(address)
    self._asker = asker.Asker(self._connection.infer, clock)
    self._asked = False
    self.replies = 0

  @property
  def ready(self) -> bool:
    return self._asker.ready

  def open(self) -> dict[str, Any]:
    return self._connection.open()

  def infer(self, request: dict[str, Any]) -> dict[str, Any]:
    return self._connection.infer(request)

  def send(self, token: Any, request: dict[str, Any]) -> None:
    self._asker.send(token, request)
    self._asked = True

  def take(self) -> asker.Answer | None:
    while self._asked:
      answer = self._asker.take()
      if answer is not None:
        self._asked = False
        self.replies += 1
        return answer
      time.sleep(1e-4)
    return None

  def close(self) -> None:
    self._connection.close()
    self._asker.close()


class Robot:
  """A recorder, and what its robot sees: another state in every tick.

  Args:
    address: of the server.
    directory: of the episodes.
  """

  def __init__(self, address: str, directory: pathlib.Path):
    clock = clock_lib.Stepped()
    self._asks = InStep(address, clock)
    self._recorder = aloe_client.Recorder(
      self._asks,
      'endure',
      directory,
      execute=1,
      values=None,
      clock=clock,
    )
    self._pace = self._recorder.pace()
    self._rng = np.random.default_rng(0)
    self._directory, self._ticks = directory, 0
    self._told = self._recorder.metadata['aloe']
    self._events: collections.Counter = collections.Counter()
    self._recorder.events.listen(lambda event: self._events.update([event.kind]))

  def play(self, ticks: int) -> dict[str, Any]:
    """Plays on; `seconds` of it, `largest` of a tick, `replies`, and `events` by kind."""
    began, largest, replies = time.perf_counter(), 0.0, self._asks.replies
    self._events.clear()
    for _ in range(ticks):
      self._pace.wait()
      start = time.perf_counter()
      self._recorder.infer(self._observation())
      largest = max(largest, time.perf_counter() - start)
      self._ticks += 1
      if self._ticks % EPISODE == 0:
        self._recorder.end('success')
    self._recorder.flush()
    for path in episode_files.finished(self._directory)[:-1]:
      shutil.rmtree(path)
    seconds = time.perf_counter() - began
    replies = self._asks.replies - replies
    return {'seconds': seconds, 'largest': largest, 'replies': replies, 'events': self._events}

  def close(self) -> None:
    """Ends the recorder."""
    self._recorder.close()

  def _observation(self) -> dict[str, Any]:
    seen: dict[str, Any] = {
      key: self._rng.uniform(-0.01, 0.01, about['size']).astype(np.float32)
      for key, about in self._told['state'].items()
    }
    if self._told.get('features'):
      seen['features'] = self._rng.random(self._told['features'], np.float32)
    else:
      shape = (PIXELS, PIXELS, 3)
      seen |= {key: self._rng.integers(0, 256, shape, np.uint8) for key in self._told['cameras']}
    return seen


def main() -> None:
  """Answers lines until there are no more."""
  with tempfile.TemporaryDirectory() as directory:
    robot = Robot(sys.argv[1], pathlib.Path(directory))
    for line in sys.stdin:
      print(json.dumps(robot.play(int(line))), flush=True)
    robot.close()


if __name__ == '__main__':
  main()
