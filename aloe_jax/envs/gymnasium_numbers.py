"""The numbers of an observation in one row, and within which range its space says each of them is.

`gymnasium.spaces.flatten` would cast each part to the type of its space: 1.03 to 1, and 300 to 44.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

FARTHEST = 1e6  # of a bound that is one; beyond it there is none, as 'unbounded' is often written
HIGHEST = float(np.finfo(np.float32).max)
_OVERSHOOT = 1e-3  # of its range by which a number may miss its bounds unsaid, as rounding has it

Ranges = dict[str, list[tuple[float, float] | None]]  # of 'observation' and 'action'
Path = tuple[Any, ...]  # keys from the whole observation to a part of it


def name(path: Path) -> str:
  """What a part of an observation is called in messages."""
  return 'observation' + ''.join(f'[{key!r}]' for key in path)


def in_a_row(space: Any, value: Any) -> np.ndarray:
  """All numbers [n] of an observation that is in its space, as the floats that hold them.

  Args:
    space: of observations.
    value: one of them, or a part that is no Box.
  """
  from gymnasium import spaces

  if isinstance(space, spaces.Box):
    return np.asarray(value, np.result_type(space.dtype, np.float32)).ravel()
  if isinstance(space, spaces.Dict):
    return np.concatenate([in_a_row(part, value[key]) for key, part in space.spaces.items()])
  if isinstance(space, spaces.Tuple):
    pairs = zip(space.spaces, value, strict=True)
    return np.concatenate([in_a_row(part, own) for part, own in pairs])
  found: Any = spaces.flatten(space, value)
  return found


def is_range(low: np.ndarray, high: np.ndarray) -> np.ndarray:
  """Whether numbers have a range between their bounds, of the same shape: no bound is too far."""
  near = [np.abs(bound.astype(np.float64)) <= FARTHEST for bound in (low, high)]
  return near[0] & near[1]


def ranges(low: np.ndarray, high: np.ndarray) -> list[tuple[float, float] | None]:
  """(lowest, highest) of each number, None where it has no range."""
  ends = zip(is_range(low, high).flat, low.flat, high.flat, strict=True)
  return [(float(lowest), float(highest)) if both else None for both, lowest, highest in ends]


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
  """The first number whose range is another, in words; '' where none is.

  Args:
    before: {'observation' and 'action': ranges}, and what else there is.
    now: what is compared with it.
  """
  for what, has in now.items():
    had = before.get(what, [])
    if len(had) != len(has):
      return f'has {len(has)} numbers of the {what}, and had {len(had)}'
    for i, (one, other) in enumerate(zip(had, has, strict=True)):
      if one != other:
        return f'has {_told(other)} for number {i} of the {what}, and had {_told(one)}'
  return ''


def _told(ends: Sequence[float] | None) -> str:
  return 'no bounds' if ends is None else f'bounds of {ends[0]:g} to {ends[1]:g}'


def passing(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Lowest and highest numbers that pass for being within bounds, all finite."""
  both = is_range(low, high)
  # Of bounds on one side, or far ones, there is no range.
  scale = np.ones(both.shape)
  ends = []
  for bound in (low, high):
    # In float64, which holds what is beyond the ends of all types but its own.
    ends.append(np.clip(bound.astype(np.float64), -HIGHEST, HIGHEST))
    scale = np.maximum(scale, np.where(np.isfinite(bound), np.abs(ends[-1]), 1.0))
  margin = _OVERSHOOT * np.where(both, ends[1] - ends[0], scale)
  lowest, highest = ends[0] - margin, ends[1] + margin
  return np.clip(lowest, -HIGHEST, HIGHEST), np.clip(highest, -HIGHEST, HIGHEST)


def far_bounds(space: Any) -> dict[str, tuple[float, float]]:
  """{part: (lowest, highest)} of numbers that have finite bounds which are too far to be a range.

  Of each such part the first number is told.
  """
  told = {}
  for path, box in _boxes(space, ()):
    is_far = np.isfinite(box.low) & np.isfinite(box.high) & ~is_range(box.low, box.high)
    if is_far.any():
      told[name(path)] = float(box.low[is_far].flat[0]), float(box.high[is_far].flat[0])
  return told


def _boxes(space: Any, path: Path) -> Iterator[tuple[Path, Any]]:
  from gymnasium import spaces

  if isinstance(space, spaces.Box):
    yield path, space
  elif isinstance(space, spaces.Dict | spaces.Tuple):
    parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
    for key, part in parts:
      yield from _boxes(part, (*path, key))
