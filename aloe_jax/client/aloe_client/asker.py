"""Asks a server from a thread of its own, so that the robot's loop never waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import queue
import threading
import time
from typing import Any, Protocol

from aloe_client import connection as connection_lib
from aloe_client import robot as robot_lib
from aloe_client import told as told_lib

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds after a failure, doubled up to the longest


class Server(Protocol):
  """What answers requests; see `connection.Connection`.

  One that has the methods of `executor.Asks` too is asked by them, from the robot's loop.
  """

  def open(self) -> Mapping[str, Any]:
    """Connects, and returns what the server says of itself."""

  def infer(self, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to a request."""

  def close(self) -> None:
    """Ends a wait for a reply too."""


@dataclasses.dataclass(frozen=True)
class Answer:
  """What became of a request.

  Attributes:
    token: that it was sent with.
    reply: of the server, or None.
    error: why there is none, or None.
    seconds: from sending to here.
  """

  token: Any
  reply: dict[str, Any] | None
  error: Exception | None
  seconds: float


class Asker:
  """One request in flight; after failures it pauses, longer each time."""

  def __init__(self, infer: Callable[[dict[str, Any]], dict[str, Any]], clock: Any = time):
    """Starts the thread.

    Args:
      infer: the reply to a request; what it raises is the answer's error.
      clock: has `monotonic`.
    """
    self._infer, self._clock = infer, clock
    self._requests: queue.SimpleQueue[tuple[Any, dict[str, Any]] | None] = queue.SimpleQueue()
    self._answer: Answer | None = None
    self._busy = False
    self._pause, self._not_before = 0.0, 0.0
    self._lock = threading.Lock()
    self._thread = threading.Thread(target=self._work, name='aloe_asker', daemon=True)
    self._thread.start()

  @property
  def ready(self) -> bool:
    """Whether a request may be sent now."""
    with self._lock:
      free = not self._busy and self._answer is None
      return free and self._clock.monotonic() >= self._not_before

  def send(self, token: Any, request: dict[str, Any]) -> None:
    """Sends a request; only while `ready`."""
    with self._lock:
      if self._busy:
        raise RuntimeError('a request is in flight already; send the next one when it is answered.')
      self._busy = True
    self._requests.put((token, request))

  def take(self) -> Answer | None:
    """The answer that has come, once, or None."""
    with self._lock:
      found, self._answer = self._answer, None
      return found

  def close(self) -> None:
    """Ends the thread once its request is answered; the caller closes the connection."""
    self._requests.put(None)
    self._thread.join(timeout=2)

  def _work(self) -> None:
    while (item := self._requests.get()) is not None:
      token, request = item
      start = self._clock.monotonic()
      reply, problem = None, None
      try:
        reply = self._infer(request)
      except Exception as error:  # whatever it is, the robot's loop is told and goes on
        problem = error
      now = self._clock.monotonic()
      with self._lock:
        self._answer = Answer(token, reply, problem, now - start)
        self._busy = False
        if problem is None:
          self._pause = 0.0
        else:
          self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
          self._not_before = now + self._pause


def greeting(server: Server, robot: robot_lib.Robot | None) -> dict[str, Any]:
  """What a server says of itself, held against what the robot is.

  Raises:
    LostServerError: it cannot be reached.
    UnfitServerError: it says what is of no use, or has a policy of another robot.
  """
  found = dict(server.open())
  if fault := told_lib.fault(found):
    raise connection_lib.UnfitServerError(f'The server says of its policy {fault}')
  if robot is not None and (differences := robot.differences(found)):
    raise connection_lib.UnfitServerError(
      f'The server has a policy of another robot: {"; ".join(differences)}. Nothing was moved.'
    )
  return found


def of(server: Server | None, clock: Any) -> Any:
  """What asks a server from a robot's loop, see `answers.Asks`; `Nobody` where there is none."""
  if server is None:
    return Nobody()
  return server if hasattr(server, 'take') else Asker(server.infer, clock)


class Nobody:
  """Stands in for an asker where another program plays."""

  ready = False

  def send(self, token: Any, request: dict[str, Any]) -> None:
    """There is nobody to send it to."""
    raise RuntimeError('there is no server to ask; pass its address to the recorder.')

  def take(self) -> None:
    """Nothing ever comes."""
