"""Time as it passes for a simulated robot: faster than the wall's, or only while it waits."""

import time


class Faster:
  """The wall's time, `speed` times as fast.

  Args:
    speed: more than 0.
  """

  def __init__(self, speed: float):
    self._speed = speed
    self._began, self._date = time.monotonic(), time.time()

  def monotonic(self) -> float:
    """Seconds since some moment."""
    return (time.monotonic() - self._began) * self._speed

  def time(self) -> float:
    """Seconds since 1970, from the right moment on."""
    return self._date + self.monotonic()

  def sleep(self, seconds: float) -> None:
    """Waits as long as that takes here."""
    time.sleep(seconds / self._speed)


class Stepped:
  """Time that passes in `sleep` alone, which does not wait: where nobody else keeps time."""

  def __init__(self) -> None:
    self._now, self._date = 0.0, time.time()

  def monotonic(self) -> float:
    """Seconds since some moment."""
    return self._now

  def time(self) -> float:
    """Seconds since 1970, from the right moment on."""
    return self._date + self._now

  def sleep(self, seconds: float) -> None:
    """Lets that pass."""
    self._now += seconds
