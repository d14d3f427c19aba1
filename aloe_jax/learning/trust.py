"""How far a critic's advantages are believed: by what came of episodes that it did not learn from.

Legend of shapes: R chunks.
"""

import dataclasses

import numpy as np

from aloe_jax import estimates

_FEWEST = 5  # episodes below which an interval from resampling them means nothing
_DEVIATIONS = 2 * 1.96  # standard ones between the ends of a 95 % interval


@dataclasses.dataclass(frozen=True)
class Trust:
  """The share of an advantage that is believed.

  Attributes:
    value: 0 for nothing of it, 1 for all.
    slope: of outcomes on the advantage, with V held; NaN where it was not to be had.
    error: its standard error.
    episodes: that it was measured on.
  """

  value: float
  slope: float
  error: float
  episodes: int


def measure(
  advantage: np.ndarray, v: np.ndarray, outcome: np.ndarray, episode: np.ndarray
) -> Trust:
  """Regresses what came of chunks on the advantage that the critic saw in them.

  The slope b is the factor that turns the critic's advantage into the expected one, where V of the
  state, whose errors both share, is held. As it is an estimate, it is drawn towards zero by how
  uncertain it is, b (1 - error^2 / b^2) (the positive part of James and Stein, 1961). What the
  critic sees too small is not enlarged.

  Args:
    advantage: [R] of chunks of the policy in episodes that the critic did not learn from.
    v: [R] value of their states.
    outcome: [R] what came of them beyond V, see `outcomes.realised`; NaN where it is not known.
    episode: [R] int, that each lies in: what the error is taken over.
  """
  known = np.isfinite(outcome)
  episodes = len(np.unique(episode[known]))
  if episodes < _FEWEST:
    return Trust(0.0, np.nan, np.nan, episodes)
  found = estimates.estimate(estimates.slope(outcome, advantage, v, known), episode)
  error = (found.high - found.low) / _DEVIATIONS
  if not np.isfinite(error) or found.value <= error:  # nothing that could be told from zero
    return Trust(0.0, found.value, error, episodes)
  shrunken = min(found.value, 1.0) * (1 - (error / found.value) ** 2)
  return Trust(shrunken, found.value, error, episodes)
