"""The numbers of an observation in one row, and within which range its space says each of them is.

`gymnasium.spaces.flatten` would cast each part to the type of its space: 1.03 to 1, and 300 to 44.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

FARTHEST = 1e6  # of a bound that is one; beyond it there is none, as 'unbounded' is often written
HIGHEST = float(np.finfo(np.float32).max)
_OVERSHOOT = 1e-3  # of its range by which a number may miss its bounds unsaid, as rounding has it

Ranges = dict[str, Any]  # see `declared`
PARTS = ('observation', 'action')
Path = tuple[Any, ...]  # keys from the whole observation to a part of it


def name(path: Path, whole: str = 'observation') -> str:
  """What a part of an observation is called in messages."""
  return whole + ''.join(f'[{key!r}]' for key in path)


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


def names(space: Any, path: Path = (), whole: str = 'observation') -> list[str]:
  """What each number of a row is called, by its place in a space that can be put in a row.

  Args:
    space: of observations or of actions.
    path: of the space.
    whole: what it is a part of.
  """
  from gymnasium import spaces

  if isinstance(space, spaces.Dict | spaces.Tuple):
    parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
    return [called for key, part in parts for called in names(part, (*path, key), whole)]
  own = name(path, whole)
  if isinstance(space, spaces.Box):
    return [f'{own}{list(index) if index else ""}' for index in np.ndindex(space.shape)]
  return [f'{own} ({space})[{number}]' for number in range(spaces.flatdim(space))]


def declared(observation: Any, action: Any) -> Ranges:
  """What two spaces say of their numbers: ranges, names, and of actions what these leave open."""
  from gymnasium import spaces

  row: Any = spaces.flatten_space(observation)
  kind = '' if action.dtype.kind == 'f' else ', a whole number'
  low, high = action.low.ravel(), action.high.ravel()
  return {
    'observation': ranges(row.low, row.high),
    'action': ranges(action.low, action.high),
    'observation_names': names(observation),
    'action_names': [
      f'{called}{kind}{_one_sided(lowest, highest)}'
      for called, lowest, highest in zip(names(action, (), 'action'), low, high, strict=True)
    ],
  }


def _one_sided(lowest: float, highest: float) -> str:
  if np.isfinite(lowest) == np.isfinite(highest):
    return ''
  return f', {lowest:g} or more' if np.isfinite(lowest) else f', {highest:g} or less'


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
  """The first number that is another one or has another range, in words; '' where none is.

  Args:
    before: what was `declared`, and what else there is; of an older version without names.
    now: what is compared with it.
  """
  for what in PARTS:
    had, has = before.get(what, []), now[what]
    if len(had) != len(has):
      return f'has {len(has)} numbers of the {what}, and had {len(had)}'
    called, other = before.get(f'{what}_names') or now[f'{what}_names'], now[f'{what}_names']
    for i in range(len(has)):
      if called[i] != other[i]:
        return f'has {other[i]} as number {i} of the {what}, and had {called[i]}'
      if not _is_close(had[i], has[i]):
        return f'has {_told(has[i])} for number {i} of the {what}, and had {_told(had[i])}'
  return ''


def _is_close(one: Sequence[float] | None, other: Sequence[float] | None) -> bool:
  """Whether two ranges are equal but for rounding."""
  if one is None or other is None:
    return one is other
  return bool(np.allclose(one, other))


def _told(ends: Sequence[float] | None) -> str:
  return 'no bounds' if ends is None else f'bounds of {ends[0]:.7g} to {ends[1]:.7g}'


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
