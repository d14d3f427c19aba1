"""How many ticks a reply takes, judged so that a slow one is forgotten soon."""

from __future__ import annotations

import collections

_SAMPLES = 4


class Delay:
  """The longest of the last four delays, in ticks.

  The first reply is not among them: what is slow in it (a program compiled, a cache filled) does
  not come again.
  """

  def __init__(self) -> None:
    self._samples: collections.deque[int] = collections.deque(maxlen=_SAMPLES)
    self._first: int | None = None

  def add(self, ticks: int) -> None:
    """Notes the delay of a reply."""
    if self._first is None:
      self._first = ticks
    else:
      self._samples.append(ticks)

  @property
  def ticks(self) -> int:
    """What the next reply will take, at least one tick."""
    return max([1, *(self._samples or [self._first or 1])])
