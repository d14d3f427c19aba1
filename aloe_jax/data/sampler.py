"""Which rows a batch holds: a pure function of (seed, position), with no state to save.

The same numbers give the same rows on any host, in any number of threads, after any restart; an
order takes no memory, and no longer to look up in many rows than in few.
"""

from collections.abc import Callable, Mapping
import itertools

import numpy as np

from aloe_jax import types

_ROUNDS = 6  # of the Feistel network
_PASSES = 48  # bits of a key that count the passes; those above are the stream's
_Drawn = Callable[[np.ndarray, int, int, int], np.ndarray]  # rows, first, count, stream: [count]


def sample_rows(rows: np.ndarray, seed: int, first: int, count: int, stream: int = 0) -> np.ndarray:
  """Samples `first` .. `first + count` - 1 of an endless stream over `rows`.

  Each pass visits every row once, in an order that is a function of (seed, pass). There is no
  iterator to save: the same numbers give the same rows on any host, after any restart.

  Args:
    rows: [R] int, what to sample from.
    seed: of the order.
    first: position in the stream.
    count: how many samples.
    stream: one of several of the same seed, which share no random number.

  Returns:
    [count] of `rows`.
  """
  if not len(rows):
    raise ValueError('there is no row to sample: no chunk of the buffer is of the wanted kind.')
  position = np.arange(first, first + count, dtype=np.uint64)
  sampled = np.empty(count, rows.dtype)
  for number in range(first // len(rows), -(-(first + count) // len(rows))):
    own = position // len(rows) == number
    sampled[own] = rows[
      _permuted(position[own] % len(rows), len(rows), [seed, stream << _PASSES | number])
    ]
  return sampled


def _permuted(position: np.ndarray, size: int, key: list[int]) -> np.ndarray:
  """Where a permutation of `size` numbers puts some positions [n] uint64; nothing is stored.

  A Feistel network permutes the powers of four; what lands past the end is sent on until it lands
  inside (cycle walking; Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
  """
  half = max(1, ((size - 1).bit_length() + 1) // 2)
  shift, mask = np.uint64(half), np.uint64(2**half - 1)
  round_keys = np.random.Philox(key=key).random_raw(_ROUNDS)

  def encrypt(x: np.ndarray) -> np.ndarray:
    left, right = x >> shift, x & mask
    for round_key in round_keys:
      left, right = right, left ^ (_mixed(right + round_key) >> np.uint64(64 - half))
    return left << shift | right

  permuted = encrypt(position)
  outside = permuted >= size
  while outside.any():
    permuted[outside] = encrypt(permuted[outside])
    outside = permuted >= size
  return permuted


def _mixed(x: np.ndarray) -> np.ndarray:
  """Every bit of [n] uint64 spread over all of it (the finaliser of SplitMix64)."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))


def tell_absent(rows: np.ndarray, source: np.ndarray, ratios: Mapping[str, float]) -> str:
  """Which sources were to have a share of the batches and are not among the rows; '' for none.

  Args:
    rows, source, ratios: see `Sampler`.
  """
  wanted = {
    kind: ratios[kind.name.lower()] for kind in types.Source if ratios[kind.name.lower()] > 0
  }
  there = {kind: weight for kind, weight in wanted.items() if (source[rows] == kind).any()}
  if there == wanted:
    return ''
  absent = ' and '.join(kind.name.lower() for kind in wanted if kind not in there)
  shares = [f'{x / sum(there.values()):.0%} {kind.name.lower()}' for kind, x in there.items()]
  return (
    f'config.data.ratios gives a share to {absent}, of which there is no chunk to learn from; '
    f'batches are {", ".join(shares) or "of all chunks alike"}.'
  )


class Sampler:
  """Endless streams of batches over some rows.

  Without ratios every row is as likely as another. With them every batch holds each source in
  its share, exactly but for the rounding to whole rows, which is carried from batch to batch.
  A source that the rows do not hold, such as rollouts while demonstrations are imitated, leaves
  its share to the others.

  Args:
    rows: [R] int, what to sample from.
    source: [N] int8, `types.Source` of every row of the buffer.
    ratios: {source: weight}; all zero for no ratios.
  """

  def __init__(self, rows: np.ndarray, source: np.ndarray, ratios: Mapping[str, float]):
    self.rows = rows
    weights = {kind: ratios[kind.name.lower()] for kind in types.Source}
    own = {kind: rows[source[rows] == kind] for kind, weight in weights.items() if weight > 0}
    self._own = {kind: present for kind, present in own.items() if len(present)}
    shares = np.cumsum([weights[kind] for kind in self._own])
    self._ends = shares / shares[-1] if len(shares) else shares

  def batches(self, seed: int, first: int, count: int, size: int) -> np.ndarray:
    """Batches `first` .. `first + count` - 1 of the stream of a seed, [n, B] of the rows."""

    def rows(own: np.ndarray, start: int, count: int, stream: int) -> np.ndarray:
      return sample_rows(own, seed, start, count, stream)

    return self._joined(first, count, size, rows)

  def visits(self, first: int, count: int, size: int) -> np.ndarray:
    """How often each row of those batches was in one before, [n, B]: whatever the seed.

    A pass visits every row once; with ratios each source has passes of its own.
    """

    def passes(own: np.ndarray, start: int, count: int, stream: int) -> np.ndarray:
      del stream
      return np.arange(start, start + count) // len(own)

    return self._joined(first, count, size, passes)

  def _joined(self, first: int, count: int, size: int, drawn: _Drawn) -> np.ndarray:
    """[n, B] of what is drawn from the stream of every source, or from the one of all rows."""
    if not self._own:
      return drawn(self.rows, first * size, count * size, 0).reshape(count, size)
    # Rows of each source up to the start of every batch, and to the end of the last one.
    upto = np.outer(np.arange(first, first + count + 1) * size, self._ends)
    upto = np.diff(np.floor(upto + 0.5).astype(int), prepend=0, axis=1)
    streams = [
      drawn(own, start, stop - start, 1 + int(kind))
      for (kind, own), start, stop in zip(self._own.items(), upto[0], upto[-1], strict=True)
    ]
    batches = [
      [stream[a:b] for stream, a, b in zip(streams, before - upto[0], after - upto[0], strict=True)]
      for before, after in itertools.pairwise(upto)
    ]
    return np.stack([np.concatenate(parts) for parts in batches])
