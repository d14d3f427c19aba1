"""Images, state and prompt of a request, whichever robot's keys it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aloe_client import told as told_lib


class Layout:
  """Where a request holds images and state.

  Attributes:
    cameras: {name in a recording: key of the request}.
    state: keys of the request, in the order of the recorded numbers.
    features: key of numbers [V, F] that stand in for images, as a simulator has them, or None.
  """

  def __init__(self, metadata: Mapping[str, Any], observation: Mapping[str, Any]):
    """Takes what the server says of itself; where it says nothing, what the observation holds.

    Args:
      metadata: of the server; empty if there is none.
      observation: the first one.

    Raises:
      ValueError: naming the key that is missing or has another width than the server wants.
    """
    told = metadata.get('aloe') or {}
    flat = dict(_flat(observation))
    has_features = told.get('features') if told else 'features' in flat
    self.features = 'features' if has_features else None
    self._seen: set[str] = set()  # cameras
    if told.get('state'):
      self.state = list(told['state'])
      self.cameras = told_lib.cameras(told)
      for key, part in told['state'].items():
        found = np.size(self._found(observation, key))
        if part.get('size') not in (None, found):
          raise ValueError(
            f'{key}: found {found} numbers, the server wants {part["size"]}; nothing was sent.'
          )
    else:
      self.state = [key for key, value in flat.items() if _is_state(value)]
      pictures = [key for key, value in flat.items() if _is_picture(value)]
      short = [key.rpartition('/')[-1] for key in pictures]
      names = short if len(set(short)) == len(short) else pictures
      self.cameras = {n.replace('/', '_'): key for n, key in zip(names, pictures)}
    if not self.state:
      raise ValueError(
        f'found no state in the observation, which has {sorted(flat)}; expected numbers [n].'
      )

  def read_state(self, observation: Mapping[str, Any]) -> np.ndarray:
    """[n] float32.

    Raises:
      ValueError: naming the key that is missing or holds no finite numbers.
    """
    parts = []
    for key in self.state:
      parts.append(_numbers(self._found(observation, key), key).ravel())
    return np.concatenate(parts)

  def read_features(self, observation: Mapping[str, Any]) -> np.ndarray | None:
    """[V, F] float32, or None where images are seen.

    Raises:
      ValueError: as `read_state`.
    """
    if self.features is None:
      return None
    return _numbers(self._found(observation, self.features), self.features)

  def sizes(self, observation: Mapping[str, Any]) -> dict[str, list[int]]:
    """Of what every step has to have as large as the first: {key of the request: sizes}."""
    found = {key: [int(np.size(self._found(observation, key)))] for key in self.state}
    if self.features is not None:
      found[self.features] = list(np.shape(self._found(observation, self.features)))
    return found

  def read_images(self, observation: Mapping[str, Any]) -> dict[str, np.ndarray | None]:
    """{camera: uint8 [H, W, 3], its own copy, or None where the camera gave none}.

    Raises:
      ValueError: naming the key that holds no picture, or that never was there: one that gives
        none for a while is a camera that has lost some.
    """
    found: dict[str, np.ndarray | None] = {}
    for camera, key in self.cameras.items():
      image = find(observation, key)
      found[camera] = None if image is None else pixels(image, key)
      if image is None and camera not in self._seen and not _names(observation, key):
        raise ValueError(
          f'{key}: found no such picture, and the server reads it; the observation has '
          f'{sorted(name for name, _ in _flat(observation))}. Nothing was sent.'
        )
      self._seen.add(camera)
    return found

  def _found(self, observation: Mapping[str, Any], key: str) -> Any:
    value = find(observation, key)
    if value is None:
      raise ValueError(
        f'{key}: found nothing of this name; the observation has '
        f'{sorted(name for name, _ in _flat(observation))}.'
      )
    return value


def find(observation: Mapping[str, Any], key: str) -> Any:
  """What a key names, also in maps within: `images/head`, or `head` in `images`; else None."""
  if key in observation:
    return observation[key]
  for name, value in _flat(observation):
    if name == key or name == f'images/{key}':
      return value
  return None


def _numbers(value: Any, key: str) -> np.ndarray:
  """A copy as float32, every number of which is finite in it."""
  found = np.asarray(value)
  if found.dtype.kind in 'biuf':
    with np.errstate(over='ignore'):  # what is too large becomes an infinity, which is refused
      found = np.array(found, np.float32)
    if np.isfinite(found).all():
      return found
  raise ValueError(f'{key}: found {np.asarray(value).dtype} with what is no finite number.')


def _names(observation: Mapping[str, Any], key: str) -> bool:
  """Whether an observation has what a key names, be it None for now."""
  return any(name in (key, f'images/{key}') for name, _ in _flat(observation))


def pixels(image: Any, key: str) -> np.ndarray:
  """A copy as uint8 [H, W, 3]: of [H, W, 3] or [3, H, W], whole numbers to 255 or reals to 1.

  Raises:
    ValueError: naming the key, if it is no picture.
  """
  found = np.asarray(image)
  shape = list(found.shape)
  if found.ndim == 3 and found.shape[-1] != 3 and found.shape[0] == 3:
    found = found.transpose(1, 2, 0)
  if found.ndim != 3 or found.shape[-1] != 3 or 0 in found.shape:
    raise ValueError(f'{key}: found an image {shape}, expected [H, W, 3] or [3, H, W].')
  if found.dtype.kind == 'f':
    if not (np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1):
      raise ValueError(
        f'{key}: found an image of reals outside of 0 to 1, expected those or uint8.'
      )
    found = (255 * found).astype(np.uint8)  # cut, as openpi does
  if found.dtype != np.uint8:
    raise ValueError(f'{key}: found an image of {found.dtype}, expected uint8 or reals to 1.')
  return np.array(found, order='C')


def _flat(observation: Mapping[str, Any], path: str = '') -> list[tuple[str, Any]]:
  """Keys with slashes between, and values, without the options."""
  found = []
  for key, value in observation.items():
    name = f'{path}{key}'
    if isinstance(value, Mapping):
      found += [] if name == 'aloe' else _flat(value, f'{name}/')
    else:
      found.append((name, value))
  return found


def _is_picture(value: Any) -> bool:
  return (
    isinstance(value, np.ndarray) and value.ndim == 3 and 3 in (value.shape[0], value.shape[-1])
  )


def _is_state(value: Any) -> bool:
  if isinstance(value, (str, bytes, bool)) or value is None:
    return False
  found = np.asarray(value)
  return found.ndim <= 1 and found.size > 0 and found.dtype.kind in 'iuf'
