"""What an importer is told about recordings beyond what they say, and episodes made of both."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.data import field_path
from aloe_jax.data import fragments
from aloe_jax.data import image_codec
from aloe_jax.data import rlds
from aloe_jax.data.importers import log as log_lib


@dataclasses.dataclass(frozen=True)
class Settings:
  """What holds for all recordings.

  Attributes:
    source: of every step whose own is not recorded.
    end_reason: of every episode whose own is not recorded; a success is never guessed.
    prompt: of every episode, instead of the recorded one; None for the recorded one.
    cameras: {camera: its name in the recordings}, no others are imported; None for those
      whose names are in use.
    state: name of the state in the recordings, or of several parts that are joined, such as
      'arm[0:7],hand[7:14]'; None for the names in use.
    action: of the action, likewise.
    intervention: name of the flag that is set at the steps where a human acts, with a comparison
      where it is no flag, see `flags`; None for the names in use, '' for none of them.
    success: likewise of the flag that is set where the task is done.
    log: of what the import has to tell, and whether it goes on after an error.
  """

  source: types.Source = types.Source.DEMO
  end_reason: types.EndReason = types.EndReason.CUT
  prompt: str | None = None
  cameras: Mapping[str, str] | None = None
  state: str | None = None
  action: str | None = None
  intervention: str | None = None
  success: str | None = None
  log: log_lib.Log = dataclasses.field(default_factory=log_lib.Log)


def parts(text: str, option: str) -> list[field_path.FieldPath]:
  """The parts that an option names, with commas between.

  Raises:
    ValueError: naming the option, if they cannot be read.
  """
  try:
    return [field_path.parse(part) for part in field_path.split(text)]
  except ValueError as error:
    raise ValueError(f'{option}: {error}') from error


def joined(
  arrays: Mapping[str, np.ndarray], found: Sequence[field_path.FieldPath], where: str
) -> np.ndarray:
  """[T, n] of parts of arrays [T, m], one after another.

  Args:
    arrays: {name: array} of all that are named; those of one whole part may have any shape.
    found: the parts.
    where: the recording, for messages.

  Raises:
    ValueError: naming the recording and the part that an array does not have.
  """
  if len(found) == 1 and found[0] == field_path.FieldPath(found[0].name):
    return arrays[found[0].name]
  columns = []
  for part in found:
    array = arrays[part.name]
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != len(arrays[found[0].name]):
      raise ValueError(
        f'{where}: {part.name}: found {list(array.shape)}, expected '
        f'[{len(arrays[found[0].name])}, n].'
      )
    try:
      columns.append(array[:, part.columns(array.shape[1])])
    except ValueError as error:
      raise ValueError(f'{where}: {error}') from error
  return np.concatenate(columns, axis=1)


def make_episode(
  where: str,
  *,
  state: np.ndarray,
  action: np.ndarray,
  images: Mapping[str, image_codec.Frames],
  source: np.ndarray | types.Source,
  end_reason: np.ndarray | types.EndReason,
  prompt: str | Sequence[str],
  metadata: Mapping[str, Any],
  holes: Sequence[int] = (),
  features: np.ndarray | None = None,
) -> rlds.Episode:
  """An episode, checked so that what is wrong is named by where it was recorded.

  Args:
    where: the recording, for messages.
    state: [T, n], the robot's own n numbers.
    action: [T, A].
    images: {camera: T frames}.
    source: [T], or one for all steps.
    end_reason: [T], or that of the last step; then take-overs are found by the source.
    prompt: what the robot was asked to do, one text or one a step.
    metadata: scalars and texts of the episode.
    holes: rows after which steps are missing: what ends there is cut, unless an `end_reason` of
      every step says otherwise. A take-over that is found by the source is not kept there, since
      the human took over at a step that is missing.
    features: [T, V, F] that stand in for pictures in a simulator, or None.

  Raises:
    ValueError: naming the recording, the step and the field.
  """
  length = action.shape[0] if action.ndim else 0
  if length == 0:
    raise ValueError(f'{where}: found no steps, expected at least one; remove the recording.')
  if isinstance(source, types.Source):
    source = np.full(length, source, np.int8)
  if isinstance(end_reason, types.EndReason):
    last = end_reason
    taken_over = fragments.takeovers(source)
    end_reason = np.where(taken_over, types.EndReason.TAKEOVER, types.EndReason.NONE)
    end_reason = end_reason.astype(np.int8)
    end_reason[-1:] = last
    end_reason[list(holes)] = types.EndReason.CUT
  for field, values in (('source', source), ('end_reason', end_reason)):
    if len(values) != length:
      raise ValueError(f'{where}: {field}: found {len(values)}, expected one a step: {length}.')
  end_reason = np.array(end_reason, np.int8)
  open_holes = [row for row in holes if not end_reason[row]]
  end_reason[open_holes] = types.EndReason.CUT
  return rlds.Episode(
    state=_numbers(state, length, f'{where}: state'),
    features=features,
    images={
      camera: _frames(frames, length, f'{where}: images of {camera!r}')
      for camera, frames in images.items()
    }
    or None,
    action=_numbers(action, length, f'{where}: action'),
    source=source,
    end_reason=end_reason,
    prompt=prompt,
    metadata=metadata,
  )


def _numbers(array: np.ndarray, length: int, what: str) -> np.ndarray:
  """The array as float32, once it is finite and [T, n]."""
  if array.ndim != 2 or array.shape[0] != length or array.dtype.kind not in 'iuf':
    raise ValueError(
      f'{what}: found {array.dtype} {list(array.shape)}, expected numbers [{length}, n].'
    )
  array = array.astype(np.float32)
  bad = ~np.isfinite(array).all(axis=1)
  if bad.any():
    raise ValueError(
      f'{what}, step {int(np.argmax(bad))}: found NaN or infinity, expected finite numbers; '
      'repair or remove the recording.'
    )
  return array


def _frames(frames: image_codec.Frames, length: int, what: str) -> image_codec.Frames:
  if isinstance(frames, np.ndarray) and frames.ndim != 4:
    raise ValueError(
      f'{what}: found {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3].'
    )
  if len(frames) != length:
    raise ValueError(f'{what}: found {len(frames)}, expected one a step: {length}.')
  try:
    image_codec.common_format(frames)
  except ValueError as error:
    raise ValueError(f'{what}: {error}') from error
  return frames
