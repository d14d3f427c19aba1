"""How far each number of a state or an action reaches, and where it reaches farthest."""

from typing import Any

import numpy as np
import rich.table

from aloe_jax.preprocessing import normalize


class ValueRange:
  """Smallest and largest of n numbers with their places, and the quantiles training would use.

  Args:
    n: numbers per vector.

  Attributes:
    low: [n] the smallest of each.
    high: [n] the largest.
    low_at: [n, 2] int, episode and step of the smallest.
    high_at: [n, 2] int, those of the largest.
    running: the statistics that training would use.
    episodes: [2, n] of each: the mean and the width, from smallest to largest.
  """

  def __init__(self, n: int):
    self.low, self.high = np.full(n, np.inf), np.full(n, -np.inf)
    self.low_at, self.high_at = np.zeros((n, 2), int), np.zeros((n, 2), int)
    self.running = normalize.RunningStats(n)
    self.episodes: list[np.ndarray] = []

  def update(self, vectors: np.ndarray, episode: int) -> None:
    """Adds the vectors [T, n] of an episode."""
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    lower, higher = low < self.low, high > self.high
    self.low_at[lower, 0] = self.high_at[higher, 0] = episode
    self.low_at[lower, 1] = vectors.argmin(axis=0)[lower]
    self.high_at[higher, 1] = vectors.argmax(axis=0)[higher]
    self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
    self.running.update(vectors)
    self.episodes.append(np.stack([vectors.mean(axis=0), high - low], dtype=np.float64))

  def quantiles(self) -> tuple[np.ndarray, np.ndarray]:
    """q01 and q99, [n] each."""
    q01, q99 = (self.running.quantile(q) for q in normalize.QUANTILES)
    return q01, q99

  def farthest(self) -> np.ndarray:
    """[n] largest magnitude once normalised as training does."""
    return self.running.farthest()

  def remarks(self, key: str) -> list[str]:
    """A sentence on each number of `key` that is not as training would like it."""
    found = []
    still = self.low == self.high
    if still.any():
      found.append(f'{key}: numbers {np.flatnonzero(still).tolist()} never move.')
    q01, q99 = (np.clip(q, self.low, self.high) for q in self.quantiles())
    seldom = self.running.seldom_move()
    for i in np.flatnonzero(seldom | (self.farthest() > normalize.FAR)):
      above = self.high[i] - q99[i] > q01[i] - self.low[i]
      value, place = (self.high, self.high_at) if above else (self.low, self.low_at)
      episode, step = place[i].tolist()
      how = ''
      if seldom[i]:
        how = f'; it is normalised by its extremes, {self.low[i]:.4g} and {self.high[i]:.4g}'
      found.append(
        f'{key}: number {i} is {value[i]:.4g} in episode {episode}, step {step}, while 98 % of '
        f'its values lie between {q01[i]:.4g} and {q99[i]:.4g}{how}.'
      )
    return found

  def to_json(self) -> dict[str, Any]:
    """All numbers, as JSON takes them."""
    q01, q99 = self.quantiles()
    return {
      'min': self.low.tolist(),
      'q01': q01.tolist(),
      'q99': q99.tolist(),
      'max': self.high.tolist(),
      'min_at': self.low_at.tolist(),
      'max_at': self.high_at.tolist(),
    }

  def table(self, title: str) -> rich.table.Table:
    """The numbers for a person."""
    table = rich.table.Table(title=title)
    for column in ('number', 'min', 'q01', 'q99', 'max', 'largest, normalised'):
      table.add_column(column, justify='right')
    rows = np.column_stack([self.low, *self.quantiles(), self.high, self.farthest()])
    for first, last in self._runs():
      if self.low[first] == self.high[first]:
        reach = 'never moves'
      else:
        seldom = ' (by min and max)' if self.running.seldom_move()[first] else ''
        reach = f'{rows[first, -1]:.4g}{seldom}'
      name = f'{first}' if first == last else f'{first}-{last}'
      table.add_row(name, *(f'{value:.4g}' for value in rows[first, :-1]), reach)
    return table

  def _runs(self) -> list[tuple[int, int]]:
    """First and last of the numbers that share a row: those in sequence that stay at one value."""
    runs: list[tuple[int, int]] = []
    for i in range(len(self.low)):
      still = self.low[i] == self.high[i]
      if runs and still and self.low[runs[-1][0]] == self.high[runs[-1][0]] == self.low[i]:
        runs[-1] = runs[-1][0], i
      else:
        runs.append((i, i))
    return runs
