"""Rows of numbers that are computed when they are first asked for, and held in memory from then."""

from collections.abc import Callable

import numpy as np


class AskedRows:
  """Stands where an array of N rows is read by rows, of which few will ever be asked for.

  Args:
    shape: (N, ...) of all rows.
    dtype: of the numbers.
    compute: rows [batch_size] to their numbers [batch_size, ...]; the last batch is filled up with
      its last row, so that one program serves all calls.
    batch_size: rows that are computed at a time.

  Attributes:
    shape: (N, ...) of all rows.
    dtype: of the numbers.
  """

  def __init__(
    self,
    shape: tuple[int, ...],
    dtype: np.dtype | type,
    compute: Callable[[np.ndarray], np.ndarray],
    *,
    batch_size: int,
  ):
    self.shape = shape
    self.dtype = np.dtype(dtype)
    self._compute = compute
    self._batch_size = batch_size
    self._known = np.empty((0, *shape[1:]), self.dtype)
    self._place = np.full(shape[0], -1, np.int64)  # of each row among those known

  def __len__(self) -> int:
    return self.shape[0]

  def missing(self, rows: np.ndarray) -> np.ndarray:
    """Those of some rows, ascending, that are not computed yet."""
    rows = np.unique(rows)
    return rows[self._place[rows] < 0]

  def add(self, rows: np.ndarray, progress: Callable[[int], None] = lambda done: None) -> None:
    """Computes what is missing of some rows [...]; `progress` is told how many are done."""
    missing, parts = self.missing(rows), [self._known]
    for first in range(0, len(missing), self._batch_size):
      batch = missing[first : first + self._batch_size]
      filled = np.pad(batch, (0, self._batch_size - len(batch)), mode='edge')
      parts.append(np.asarray(self._compute(filled))[: len(batch)].astype(self.dtype))
      progress(first + len(batch))
    self._place[missing] = len(self._known) + np.arange(len(missing))
    self._known = np.concatenate(parts)

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """Numbers [..., *shape[1:]] of rows [...]."""
    self.add(rows)
    return self._known[self._place[rows]]

  def take(
    self, rows: np.ndarray, axis: int = 0, out: np.ndarray | None = None, mode: str = 'raise'
  ) -> np.ndarray:
    """What `numpy.take` asks of an object that is no array: `[rows]`, into `out` if it is given."""
    del axis, mode
    self.add(rows)
    return np.take(self._known, self._place[rows], axis=0, out=out, mode='clip')
