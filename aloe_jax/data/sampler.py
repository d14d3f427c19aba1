"""Which rows a batch holds: a pure function of (seed, position), with no state to save.

The same numbers give the same rows on any host, in any number of threads, after any restart.
"""

from collections.abc import Mapping
import functools

import numpy as np

from aloe_jax import types


def sample_rows(rows: np.ndarray, seed: int, first: int, count: int) -> np.ndarray:
  """Samples `first` .. `first + count` - 1 of an endless stream over `rows`.

  Each pass visits every row once, in an order that is a function of (seed, pass). There is no
  iterator to save: the same numbers give the same rows on any host, after any restart.

  Args:
    rows: [R] int, what to sample from.
    seed: of the order.
    first: position in the stream.
    count: how many samples.

  Returns:
    [count] of `rows`.
  """
  if not len(rows):
    raise ValueError('there is no row to sample: no chunk of the buffer is of the wanted kind.')
  passes = range(first // len(rows), -(-(first + count) // len(rows)))
  orders = np.concatenate([_order(seed, number, len(rows)) for number in passes])
  start = first - passes.start * len(rows)
  return rows[orders[start : start + count]]


@functools.lru_cache(4)
def _order(seed: int, number: int, size: int) -> np.ndarray:
  """The order of one pass over `size` rows, kept for the calls that share it."""
  return np.random.Generator(np.random.Philox(key=[seed, number])).permutation(size)


def sample_batches(
  rows: np.ndarray,
  source: np.ndarray,
  ratios: Mapping[str, float],
  seed: int,
  first: int,
  count: int,
  size: int,
) -> np.ndarray:
  """Batches `first` .. `first + count` - 1 of an endless stream.

  Without ratios every row is as likely as another. With them every batch holds each source in
  its share, exactly but for the rounding to whole rows, which is carried from batch to batch.
  A source that `rows` do not hold, such as rollouts while demonstrations are imitated, leaves
  its share to the others.

  Args:
    rows: [R] int, what to sample from.
    source: [N] int8, `types.Source` of every row of the buffer.
    ratios: {source: weight}; all zero for no ratios.
    seed: of the order.
    first: first batch.
    count: n, number of batches.
    size: B.

  Returns:
    [n, B] of `rows`.
  """
  wanted = {kind: ratios[kind.name.lower()] for kind in types.Source}
  own = {kind: rows[source[rows] == kind] for kind, weight in wanted.items() if weight > 0}
  wanted = {kind: wanted[kind] for kind, present in own.items() if len(present)}
  if not wanted:
    return sample_rows(rows, seed, first * size, count * size).reshape(count, size)
  batches = np.empty((count, size), rows.dtype)
  ends = np.cumsum(list(wanted.values())) / sum(wanted.values())
  for number in range(first, first + count):
    # Rows up to the end of this batch, and of the one before, that belong to each source.
    before, after = (
      np.diff(np.floor(ends * n * size + 0.5).astype(int), prepend=0) for n in (number, number + 1)
    )
    parts = [
      sample_rows(own[kind], seed + 1 + int(kind), start, stop - start)
      for kind, start, stop in zip(wanted, before, after, strict=True)
    ]
    batches[number - first] = np.concatenate(parts)
  return batches
