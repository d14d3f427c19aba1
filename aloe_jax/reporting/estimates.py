"""Statistics of rows that depend on each other, with intervals from resampling whole episodes.

Neighbouring rows of an episode say nearly the same, so that an interval from resampling rows would
be far too narrow. A resample draws as many episodes as there are, with replacement; every
statistic takes how often each row was drawn.

Legend of shapes: R rows.
"""

from collections.abc import Callable
import dataclasses

import numpy as np

Statistic = Callable[[np.ndarray], float]  # of how often each row counts, [R]; NaN if undefined

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number and its 95 % interval; all NaN where the rows do not define it."""

  value: float
  low: float
  high: float


def estimate(statistic: Statistic, episode: np.ndarray, seed: int = 0) -> Estimate:
  """A statistic of all rows, with the 2.5 and 97.5 percentiles over resampled episodes.

  Args:
    statistic: of the rows.
    episode: [R] int, that each row belongs to.
    seed: of the resampling.
  """
  if not len(episode):
    return Estimate(np.nan, np.nan, np.nan)
  value = statistic(np.ones(len(episode)))
  names, own = np.unique(episode, return_inverse=True)
  rng = np.random.default_rng(seed)
  drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
  resampled = np.array([statistic(counts[own]) for counts in drawn])
  defined = resampled[np.isfinite(resampled)]
  if np.isnan(value) or not defined.size:
    return Estimate(value, np.nan, np.nan)
  low, high = np.quantile(defined, [0.025, 0.975])
  return Estimate(float(value), float(low), float(high))


def mean(x: np.ndarray, among: np.ndarray | None = None) -> Statistic:
  """Mean of x [R], over the rows `among` [R] bool alone if they are given."""
  rows = np.arange(len(x)) if among is None else np.flatnonzero(among)
  values = x[rows]

  def statistic(count: np.ndarray) -> float:
    total = count[rows].sum()
    return float(count[rows] @ values / total) if total else np.nan

  return statistic


def difference(x: np.ndarray, first: np.ndarray, second: np.ndarray) -> Statistic:
  """Mean of x [R] over the rows `first` [R] bool less that over the rows `second` [R] bool."""
  of_first, of_second = mean(x, first), mean(x, second)
  return lambda count: of_first(count) - of_second(count)


def spearman(x: np.ndarray, y: np.ndarray) -> Statistic:
  """Spearman's rank correlation of x [R] and y [R]; ties share the mean of their ranks."""
  place_x, place_y = _places(x), _places(y)

  def statistic(count: np.ndarray) -> float:
    total = count.sum()
    if not total:
      return np.nan
    a, b = _ranks(place_x, count), _ranks(place_y, count)
    a, b = a - count @ a / total, b - count @ b / total
    scale = np.sqrt((count @ a**2) * (count @ b**2))
    return float(count @ (a * b) / scale) if scale > 0 else np.nan

  return statistic


def auroc(x: np.ndarray, positive: np.ndarray) -> Statistic:
  """Chance that x of a positive row exceeds that of another one; ties count half.

  Args:
    x: [R].
    positive: [R] bool.
  """
  place = _places(x)

  def statistic(count: np.ndarray) -> float:
    positives, negatives = count[positive].sum(), count[~positive].sum()
    if not positives or not negatives:
      return np.nan
    rank_sum = count[positive] @ _ranks(place, count)[positive]
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))

  return statistic


def _places(x: np.ndarray) -> np.ndarray:
  """[R] int, the place of each number among the different ones in ascending order."""
  return np.unique(x, return_inverse=True)[1]


def _ranks(place: np.ndarray, count: np.ndarray) -> np.ndarray:
  """[R] ranks from 1 among rows that count [R] times each; equal ones share their mean rank."""
  drawn = np.bincount(place, count)
  below = np.cumsum(drawn) - drawn
  return (below + (drawn + 1) / 2)[place]
