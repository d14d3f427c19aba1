"""Whether a thing that was carried has been dropped."""

import numpy as np


class Carried:
  """Follows one thing from the start of an attempt.

  Args:
    height: metres above which it counts as lifted, and below which as fallen.
    away: metres from the hand at which it is no longer held.
  """

  def __init__(self, height: float, away: float):
    self._height, self._away = height, away
    self._lifted = False

  def is_dropped(self, thing: np.ndarray, hand: np.ndarray) -> bool:
    """Told after each step where both are, [3] in metres: whether it was lifted and has fallen."""
    self._lifted |= bool(thing[2] > self._height)
    away = np.linalg.norm(thing - hand) > self._away
    return bool(self._lifted and away and thing[2] < self._height)
