"""What a person at the robot has to hear: kept, logged, and told to whoever listens."""

from __future__ import annotations

import collections
from collections.abc import Callable
import dataclasses
import logging
import threading
import time
from typing import Any

from aloe_client import told as told_lib

_KEPT = 200
_log = logging.getLogger('aloe_client')


@dataclasses.dataclass(frozen=True)
class Event:
  """One thing that happened.

  Attributes:
    time: seconds since 1970.
    kind: a word, such as hold, takeover, lost_server, images, disk, rate.
    text: a sentence for a person.
    loud: whether a person has to do something about it.
  """

  time: float
  kind: str
  text: str
  loud: bool


class Events:
  """The last events, from any thread."""

  def __init__(self, clock: Any = time):
    self._clock = clock
    self._lock = threading.Lock()
    self._events: collections.deque[Event] = collections.deque(maxlen=_KEPT)
    self._listeners: list[Callable[[Event], None]] = []

  def add(self, kind: str, text: str, *, loud: bool = False) -> None:
    """Keeps an event, logs it and tells it; what a listener raises is logged, not raised.

    A text may hold a server's words: what would move a terminal's cursor or hide text is replaced.
    """
    text = told_lib.printable(text)
    event = Event(self._clock.time(), kind, text, loud)
    with self._lock:
      self._events.append(event)
      listeners = list(self._listeners)
    _log.log(logging.WARNING if loud else logging.INFO, '%s', text)
    for listener in listeners:
      try:
        listener(event)
      except Exception:  # of a page or a screen, which may not stop a robot
        _log.exception('a listener of events failed')

  def listen(self, listener: Callable[[Event], None]) -> None:
    """Calls `listener` with every later event, from the thread it happens in."""
    with self._lock:
      self._listeners.append(listener)

  def recent(self) -> list[Event]:
    """The last ones, oldest first."""
    with self._lock:
      return list(self._events)
