"""Statistics of states and actions, and the maps between a robot's units and the network's.

The file `norm_stats.json` and the formulas are those of openpi, so that a released π0.5 and the
statistics beside it mean the same here. Statistics are of the n numbers a robot really has,
before any padding.
"""

import dataclasses
import json
import pathlib
from typing import Any, Protocol

from absl import logging
import numpy as np

from aloe_jax import files
from aloe_jax import types

EPSILON = 1e-6  # added to every range and deviation, as in openpi
NARROWEST = 1e-4  # of max(1, |centre|); a range or deviation below it is that of a constant
FAR = 10.0  # once normalised: where a number no longer looks like the others of its dimension
BINS = 5000  # of the running histograms
QUANTILES = (0.01, 0.99)
_ZERO = 1e-6  # in any unit
_SELDOM = 0.1  # of the steps; a number that rests in 98 % of them moves to and fro in 4 %


@dataclasses.dataclass(frozen=True, eq=False)
class Stats:
  """Of each of n numbers, in the robot's units.

  Attributes:
    mean: [n] float64.
    std: [n] float64, of the population.
    q01: [n] float64, the value that 1% lie below; None where the file has none.
    q99: [n] float64, likewise of 99%.
  """

  mean: np.ndarray
  std: np.ndarray
  q01: np.ndarray | None = None
  q99: np.ndarray | None = None


def read(path: pathlib.Path | str) -> dict[str, Stats]:
  """Reads a `norm_stats.json`: data key ('state', 'actions') to its statistics.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: naming the file, the key and what is wrong with it.
  """
  path = files.place(path)
  try:
    content = files.read_json(path, 'copy it again, or compute it anew with `data stats`.')
  except FileNotFoundError:
    raise FileNotFoundError(
      f'{path}: no such file; it is the norm_stats.json beside a checkpoint, in assets/<robot>/.'
    ) from None
  return from_json(content, str(path))


def from_json(content: Any, where: str) -> dict[str, Stats]:
  """What `to_json` made, or a `norm_stats.json` holds; `where` begins the messages.

  Raises:
    ValueError: naming the key and what is wrong with it.
  """
  if not isinstance(content, dict) or not isinstance(content.get('norm_stats'), dict):
    raise ValueError(f"{where}: expected an object with the one key 'norm_stats'.")
  return {key: _parse(f'{where}: {key!r}', entry) for key, entry in content['norm_stats'].items()}


def ends_in_padding(stats: Stats, n: int) -> bool:
  """Whether all numbers after the n-th are of zeros that a robot's vectors were filled up with."""
  return own_size(stats) <= n


def own_size(stats: Stats) -> int:
  """Numbers up to the last that is not of zeros that a robot's vectors were filled up with."""
  zeros = [stats.mean, *(q for q in (stats.q01, stats.q99) if q is not None)]
  used = np.any([np.abs(values) >= _ZERO for values in zeros], axis=0)
  # A deviation of 1 is written for a 0 that nothing can be divided by.
  used |= np.minimum(np.abs(stats.std), np.abs(stats.std - 1)) >= _ZERO
  return int(np.flatnonzero(used)[-1]) + 1 if used.any() else 0


def as_used(stats: Stats) -> Stats:
  """Statistics whose plain formulas give what `Quantile` and `ZScore` make of some.

  Other programs divide a number that hardly moves by its own range, and would have it huge.
  """
  std = np.where(_is_narrow(stats.std, stats.mean), 1.0, stats.std)
  if stats.q01 is None or stats.q99 is None:
    return dataclasses.replace(stats, std=std)
  narrow = is_narrow(stats.q01, stats.q99)
  return dataclasses.replace(stats, std=std, q99=np.where(narrow, stats.q01 + 1, stats.q99))


def write(path: pathlib.Path | str, stats: dict[str, Stats]) -> None:
  """Writes or replaces a `norm_stats.json` that openpi reads too."""
  files.write_text(files.place(path), json.dumps(to_json(stats), indent=2))


def to_json(stats: dict[str, Stats]) -> dict[str, Any]:
  """The statistics as plain lists, in the structure of openpi's file."""
  entries = {
    key: {
      name: None if values is None else np.asarray(values, np.float64).tolist()
      for name, values in vars(of_key).items()
    }
    for key, of_key in stats.items()
  }
  return {'norm_stats': entries}


def _parse(where: str, entry: Any) -> Stats:
  names = [field.name for field in dataclasses.fields(Stats)]
  found: dict[str, np.ndarray] = {}
  for name in names:
    values = entry.get(name) if isinstance(entry, dict) else None
    if values is None and name in ('q01', 'q99'):
      continue
    try:
      found[name] = np.asarray(values, np.float64)
    except (TypeError, ValueError):
      raise ValueError(f'{where}: {name} is no list of numbers.') from None
    if found[name].ndim != 1 or not np.isfinite(found[name]).all():
      raise ValueError(f'{where}: {name} is no list of finite numbers.')
  lengths = {name: len(values) for name, values in found.items()}
  if len(set(lengths.values())) > 1:
    raise ValueError(f'{where}: the lists differ in length, {lengths}.')
  return Stats(**found)


class RunningStats:
  """Statistics of data that is seen once, batch by batch.

  Quantiles come from histograms of `BINS` equal bins per number, spread anew over the smallest
  and largest value whenever these move: what openpi computes, and not an exact quantile.

  A number that rests at one value in 98 % of the vectors and moves in the others (a gripper that is
  seldom closed) has no range between its quantiles to be normalised by; its q01 and q99 are its
  smallest and largest value instead.

  Args:
    n: numbers per vector.

  Attributes:
    count: vectors so far.
    low: [n] the smallest of each.
    high: [n] the largest.
  """

  def __init__(self, n: int):
    self.count = 0
    self._moves = np.zeros(n)  # from one vector to the next
    self._mean = np.zeros(n)
    self._mean_of_squares = np.zeros(n)
    self.low = np.full(n, np.inf)
    self.high = np.full(n, -np.inf)
    self._edges = np.zeros((BINS + 1, n))
    self._histogram = np.zeros((BINS, n))

  def update(self, x: np.ndarray) -> None:
    """Adds vectors x [..., n]."""
    n = self._mean.size
    if np.shape(x)[-1:] != (n,):
      raise ValueError(f'found vectors of shape {list(np.shape(x))}, expected [..., {n}].')
    vectors = np.asarray(x, np.float64).reshape(-1, n)
    if not len(vectors):
      return
    self._spread(np.minimum(self.low, vectors.min(0)), np.maximum(self.high, vectors.max(0)))
    self._histogram += _histogram(vectors, self._edges)
    near = NARROWEST * np.maximum(1, np.abs(vectors[1:]))
    self._moves += (np.abs(np.diff(vectors, axis=0)) > near).sum(0)
    self.count += len(vectors)
    part = len(vectors) / self.count
    self._mean += part * (vectors.mean(0) - self._mean)
    self._mean_of_squares += part * (np.square(vectors).mean(0) - self._mean_of_squares)

  def stats(self, key: str = 'data') -> Stats:
    """Of all vectors so far; logs `remarks`.

    Args:
      key: of the statistics, for messages: 'state' or 'actions'.
    """
    q01, q99 = self.bounds()
    for remark in self.remarks(key):
      logging.warning('%s', remark)
    variance = self._mean_of_squares - np.square(self._mean)
    return Stats(self._mean.copy(), np.sqrt(np.maximum(0, variance)), q01, q99)

  def quantile(self, q: float) -> np.ndarray:
    """[n] the left edge of the bin that the quantile q falls into."""
    if self.count < 2:
      raise ValueError(f'statistics need at least 2 vectors, found {self.count}.')
    reached = (self._histogram.cumsum(0) >= q * self.count).argmax(0)
    return self._edges[reached, np.arange(self._mean.size)]

  def ends(self, part: float) -> tuple[np.ndarray, np.ndarray]:
    """[n] each, shares that lie in the lowest and in the highest `part` between the extremes."""
    bins = round(part * BINS)
    low, high = self._histogram[:bins].sum(0), self._histogram[-bins:].sum(0)
    return low / self.count, high / self.count

  def bounds(self) -> tuple[np.ndarray, np.ndarray]:
    """What becomes -1 and 1, [n] each: q01 and q99, or the extremes of numbers that seldom move."""
    q01, q99 = (self.quantile(q) for q in QUANTILES)
    seldom = self.seldom_move()
    return np.where(seldom, self.low, q01), np.where(seldom, self.high, q99)

  def seldom_move(self) -> np.ndarray:
    """[n] bool, whether a number rests in 98 % of the vectors, but not in all.

    q01 and q99 of a number that always moves fall together too where a single value is so far off
    that one bin holds all others; there is nothing in its extremes to be normalised by.
    """
    q01, q99 = (self.quantile(q) for q in QUANTILES)
    rests = self._moves < _SELDOM * self.count
    return rests & is_narrow(q01, q99) & ~is_narrow(self.low, self.high)

  def farthest(self) -> np.ndarray:
    """[n] the largest magnitude once normalised by `bounds`."""
    low, high = self.bounds()
    centre, half = (low + high) / 2, np.where(is_narrow(low, high), 1.0, high - low) / 2
    return np.maximum(self.high - centre, centre - self.low) / half

  def remarks(self, key: str) -> list[str]:
    """A sentence on each number that its quantiles describe badly; `key` begins it."""
    q01, q99 = (np.clip(self.quantile(q), self.low, self.high) for q in QUANTILES)
    seldom, farthest, found = self.seldom_move(), self.farthest(), []
    for i in np.flatnonzero(seldom | (farthest > FAR)):
      reach = f'{self.low[i]:.6g} to {self.high[i]:.6g}'
      if seldom[i]:
        in_last_bin = self.high[i] - q01[i] < 1.5 * (self.high[i] - self.low[i]) / BINS
        rest = self.high[i] if in_last_bin else q01[i]
        found.append(
          f'{key}: number {i} rests at {rest:.6g} in 98 % of the steps and reaches from {reach}; '
          'it is normalised by these two, as q01 and q99 are one.'
        )
      else:
        found.append(
          f'{key}: number {i} lies within {q01[i]:.6g} to {q99[i]:.6g} (q01 to q99) in 98 % of the '
          f'steps and reaches from {reach}, which is {farthest[i]:.4g} once normalised; expected '
          f'up to {FAR:g}. Look at those steps: in training they outweigh the others.'
        )
    return found

  def _spread(self, low: np.ndarray, high: np.ndarray) -> None:
    """Moves the histograms to bins between new bounds [n]."""
    if (low == self.low).all() and (high == self.high).all():
      return
    if not self.count:
      self._edges = np.linspace(low - 1e-10, high + 1e-10, BINS + 1)
    else:
      edges = np.linspace(low, high, BINS + 1)
      left = self._edges[:-1].clip(low, high)  # the first edges lie 1e-10 outside
      self._histogram = _histogram(left, edges, self._histogram)
      self._edges = edges
    self.low, self.high = low, high


def is_narrow(low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """[n] bool, whether the range between two bounds [n] is that of a constant; see `NARROWEST`."""
  return _is_narrow(high - low, (low + high) / 2)


def _histogram(x: np.ndarray, edges: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
  """Counts x [m, n] (each `weights` [m, n] times) between edges [BINS + 1, n]: [BINS, n]."""
  columns = [
    np.histogram(x[:, i], edges[:, i], weights=None if weights is None else weights[:, i])[0]
    for i in range(x.shape[1])
  ]
  return np.stack(columns, axis=1)


class Normalizer(Protocol):
  """A map to the network's units and its inverse; NumPy arrays or JAX ones, any leading axes.

  Attributes:
    reach: about 98 % of what statistics are of lie within -reach and reach, once normalised.
  """

  reach: float

  def __call__(self, x: types.Array) -> types.Array:
    """The robot's units to the network's, [..., n]."""

  def inverse(self, x: types.Array) -> types.Array:
    """The network's units to the robot's, [..., n]."""


class Identity:
  """Units of the robot and of the network are the same."""

  reach = 1.0

  def __call__(self, x: types.Array) -> types.Array:
    return x

  def inverse(self, x: types.Array) -> types.Array:
    return x


class Quantile:
  """q01 to -1 and q99 to 1, what π0.5 uses; values beyond them are not cut.

  The inverse lets numbers without statistics pass. A number with q99 - q01 near zero (see
  `NARROWEST`) would become huge as soon as it moves; its range is taken to be 1, and a warning
  names it.

  Args:
    stats: with quantiles.
    key: of the statistics, for messages: 'state' or 'actions'.
  """

  reach = 1.0

  def __init__(self, stats: Stats, key: str):
    if stats.q01 is None or stats.q99 is None:
      raise ValueError(
        f'the statistics of {key!r} have no q01 and q99, which quantile normalisation needs; '
        'use z-scores or compute the statistics again.'
      )
    centre = (stats.q01 + stats.q99) / 2
    self._low = stats.q01
    self._range = _widened(stats.q99 - stats.q01, centre, 'q99 - q01', key) + EPSILON
    self._key = key

  def __call__(self, x: types.Array) -> types.Array:
    _check_width(x, self._low.size, self._key)
    return (x - _beside(x, self._low)) / _beside(x, self._range) * 2 - 1

  def inverse(self, x: types.Array) -> types.Array:
    shift = _beside(x, np.ones_like(self._low))
    return (x + shift) * _beside(x, self._range / 2, 1) + _beside(x, self._low)


class ZScore:
  """Mean to 0 and standard deviation to 1, what π0 uses.

  The inverse multiplies numbers without statistics by 1 + 1e-6, as openpi does. A number with a
  standard deviation near zero (see `NARROWEST`) is only shifted, and a warning names it.

  Args:
    stats: of the data.
    key: of the statistics, for messages: 'state' or 'actions'.
  """

  reach = 2.326  # as of a bell curve

  def __init__(self, stats: Stats, key: str):
    self._mean = stats.mean
    self._scale = _widened(stats.std, stats.mean, 'std', key) + EPSILON
    self._key = key

  def __call__(self, x: types.Array) -> types.Array:
    _check_width(x, self._mean.size, self._key)
    return (x - _beside(x, self._mean)) / _beside(x, self._scale)

  def inverse(self, x: types.Array) -> types.Array:
    return x * _beside(x, self._scale, 1 + EPSILON) + _beside(x, self._mean)


def _check_width(x: types.Array, known: int, key: str) -> None:
  """Refuses numbers that the statistics do not know."""
  width = x.shape[-1]
  if width > known:
    raise ValueError(
      f'the data of {key!r} is {width} wide, its statistics {known}; take the statistics of '
      'this robot, or compute them again from this data.'
    )


def _beside(x: types.Array, values: np.ndarray, fill: float = 0) -> np.ndarray:
  """Values [n] cut or filled up to the last axis of x [..., width], as [1, ..., width]."""
  width = x.shape[-1]
  values = np.pad(values, (0, max(0, width - values.size)), constant_values=fill)[:width]
  return np.expand_dims(values, tuple(range(x.ndim - 1)))


def _is_narrow(spread: np.ndarray, centre: np.ndarray) -> np.ndarray:
  """[n] bool, whether a range or deviation is that of a constant; see `NARROWEST`."""
  return spread < NARROWEST * np.maximum(1, np.abs(centre))


def _widened(spread: np.ndarray, centre: np.ndarray, what: str, key: str) -> np.ndarray:
  """`spread` [n] with 1 where it is near zero, after a warning."""
  narrow = _is_narrow(spread, centre)
  if narrow.any():
    logging.warning(
      '%r hardly moves in dimensions %s (%s near zero); they are scaled as if it were 1.',
      key,
      np.flatnonzero(narrow).tolist(),
      what,
    )
  return np.where(narrow, 1.0, spread)
