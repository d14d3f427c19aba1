"""The rows of a LeRobot episode in their order in time, and when each was recorded.

`frame_index` counts the frames of the recording and `timestamp` tells its seconds, so that rows
that were left out later, at the head or in the middle, are known by them: the others keep their
own time, and what is missing in the middle is a hole that no chunk may span. Times of a clock count
from the first row, whose `frame_index` says where it is.
"""

from collections.abc import Sequence
import dataclasses
import math

import numpy as np
import pyarrow as pa

FRAME, TIME = 'frame_index', 'timestamp'
_EPOCH = 1e8  # seconds, three years: above it a time is that of a clock, not of an episode
_JUMP = 1.5  # periods between two steps, above which steps are missing
_RATE = 0.05  # share by which the rate of the steps may differ from the one that info.json tells


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
  """When the T rows of an episode were recorded.

  Attributes:
    times: [T] float64, seconds since the recording began, ascending.
    holes: rows after which others are missing.
    is_told: whether the rows tell their time; else they are taken to follow each other.
  """

  times: np.ndarray
  holes: Sequence[int]
  is_told: bool


def in_order(
  rows: pa.Table, fps: float, where: str, *, check_agreement: bool
) -> tuple[pa.Table, Timeline]:
  """Puts the rows of an episode into their order in time.

  Args:
    rows: T of them, with the columns `frame_index` and `timestamp` as far as recorded.
    fps: steps per second.
    where: the episode, for messages.
    check_agreement: whether both columns have to tell the same times to half a step, as they
      must where pictures are found by them.

  Returns:
    The rows in order, and their times.

  Raises:
    ValueError: naming the step, where two rows have the same place, a time is missing, negative
      or not after the one before it, the two columns disagree, or the steps have another rate.
  """
  frame = _column(rows, FRAME, where)
  time = _column(rows, TIME, where)
  key = time if frame is None else frame
  if key is None:
    return rows, Timeline(np.arange(len(rows)) / fps, [], is_told=False)
  if (np.diff(key) < 0).any():
    order = np.argsort(key, kind='stable')
    rows = rows.take(order)
    frame = None if frame is None else frame[order]
    time = None if time is None else time[order]
  if frame is not None:
    _check_ascends(FRAME, frame, where)
  if time is not None and len(time) and time[0] > _EPOCH:
    time = _since_start(time, frame, fps, where, check_agreement=check_agreement)
  if time is not None:
    _check_ascends(TIME, time, where)
  if time is None:
    assert frame is not None
    time = frame / fps
  _check_rate(time, frame, fps, where)
  if check_agreement and frame is not None:
    _check_agree(frame, time, fps, where)
  jumps = np.diff(time) * fps > _JUMP
  if frame is not None:
    jumps |= np.diff(frame) > 1
  return rows, Timeline(time, np.flatnonzero(jumps).tolist(), is_told=True)


def column(rows: pa.Table, name: str, where: str) -> np.ndarray | list:
  """[T] values of a column of one value a step, alone or in a list; None where one is missing.

  Raises:
    ValueError: naming the step that has several.
  """
  found = rows[name].combine_chunks()
  while _is_list(found.type):
    lists = found.to_pylist()
    for step, listed in enumerate(lists):
      if listed is not None and len(listed) > 1:
        raise ValueError(
          f'{where}, step {step}: {name}: found {len(listed)} values, expected one a step.'
        )
    if not all(lists):  # one is missing, or has none
      found = pa.array([listed[0] if listed else None for listed in lists])
    else:
      found = found.flatten()
  of_numbers = pa.types.is_integer(found.type) or pa.types.is_floating(found.type)
  if found.null_count or not of_numbers:
    return found.to_pylist()
  return found.to_numpy(zero_copy_only=False)


def _is_list(kind: pa.DataType) -> bool:
  return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _column(rows: pa.Table, name: str, where: str) -> np.ndarray | None:
  """[T] float64, finite and not negative, or None where there is no such column."""
  if name not in rows.column_names:
    return None
  listed = rows[name].to_pylist()
  try:
    values = np.array(listed, np.float64).reshape(len(listed), -1)  # None becomes NaN
  except (TypeError, ValueError) as error:
    raise ValueError(f'{where}: {name}: found no number, or not one at every step.') from error
  if values.shape[1] != 1:
    raise ValueError(f'{where}: {name}: found {values.shape[1]} numbers a step, expected one.')
  bad = ~(np.isfinite(values[:, 0]) & (values[:, 0] >= 0))
  if bad.any():
    step = int(np.argmax(bad))
    raise ValueError(
      f'{where}, step {step}: {name}: found {values[step, 0]:g}, expected a number of 0 or more; '
      'repair or remove the recording.'
    )
  return values[:, 0]


def _check_ascends(name: str, values: np.ndarray, where: str) -> None:
  bad = np.diff(values) <= 0
  if not bad.any():
    return
  step = int(np.argmax(bad)) + 1
  before, found = values[step - 1], values[step]
  if found == before:
    problem = f'found {found:g} twice, expected one row for each'
  else:
    problem = f'found {found:g} after {before:g}, expected it to grow from step to step'
  raise ValueError(f'{where}, step {step}: {name}: {problem}; repair or remove the recording.')


def _since_start(
  time: np.ndarray, frame: np.ndarray | None, fps: float, where: str, *, check_agreement: bool
) -> np.ndarray:
  """Seconds since the recording began, of times of a clock."""
  if frame is None and check_agreement:
    raise ValueError(
      f'{where}: {TIME}: found {time[0]:.0f}, the time of a clock, and no {FRAME}; expected '
      f'seconds since the episode began, or {FRAME}, to know which picture of the video belongs '
      'to a step.'
    )
  digits = math.floor(math.log10(time[0] / _EPOCH)) // 3 * 3  # 3 of milliseconds, 6, 9
  seconds = (time - time[0]) / 10.0**digits
  if frame is None:
    return seconds
  if (np.diff(seconds) <= 0).any():
    raise ValueError(
      f'{where}: {TIME}: found times of a clock, such as {time[0]:.0f}, that are kept too coarsely '
      f'to tell the steps apart; remove the column: {FRAME} alone says when a step was.'
    )
  return seconds + frame[0] / fps


def _check_rate(time: np.ndarray, frame: np.ndarray | None, fps: float, where: str) -> None:
  """Raises unless most steps, or all of them together, follow each other at the rate told."""
  if len(time) < 2:
    return
  places = np.ones(len(time) - 1) if frame is None else np.diff(frame)
  found = 1 / np.median(np.diff(time) / places)
  drift = time[-1] - time[0] - places.sum() / fps  # little where steps only tremble
  if abs(found - fps) > _RATE * fps and abs(drift) > 0.5 / fps:
    raise ValueError(
      f'{where}: {TIME}: found {found:.4g} steps a second, expected {fps:g}, the fps in '
      'meta/info.json; correct the one that is wrong.'
    )


def _check_agree(frame: np.ndarray, time: np.ndarray, fps: float, where: str) -> None:
  apart = np.abs(time - frame / fps) > 0.5 / fps
  if apart.any():
    step = int(np.argmax(apart))
    raise ValueError(
      f'{where}, step {step}: found {TIME} {time[step]:.4f} s and {FRAME} {frame[step]:.0f}, '
      f'which is {frame[step] / fps:.4f} s at {fps:g} frames a second; expected the same to half a '
      'frame, else it is not known which picture of the video belongs to the step.'
    )
