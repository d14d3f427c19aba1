"""What a caller reads off a robot and hands to a policy: checked by name, and made into a batch."""

from collections.abc import Mapping
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Readings:
  """B readings; of one alone B is 1.

  Attributes:
    images: {camera: [B, H, W, 3] uint8}, each camera of a size of its own.
    state: [B, n] float32, in the robot's units.
    batched: whether the caller gave a batch, and is to be given one back.
  """

  images: dict[str, np.ndarray]
  state: np.ndarray
  batched: bool

  def __len__(self) -> int:
    return len(self.state)


@dataclasses.dataclass(frozen=True)
class Robot:
  """What there is to be read.

  Attributes:
    cameras: all that it has.
    state_size: n, numbers of its state.
    chunk: (h, A), steps of a chunk and numbers of an action.
  """

  cameras: tuple[str, ...]
  state_size: int
  chunk: tuple[int, int]

  def read(self, images: Mapping[str, np.ndarray], state: np.ndarray) -> Readings:
    """Checks images and state, [n] of one reading or [B, n] of a batch.

    Raises:
      ValueError: naming the argument, what was found and what was expected.
    """
    numbers = _numbers('state', state, (self.state_size,))
    batched = numbers.ndim == 2
    batch = numbers if batched else numbers[None]
    if not len(batch):
      raise ValueError('state: found a batch of none, expected at least one.')
    found = self._images(images, len(batch) if batched else None)
    return Readings(found, batch, batched)

  def read_chunk(self, chunk: np.ndarray, readings: Readings) -> np.ndarray:
    """Checks a chunk [h, A], or [B, h, A] that goes with a batch; returns [B, h, A] float32.

    Raises:
      ValueError: as `read` does.
    """
    numbers = _numbers('chunk', chunk, self.chunk)
    expected = (len(readings), *self.chunk) if readings.batched else self.chunk
    if numbers.shape != expected:
      raise ValueError(
        f'chunk: found {list(numbers.shape)}, expected {list(expected)} beside this state.'
      )
    return numbers.reshape(-1, *self.chunk)

  def _images(self, images: Mapping[str, np.ndarray], batch: int | None) -> dict[str, np.ndarray]:
    named = ', '.join(map(repr, self.cameras))
    if not isinstance(images, Mapping):
      raise ValueError(
        f'images: found {type(images).__name__}, expected {{camera: image}} of {named}.'
      )
    for camera in images:
      if camera not in self.cameras:
        raise ValueError(f'images: found a camera {camera!r}, expected {named}.')
    for camera in self.cameras:
      if camera not in images:
        given = ', '.join(map(repr, images)) or 'none'
        raise ValueError(f'images: found no camera {camera!r} among {given}, expected {named}.')
    return {camera: _image(camera, images[camera], batch) for camera in self.cameras}


def _image(camera: str, image: np.ndarray, batch: int | None) -> np.ndarray:
  """One camera's, [B, H, W, 3]."""
  image = np.asarray(image)
  leading = () if batch is None else (batch,)
  shape = ', '.join([*map(str, leading), 'H', 'W', '3'])
  fits = image.ndim == len(leading) + 3 and image.shape[: len(leading)] == leading
  if image.dtype != np.uint8 or not fits or image.shape[-1] != 3 or 0 in image.shape:
    hint = ''
    if image.ndim >= 3 and image.shape[-3] == 3 and image.shape[-1] != 3:
      hint = ' Its channels come first: move them to the end.'
    elif image.dtype.kind == 'f':
      hint = ' Give grey levels from 0 to 255 as the camera has them.'
    raise ValueError(
      f'images[{camera!r}]: found {image.dtype} {list(image.shape)}, expected uint8 [{shape}] '
      f'beside this state.{hint}'
    )
  return image if leading else image[None]


def _numbers(name: str, given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Finite float32 numbers of a shape, with a leading axis or without."""
  text = ', '.join(map(str, shape))
  try:
    found = np.asarray(given)
  except ValueError:  # lists of different lengths
    found = np.empty((), object)
  fits = found.shape[-len(shape) :] == shape and found.ndim <= len(shape) + 1
  if found.dtype.kind not in 'fiu' or not fits:
    raise ValueError(
      f'{name}: found {found.dtype} {list(found.shape)}, expected numbers [{text}], or '
      f"[B, {text}] of a batch, in the robot's units."
    )
  numbers = found.astype(np.float32)
  if not np.isfinite(numbers).all():
    bad = np.argwhere(~np.isfinite(numbers))[0].tolist()
    raise ValueError(
      f'{name}: found {found[tuple(bad)]} at {bad}, expected finite numbers everywhere.'
    )
  return numbers
