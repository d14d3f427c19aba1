"""The robot's loop at an even rate, and the rate that it really had."""

from __future__ import annotations

import collections
import statistics
import time
from typing import Any

from aloe_client import events as events_lib

_JUDGED = 30  # ticks
_SLACK = 0.1  # of the rate


class Pace:
  """Sleeps until the next tick; time that was lost is not caught up by a burst."""

  def __init__(self, hz: float, clock: Any = time):
    if not hz > 0:
      raise ValueError(f'hz: found {hz}, expected more than 0 ticks a second.')
    self._period, self._clock = 1 / hz, clock
    self._due: float | None = None

  def wait(self) -> None:
    """Returns when the next tick is due; the first one at once."""
    now = self._clock.monotonic()
    if self._due is None or now - self._due > self._period:
      self._due = now
    elif now < self._due:
      self._clock.sleep(self._due - now)
    self._due += self._period


class Monitor:
  """Measures the time between ticks, and warns once where the rate is another than was told."""

  def __init__(self, hz: float, events: events_lib.Events):
    self._hz, self._events = hz, events
    self._last: float | None = None
    self._seconds: collections.deque[float] = collections.deque(maxlen=_JUDGED)
    self._warned = False

  @property
  def hz(self) -> float | None:
    """Ticks a second of late, by the median; None before they can be judged."""
    if len(self._seconds) < 2 or statistics.median(self._seconds) <= 0:
      return None
    return 1 / statistics.median(self._seconds)

  def add(self, now: float) -> None:
    """Notes a tick."""
    if self._last is not None:
      self._seconds.append(now - self._last)
    self._last = now
    rate = self.hz
    full = len(self._seconds) == _JUDGED
    if full and rate is not None and abs(rate / self._hz - 1) > _SLACK and not self._warned:
      self._warned = True
      faster = 'Let it wait for pace()' if rate > self._hz else 'Speed the loop up'
      self._events.add(
        'rate',
        f'The loop runs {rate:.1f} times a second and was told {self._hz:g}; steps are kept with '
        f'the time that they took. {faster}, or tell the rate that it has.',
        loud=True,
      )

  def pause(self) -> None:
    """The time up to the next tick is none of the loop's."""
    self._last = None
    self._seconds.clear()
