"""What an importer is told about recordings beyond what they say, and episodes made of both."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.data import fragments
from aloe_jax.data import image_codec
from aloe_jax.data import rlds


@dataclasses.dataclass(frozen=True)
class Settings:
  """What holds for all recordings.

  Attributes:
    source: of every step whose own is not recorded.
    end_reason: of every episode whose own is not recorded; a success is never guessed.
    prompt: of every episode, instead of the recorded one; None for the recorded one.
    cameras: {camera: its name in the recordings}, no others are imported; None for those
      whose names are in use.
    state: name of the state in the recordings; None for the names in use.
    action: name of the action in the recordings; None for the names in use.
    intervention: name of the flag that is set at the steps where a human acts; None for the
      names in use, '' for none of them.
  """

  source: types.Source = types.Source.DEMO
  end_reason: types.EndReason = types.EndReason.CUT
  prompt: str | None = None
  cameras: Mapping[str, str] | None = None
  state: str | None = None
  action: str | None = None
  intervention: str | None = None


def make_episode(
  where: str,
  *,
  state: np.ndarray,
  action: np.ndarray,
  images: Mapping[str, image_codec.Frames],
  source: np.ndarray | types.Source,
  end_reason: np.ndarray | types.EndReason,
  prompt: str,
  metadata: Mapping[str, Any],
) -> rlds.Episode:
  """An episode, checked so that what is wrong is named by where it was recorded.

  Args:
    where: the recording, for messages.
    state: [T, n], the robot's own n numbers.
    action: [T, A].
    images: {camera: T frames}.
    source: [T], or one for all steps.
    end_reason: [T], or that of the last step; then take-overs are found by the source.
    prompt: what the robot was asked to do.
    metadata: scalars and texts of the episode.

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
  for field, values in (('source', source), ('end_reason', end_reason)):
    if len(values) != length:
      raise ValueError(f'{where}: {field}: found {len(values)}, expected one a step: {length}.')
  return rlds.Episode(
    state=_numbers(state, length, f'{where}: state'),
    features=None,
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
  if array.ndim != 2 or array.shape[0] != length or not np.issubdtype(array.dtype, np.number):
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
