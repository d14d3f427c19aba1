"""Which numbers of two datasets look like those of another unit, sign, order or gripper.

A look is no proof. But two halves of one dataset do not have it: what is found differs far more
than episodes do among themselves, or is the same to the last digit once it is turned round.

Legend of shapes: n numbers that both datasets have, E episodes, Q quantiles.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from aloe_jax.data.tools import value_range
from aloe_jax.preprocessing import normalize

APART = 25.0  # times that a range is as wide; degrees are 57 times as wide as radians
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_DIFFERENT = 0.25  # of a range, mean distance of quantiles; what is nearer is called the same
_BETTER = 4.0  # times that quantiles are nearer once mirrored, or in another order
_EXACT = 1.5  # steps, over all of them: the share of a range by which quantiles of the same
# numbers differ, as each is the value at a rank
_CHANCE = 0.002  # that some number of a dataset differs as much without a reason
_TINY = 1e-9
_END = 0.25  # of a range, at either end of it
_TWO_ENDED = 0.7  # of the steps lie there: a gripper, and no joint
_TURNED = 0.4  # by which that share of one end differs where a gripper is inverted


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
  """How n numbers of a dataset lie.

  Attributes:
    steps: of all episodes.
    quantiles: [Q, n] of all steps.
    low: [n] the smallest.
    high: [n] the largest.
    bounds: [2, n] q01 and q99, or what training takes instead.
    ends: [2, n] share of the steps in the lower and in the upper quarter between low and high.
    episodes: [E, 2, n] of each episode: the mean and the width.
  """

  steps: int
  quantiles: np.ndarray
  low: np.ndarray
  high: np.ndarray
  bounds: np.ndarray
  ends: np.ndarray
  episodes: np.ndarray


def profile(values: value_range.ValueRange, n: int) -> Profile:
  """That of the first n numbers of what `ValueRange` saw."""
  running = values.running
  return Profile(
    steps=running.count,
    quantiles=np.stack([running.quantile(q) for q in QUANTILES])[:, :n],
    low=values.low[:n],
    high=values.high[:n],
    bounds=np.clip(np.stack(running.bounds()), values.low, values.high)[:, :n],
    ends=np.stack(running.ends(_END))[:, :n],
    episodes=np.stack(values.episodes)[:, :, :n],
  )


def scaled(a: Profile, b: Profile) -> dict[int, float]:
  """{number: times that a's span as much as b's} where that is far from 1.

  The ratio is the one nearest to 1 of three: of what all steps span, of what 98 in 100 do and of
  what an episode does. For neither a single wild value nor a joint that moves in a few episodes
  makes a unit.
  """
  wide = [
    np.stack([p.high - p.low, p.bounds[1] - p.bounds[0], np.median(p.episodes[:, 1], axis=0)])
    for p in (a, b)
  ]
  moves = (wide[0] > 0).all(0) & (wide[1] > 0).all(0)
  logs = np.log(np.divide(wide[0], wide[1], out=np.ones_like(wide[0]), where=moves))
  nearest = np.take_along_axis(logs, np.abs(logs).argmin(0)[None], 0)[0]
  nearest = np.where(np.abs(logs.sum(0)) < np.abs(logs).sum(0), 0, nearest)  # not of one mind
  # A unit is that of most numbers, or of one that all episodes agree about.
  usual = np.median(nearest[moves]) if moves.sum() > 2 else 0.0
  return {
    int(i): float(np.exp(nearest[i]))
    for i in np.flatnonzero(np.abs(nearest) > np.log(APART))
    if (nearest[i] * usual > 0 and abs(usual) > np.log(APART / 2))
    or _unlike(_log_widths(a, i), _log_widths(b, i), a.low.size)
  }


def mirrored(a: Profile, b: Profile, numbers: Sequence[int]) -> list[int]:
  """Those whose signs look inverted, such as -2 to 0.1 beside -0.1 to 2."""
  found = []
  for i in numbers:
    here, there = a.quantiles[:, i], b.quantiles[:, i]
    same, turned = _distance(here, there), _distance(here, -there[::-1])
    different = _differs(a, b, i) or (turned < _exact(a, b) and _ends_differ(a, b, i))
    if same > _DIFFERENT and turned * _BETTER < same and different:
      found.append(i)
  return found


def reordered(a: Profile, b: Profile, numbers: Sequence[int]) -> dict[int, int]:
  """{number of a: number of b that it looks like} where these are others."""
  if len(numbers) < 2:
    return {}
  distance = np.array(
    [[_distance(a.quantiles[:, i], b.quantiles[:, j]) for j in numbers] for i in numbers]
  )
  _, column = scipy.optimize.linear_sum_assignment(distance)
  found: dict[int, int] = {}
  for cycle in _cycles(column.tolist()):
    before, after = distance[cycle, cycle], distance[cycle, column[cycle]]
    exact = after.max() < _exact(a, b)
    if after.sum() * _BETTER < before.sum() and all(
      _differs(a, b, numbers[i]) or (exact and _ends_differ(a, b, numbers[i])) for i in cycle
    ):
      found |= {numbers[i]: numbers[column[i]] for i in cycle}
  return dict(sorted(found.items()))


def turned(a: Profile, b: Profile, numbers: Sequence[int]) -> list[int]:
  """Those that rest at one end of their range in one dataset and at the other end in the other."""
  two_ended = [i for i in numbers if min(a.ends[:, i].sum(), b.ends[:, i].sum()) > _TWO_ENDED]
  found = []
  for i in two_ended:
    apart, left = abs(a.ends[1, i] - b.ends[1, i]), abs(a.ends[1, i] - b.ends[0, i])
    means = [(p.episodes[:, 0, i] - p.low[i]) / (p.high[i] - p.low[i]) for p in (a, b)]
    if apart > _TURNED and left < _TURNED / 2 and _unlike(means[0], means[1], len(two_ended)):
      found.append(i)
  return found


def _distance(a: np.ndarray, b: np.ndarray) -> float:
  """Mean distance of quantiles [Q], as a share of the wider range."""
  wide = max(a[-1] - a[0], b[-1] - b[0])
  return float(np.abs(a - b).mean() / max(wide, normalize.NARROWEST))


def _ends_differ(a: Profile, b: Profile, i: int) -> bool:
  """Whether other values are reached, and not the same ones more often, as by a gripper."""
  ends = [np.array([p.low[i], p.high[i]]) for p in (a, b)]
  return _distance(*ends) > _DIFFERENT / 2


def _differs(a: Profile, b: Profile, i: int) -> bool:
  """Whether number i is another one in a than in b, as far as their episodes can tell."""
  tests = 2 * a.low.size
  means = [p.episodes[:, 0, i] for p in (a, b)]
  return _unlike(means[0], means[1], tests) or _unlike(_log_widths(a, i), _log_widths(b, i), tests)


def _log_widths(a: Profile, i: int) -> np.ndarray:
  """[E] logarithm of what number i spans in each episode."""
  return np.log(a.episodes[:, 1, i] + _TINY)


def _exact(a: Profile, b: Profile) -> float:
  """Distance of quantiles below which two lots of steps are the same numbers."""
  return max(_EXACT / min(a.steps, b.steps), 10 / normalize.BINS)


def _unlike(a: np.ndarray, b: np.ndarray, tests: int = 1) -> bool:
  """Whether the means of two lots of episodes [E] differ by more than any of some tests would."""
  if min(len(a), len(b)) < 2:
    return False
  apart = abs(a.mean() - b.mean())
  parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
  error = np.sqrt(sum(parts))
  if error < _TINY * max(1, abs(a.mean())):
    return bool(apart > normalize.NARROWEST * max(1, abs(a.mean())))
  # Welch's test.
  freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
  return bool(2 * scipy.special.stdtr(freedom, -apart / error) < _CHANCE / tests)


def _cycles(column: Sequence[int]) -> list[list[int]]:
  """The cycles of a permutation, without those of one."""
  left, found = set(range(len(column))), []
  while left:
    cycle = [min(left)]
    while column[cycle[-1]] != cycle[0]:
      cycle.append(column[cycle[-1]])
    left -= set(cycle)
    if len(cycle) > 1:
      found.append(cycle)
  return found
