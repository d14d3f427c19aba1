"""How far a critic's advantages are believed: by what came of episodes that it did not learn from.

Legend of shapes: R chunks.
"""

import dataclasses

import numpy as np

from aloe_jax import estimates

# What a slope is taken for before it is measured: mean and standard deviation of those that were
# found in simulators, with their errors taken off (docs/measured_weights.md).
PRIOR = 0.6
PRIOR_DEVIATION = 0.25
FEWEST = 5  # episodes below which an interval from resampling them means nothing
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
  state, whose errors both share, is held. A few episodes tell it badly. So it is joined with what
  such slopes were elsewhere, `PRIOR`, each weighted by the inverse of its variance: the posterior
  mean of two normal distributions. What the critic sees too small is not enlarged, and what it sees
  the wrong way round is not turned.

  Args:
    advantage: [R] of chunks of the policy in episodes that the critic did not learn from.
    v: [R] value of their states.
    outcome: [R] what came of them beyond V, see `outcomes.realised`; NaN where it is not known.
    episode: [R] int, that each lies in: what the error is taken over.
  """
  known = np.isfinite(outcome)
  episodes = len(np.unique(episode[known]))
  untested = Trust(PRIOR, np.nan, np.nan, episodes)
  if episodes < FEWEST:
    return untested
  found = estimates.estimate(estimates.slope(outcome, advantage, v, known), episode)
  error = (found.high - found.low) / _DEVIATIONS
  if not np.isfinite(found.value) or not error > 0:
    return untested
  information = np.array([1 / PRIOR_DEVIATION**2, 1 / error**2])
  mean = np.average([PRIOR, found.value], weights=information)
  return Trust(float(np.clip(mean, 0, 1)), found.value, error, episodes)
