"""What the scripted people of all simulators have in common: their kind, their aim, their patience.

A script that solves a task nearly always would teach nothing: whatever imitates it well enough
succeeds, and no action is worse than another. So half of the people at a script are hasty. They
see the thing a little beside where it is and their hands are less steady, so that it may slip many
steps later. Both kinds succeed often enough for imitation to take their habits for equally good.
"""

import math

import numpy as np

CAREFUL_SHARE = 0.5


def is_careful(rng: np.random.Generator) -> int:
  """1 for somebody careful, 0 for somebody hasty: the index of what is said of both kinds."""
  return int(rng.random() < CAREFUL_SHARE)


def beside(rng: np.random.Generator, distance: float) -> np.ndarray:
  """[2] in metres: a step of that length in any direction of the table top."""
  direction = rng.uniform(0, 2 * np.pi)
  return distance * np.array([np.cos(direction), np.sin(direction)])


class Patience:
  """Of an operator, who takes over when nothing has come nearer to its end for a while.

  Args:
    steps: how long they wait.
    progress: by how much less has to be left for it to count, in units of what is left.
  """

  def __init__(self, steps: int, progress: float):
    self._steps, self._progress = steps, progress
    self._best, self._waited = math.inf, 0

  def is_lost(self, left: float) -> bool:
    """Told after each step how much is left to do; whether they reach for the controls."""
    self._waited += 1
    if left < self._best - self._progress:
      self._best, self._waited = left, 0
    return self._waited >= self._steps
