"""Which feature of a LeRobot dataset is which camera."""

from collections.abc import Mapping
import pathlib
import re
from typing import Any

from aloe_jax import types
from aloe_jax.data import cameras

_OPTION = '--camera {camera}={name}'
_FLAG = 'is_depth_map'
_PIXELS = 'pix_fmt'
_DEEP = re.compile(r'(9|10|12|14|16)(le|be)?$')  # bits of a channel, at the end of a pixel format


def assign(
  features: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, str] | None, path: pathlib.Path
) -> cameras.Assignment:
  """Finds the cameras, or takes those that were chosen and no others.

  Args:
    features: of `info.json`.
    chosen: {camera: feature}, or None.
    path: of `info.json`, for messages.

  Raises:
    ValueError: if a feature that was chosen is missing or has more than 8 bits, if there are images
      and none has a name in use, or if two are as good as each other.
  """
  pictures = {
    name: _problem(feature)
    for name, feature in sorted(features.items())
    if feature['dtype'] in ('image', 'video')
  }
  for name in (chosen or {}).values():
    if name not in pictures:
      raise ValueError(
        f'{path}: features: {name}: found no such images, expected one of '
        f'{", ".join(pictures) or "none: the dataset has no images"}.'
      )
    if bits := _bits(features[name]):
      raise ValueError(f'{path}: features: {name}: found {bits}, expected colours of 8 bits.')
  decided: dict[str, str | None] = {}
  if chosen:
    decided = dict.fromkeys(types.CAMERAS) | dict(chosen)
  found = cameras.assign(pictures, decided)
  if found.ties:
    raise ValueError(f'{path}: features: {found.problem(_OPTION, names_all=True)}')
  if pictures and not any(found.roles.values()):
    named = [f'{name} ({why})' for name, why in found.left_out.items()]
    best = [name for name, why in pictures.items() if not why and not cameras.other_kind(name)]
    remedy = 'choose one with --camera head=NAME if it is of colours all the same'
    if best:
      remedy = f'choose, such as {_OPTION.format(camera="head", name=best[0])}'
    raise ValueError(
      f'{path}: features: found the images {", ".join(named)}, expected a name in use; {remedy}.'
    )
  return found


def _problem(feature: Mapping[str, Any]) -> str:
  """What `info.json` says against a feature as a camera, or empty."""
  if bits := _bits(feature):
    return bits
  flagged = [value for key, value in _facts(feature) if key.endswith(_FLAG)]
  return 'depth, as info.json says' if any(_is_set(value) for value in flagged) else ''


def _bits(feature: Mapping[str, Any]) -> str:
  """More than 8 bits of grey or depth; colour videos of 10 bits are right."""
  depth = any(_is_set(value) for key, value in _facts(feature) if key.endswith(_FLAG))
  for key, value in _facts(feature):
    if key.endswith(_PIXELS) and isinstance(value, str) and _DEEP.search(value):
      bits = _DEEP.search(value)
      if value.startswith('gray') or depth or (bits and bits.group(1) == '16'):
        return f'pixels of more than 8 bits ({value})'
  return ''


def _is_set(value: Any) -> bool:
  return value is True or value == 1 or str(value).lower() == 'true'


def _facts(feature: Any) -> list[tuple[str, Any]]:
  """All that is said of a feature, however deep."""
  if not isinstance(feature, Mapping):
    return []
  return [found for key, value in feature.items() for found in [(str(key), value), *_facts(value)]]
