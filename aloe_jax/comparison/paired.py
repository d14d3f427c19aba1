"""Is one method better than another? Paired differences over seeds, within each task."""

from collections.abc import Mapping
import dataclasses

import numpy as np
import scipy.stats

_LEAST_FREEDOM = 2  # degrees of it, of an interval: with one, Student's t is 12.7 errors wide
_SAME = 1e-9  # sum of squares of seeds that do not differ, as rounding leaves it
_SEVERAL = 0.5  # share of the tasks beyond which the variance within them is known
Pairs = Mapping[tuple[str, int], float]  # {(task, seed): what was measured}


@dataclasses.dataclass(frozen=True)
class Difference:
  """The mean difference of two methods, each task counting the same.

  Attributes:
    mean: over the tasks of the mean over the seeds; not a number where there is no run.
    low, high: its 95 % interval; not a number where it would rest on fewer than two degrees of
      freedom, on half of the tasks or fewer, or on seeds that do not differ: it takes three seeds
      of one task, or two of most tasks.
    p_value: two-sided, that the mean is 0; likewise.
    pairs: number of runs compared.
    tasks: of how many tasks they are.
  """

  mean: float
  low: float
  high: float
  p_value: float
  pairs: int
  tasks: int


def paired(first: Pairs, second: Pairs) -> Difference:
  """First minus second, by Student's t on the differences of runs that share task and seed.

  A pair shares its warm start, demonstrations and evaluation scenes, so that their luck cancels.
  Each seed has scenes of its own, so that the interval is over the choice of scenes as well.
  Tasks differ in how much there is to gain: the variance is that within tasks, pooled.

  Args:
    first: of one method.
    second: of the other, with the same keys.

  Raises:
    ValueError: the keys differ.
  """
  if first.keys() != second.keys():
    raise ValueError(
      f'found other runs of the one than of the other: {sorted(first.keys() ^ second.keys())}.'
    )
  by_task = _by_task({key: first[key] - second[key] for key in first})
  return _difference(by_task)


def mean(values: Pairs) -> Difference:
  """The mean of one method over tasks and seeds, with its interval."""
  return _difference(_by_task(values))


def _by_task(values: Pairs) -> list[np.ndarray]:
  tasks = sorted({task for task, _ in values})
  return [np.array([x for (t, _), x in sorted(values.items()) if t == task]) for task in tasks]


def _difference(by_task: list[np.ndarray]) -> Difference:
  if not by_task:
    return Difference(np.nan, np.nan, np.nan, np.nan, 0, 0)
  counts = np.array([len(values) for values in by_task])
  pairs, tasks = int(counts.sum()), len(by_task)
  freedom = pairs - tasks
  center = float(np.mean([values.mean() for values in by_task]))
  squares = sum(np.square(values - values.mean()).sum() for values in by_task)
  is_known = freedom >= _LEAST_FREEDOM and np.mean(counts > 1) > _SEVERAL
  if not (is_known and squares > _SAME):
    return Difference(center, np.nan, np.nan, np.nan, pairs, tasks)
  error = float(np.sqrt(squares / freedom * (1 / counts).sum()) / tasks)
  half = float(scipy.stats.t.ppf(0.975, freedom)) * error
  p_value = 2 * float(scipy.stats.t.sf(abs(center) / error, freedom))
  return Difference(center, center - half, center + half, p_value, pairs, tasks)
