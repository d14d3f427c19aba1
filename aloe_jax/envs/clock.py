"""Time as it passes for a simulated robot: a step lasts what a step lasts, however late it comes.

A scene stands still between two steps. So what a recorder notes of them is their time in the scene,
and not how busy the machine was.
"""

import time


class Stepped:
  """Time that passes in `sleep` alone.

  Args:
    speed: how many times as fast as the wall's clock it passes at most; None for as fast as it can.
  """

  def __init__(self, speed: float | None = None):
    self._speed = speed
    self._now, self._date = 0.0, time.time()
    self._wall = time.monotonic()  # when the last sleep was over

  def monotonic(self) -> float:
    """Seconds since some moment."""
    return self._now

  def time(self) -> float:
    """Seconds since 1970, from the right moment on."""
    return self._date + self._now

  def sleep(self, seconds: float) -> None:
    """Lets that pass, and waits for the wall's clock where that is behind."""
    self._now += seconds
    if self._speed is None:
      return
    due = self._wall + seconds / self._speed
    time.sleep(max(0.0, due - time.monotonic()))
    self._wall = max(due, time.monotonic())
