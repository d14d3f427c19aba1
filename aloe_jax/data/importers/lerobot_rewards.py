"""Whether the rewards of a LeRobot dataset tell of success, and which of its episodes end in one.

They do where any episode has rewards of both 0 and 1 and no others. Then a reward of 0 at the end
of another says something too: an import is not told that all succeeded.
"""

from collections.abc import Sequence
import dataclasses
import pathlib

import numpy as np
import pyarrow as pa

from aloe_jax import types
from aloe_jax.data import remarks
from aloe_jax.data.importers import lerobot_meta
from aloe_jax.data.importers import lerobot_rows

_INDEX = 'episode_index'
_ROWS = 1 << 16  # at a time


@dataclasses.dataclass(frozen=True)
class Ends:
  """Episodes by what they end in, where rewards tell of success.

  Attributes:
    ones: numbers of those that have both rewards and end in 1.
    zeros: of those that end in 0.
  """

  ones: list[int]
  zeros: list[int]


def ends(files: Sequence[pathlib.Path], name: str) -> Ends | None:
  """Reads one column of all files.

  Args:
    files: of the rows; what cannot be read is passed over, since it is refused with its rows.
    name: of the column with rewards.

  Returns:
    How the episodes end, or None where the rewards tell nothing.
  """
  parts: list[tuple[np.ndarray, ...]] = [(np.zeros(0, int), np.zeros(0), np.zeros(0))]
  for path in files:
    try:
      for batch in lerobot_meta.batches(
        path, [_INDEX, name], also=(lerobot_rows.FRAME, lerobot_rows.TIME), rows=_ROWS
      ):
        parts.append(_numbers(pa.Table.from_batches([batch]), name, str(path)))
    except (OSError, TypeError, ValueError):
      continue
  episode, time, reward = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
  if not len(episode):
    return None
  order = np.lexsort((time, episode))  # stable
  episode, reward = episode[order], reward[order]
  numbers, first = np.unique(episode, return_index=True)
  last = reward[np.append(first[1:], len(reward)) - 1]
  plain = np.logical_and.reduceat(np.isin(reward, (0, 1)) | np.isnan(reward), first)
  both = plain.copy()
  for value in (0, 1):
    both &= np.logical_or.reduceat(reward == value, first)
  if not both.any():
    return None
  return Ends(numbers[both & (last == 1)].tolist(), numbers[plain & (last == 0)].tolist())


def check(found: Ends, end_reason: types.EndReason, path: pathlib.Path, name: str) -> None:
  """Raises if an end reason is that of success or failure and the rewards say otherwise.

  Args:
    found: what the rewards say.
    end_reason: of the episodes whose own is not recorded.
    path: of `info.json`, for the message.
    name: of the column with rewards.

  Raises:
    ValueError: naming the episodes.
  """
  wrong = {types.EndReason.SUCCESS: found.zeros, types.EndReason.FAILURE: found.ones}
  episodes = wrong.get(end_reason, [])
  if not episodes:
    return
  text = end_reason.name.lower()
  reward = 0 if end_reason == types.EndReason.SUCCESS else 1
  raise ValueError(
    f'{path}: {name}: found a reward of {reward} at the end of {_counted(episodes)}, expected '
    f'{1 - reward} with --end-reason={text}: rewards of this dataset tell of success. Take their '
    f'word by --success={name}, where 0 at the end is a failure; or leave them out by '
    f'--success=none, where every episode ends in a {text}.'
  )


def notes(found: Ends, end_reason: types.EndReason, name: str) -> list[str]:
  """What the rewards tell of and what they leave open, a line each."""
  lines = [f'flags: {name} -> success']
  if found.zeros:
    lines.append(
      f'flags: {name}: a reward of 0 at the end of {_counted(found.zeros)}: end reason '
      f'{end_reason.name.lower()}; --success={name} makes it a failure'
    )
  return lines


def _counted(episodes: list[int]) -> str:
  return f'{len(episodes)} episode{"s" * (len(episodes) != 1)} ({remarks.named(episodes)})'


def _numbers(rows: pa.Table, name: str, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """[T] numbers of the episode, of its time, and rewards; NaN where one is missing."""
  reward = np.array(lerobot_rows.column(rows, name, where), np.float64)
  told = [key for key in (lerobot_rows.FRAME, lerobot_rows.TIME) if key in rows.column_names]
  time = np.zeros(len(rows))
  if told:
    time = np.array(lerobot_rows.column(rows, told[0], where), np.float64)
  return rows[_INDEX].to_numpy(), time, reward
