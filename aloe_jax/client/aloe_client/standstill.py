"""Notices that a robot's loop stood still: a driver that blocked, a machine that slept."""

from __future__ import annotations

from typing import Any

from aloe_client import events as events_lib


class Standstill:
  """Looks at the time between ticks."""

  def __init__(self, limit: float, events: events_lib.Events, clock: Any):
    """Has seen no tick.

    Args:
      limit: seconds between two ticks that are none.
      events: to tell of one; of several on end the first is told.
      clock: has `monotonic` and `time`.
    """
    self._limit, self._events, self._clock = limit, events, clock
    self._last: tuple[float, float] | None = None
    self._stood = False

  def forget(self) -> None:
    """The time up to the next tick is none of the loop's."""
    self._last = None

  def tick(self, who: str) -> bool:
    """Notes a tick; whether the loop stood still before it.

    Args:
      who: acts, policy or human.
    """
    now = self._clock.monotonic(), self._clock.time()  # the first leaves out a sleeping machine
    before, self._last = self._last, now
    seconds = 0.0 if before is None else max(now[0] - before[0], now[1] - before[1])
    stood, self._stood = self._stood, seconds > self._limit
    if self._stood and not stood:
      follows = 'is followed anew' if who == 'human' else 'is asked anew'
      self._events.add(
        'stall',
        f'The loop stood still for {seconds:.1f} s, and the robot may be elsewhere: what was '
        f'planned is dropped, and the {who} {follows}.',
        loud=True,
      )
    return self._stood
