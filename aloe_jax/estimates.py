"""Statistics of rows that depend on each other, with intervals from resampling whole episodes.

Neighbouring rows of an episode say nearly the same, so that an interval from resampling rows would
be far too narrow. A resample draws as many episodes as there are, with replacement; every
statistic takes how often each row was drawn. What sums over rows define is resampled by the sums of
each episode, which comes to the same and takes no time.

Legend of shapes: R rows, E episodes, n sums.
"""

from collections.abc import Callable
import dataclasses

import numpy as np

Statistic = Callable[[np.ndarray], float]  # of how often each row counts, [R]; NaN if undefined

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number and its 95 % interval.

  All are NaN where the rows do not define the number, and the interval where they are of one
  episode.
  """

  value: float
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class OfSums:
  """A statistic that sums over the rows define.

  Attributes:
    columns: [R, n] whose sums they are.
    of: sums [..., n] to the statistic [...]; NaN where they do not define it.
  """

  columns: np.ndarray
  of: Callable[[np.ndarray], np.ndarray]

  def __call__(self, count: np.ndarray) -> float:
    """Of how often each row counts, [R]."""
    return float(self.of(count @ self.columns))

  def resampled(self, drawn: np.ndarray, own: np.ndarray) -> np.ndarray:
    """[resamples], of how often each episode was drawn [resamples, E] and each row's own [R]."""
    episodes = drawn.shape[1]
    sums = [np.bincount(own, column, minlength=episodes) for column in self.columns.T]
    return self.of(drawn @ np.stack(sums, axis=1))


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
  drawn = drawn.astype(float)
  if isinstance(statistic, OfSums):
    resampled = statistic.resampled(drawn, own)
  else:
    resampled = np.array([statistic(counts[own]) for counts in drawn])
  defined = resampled[np.isfinite(resampled)]
  if np.isnan(value) or not defined.size or len(names) < 2:
    return Estimate(value, np.nan, np.nan)
  low, high = np.quantile(defined, [0.025, 0.975])
  return Estimate(float(value), float(low), float(high))


def share(x: np.ndarray, among: np.ndarray, episode: np.ndarray) -> Estimate:
  """The share of rows at which something is, with its interval.

  Where it is at none of them or at all, so it is in every resample, which would tell an interval of
  no width. Then that is Wilson's, of as many trials as there are episodes.

  Args:
    x: [R], 0 or 1.
    among: [R] bool, the rows that count.
    episode: [R] int, that each row belongs to.
  """
  found = estimate(mean(x, among), episode)
  if found.value not in (0, 1):
    return found
  from scipy import stats  # a second of every program's start

  trials = len(np.unique(episode[among]))
  test = stats.binomtest(round(found.value * trials), trials)
  interval = test.proportion_ci(method='wilson')
  return Estimate(found.value, float(interval.low), float(interval.high))


def share_difference(
  x: np.ndarray, first: np.ndarray, second: np.ndarray, episode: np.ndarray
) -> Estimate:
  """The share among the rows `first` less that among `second`, both [R] bool; see `share`.

  Where no resample differs from another, the interval is Newcombe's, of the intervals of both.
  """
  found = estimate(difference(x, first, second), episode)
  if found.low != found.high:
    return found
  one, other = (share(x, among, episode) for among in (first, second))
  below = np.hypot(one.value - one.low, other.high - other.value)
  above = np.hypot(one.high - one.value, other.value - other.low)
  return Estimate(found.value, float(found.value - below), float(found.value + above))


def mean(x: np.ndarray, among: np.ndarray | None = None) -> OfSums:
  """Mean of x [R], over the rows `among` [R] bool alone if they are given."""
  among = np.ones(len(x), bool) if among is None else among
  return OfSums(_counted(x, among), lambda sums: _ratio(sums[..., 1], sums[..., 0]))


def difference(x: np.ndarray, first: np.ndarray, second: np.ndarray) -> OfSums:
  """Mean of x [R] over the rows `first` [R] bool less that over the rows `second` [R] bool."""

  def of(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 1], sums[..., 0]) - _ratio(sums[..., 3], sums[..., 2])

  return OfSums(np.hstack([_counted(x, first), _counted(x, second)]), of)


def slope(y: np.ndarray, x: np.ndarray, given: np.ndarray, among: np.ndarray) -> OfSums:
  """Least-squares slope of y on x where `given` is held: the coefficient of x beside its own.

  Args:
    y: [R].
    x: [R].
    given: [R].
    among: [R] bool, the rows that count.

  Returns:
    NaN where x does not vary by itself.
  """
  a, b, c = (
    np.where(among, z, 0) - (z[among].mean() if among.any() else 0) * among for z in (x, given, y)
  )
  columns = np.stack([among, a, b, c, a * a, a * b, b * b, a * c, b * c], axis=1)

  def of(sums: np.ndarray) -> np.ndarray:
    count, a, b, c, aa, ab, bb, ac, bc = np.moveaxis(sums, -1, 0)
    with np.errstate(divide='ignore', invalid='ignore'):
      aa, ab, bb = aa - a * a / count, ab - a * b / count, bb - b * b / count
      ac, bc = ac - a * c / count, bc - b * c / count
      share = np.where(bb > 1e-12 * np.abs(aa), ab / bb, 0)  # nothing is held where it is constant
      varies = aa - share * ab
      return np.where(varies > 1e-9 * np.abs(aa), (ac - share * bc) / varies, np.nan)

  return OfSums(columns, of)


def spearman(x: np.ndarray, y: np.ndarray) -> Statistic:
  """Spearman's rank correlation of x [R] and y [R]; ties share the mean of their ranks."""
  order = np.argsort(x, kind='stable')
  place_x, place_y = _places(x[order]), _places(y[order])

  def statistic(count: np.ndarray) -> float:
    total = count.sum()
    if not total:
      return np.nan
    count = count[order]
    a, b = (_ranks(place, count) - (total + 1) / 2 for place in (place_x, place_y))
    # Not by `@`, which has threads wait for each other at this size.
    of_a, of_b, together = (np.sum(count * u * v) for u, v in ((a, a), (b, b), (a, b)))
    scale = np.sqrt(of_a * of_b)
    return float(together / scale) if scale > 0 else np.nan

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


def _counted(x: np.ndarray, among: np.ndarray) -> np.ndarray:
  """[R, 2]: whether each row is among some [R] bool, and x [R] where it is."""
  return np.stack([among.astype(float), np.where(among, x, 0)], axis=1)


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
  """A mean; NaN of no row."""
  return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _places(x: np.ndarray) -> np.ndarray:
  """[R] int, the place of each number among the different ones in ascending order."""
  return np.unique(x, return_inverse=True)[1]


def _ranks(place: np.ndarray, count: np.ndarray) -> np.ndarray:
  """[R] ranks from 1 among rows that count [R] times each; equal ones share their mean rank."""
  drawn = np.bincount(place, count)
  middle = np.cumsum(drawn)
  middle -= (drawn - 1) / 2
  return middle[place]
