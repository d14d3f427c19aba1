"""A first look at plain episodes: which layout most have, and which pictures there are.

All episodes of a dataset have the same fields and sizes. The one that differs from the others is
the odd one, wherever it stands; headers and names tell it, without reading a number.
"""

import collections
from collections.abc import Collection, Mapping, Sequence
import pathlib
from typing import IO, Any
import zipfile

import numpy as np

from aloe_jax import files
from aloe_jax.data import image_codec

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')

Layout = Mapping[str, str]  # {field: its size or type, as it is shown}


def layouts(folders: Sequence[pathlib.Path], fields: Collection[str]) -> list[Layout | None]:
  """The layout of every episode, or None of one that cannot be read.

  Args:
    folders: one an episode.
    fields: arrays and pictures that are imported; others do not matter.
  """
  return [_layout(folder, fields) for folder in folders]


def common(found: Sequence[Layout | None]) -> Layout | None:
  """The layout that most episodes have, of several the one that comes first."""
  counts = collections.Counter(tuple(sorted(layout.items())) for layout in found if layout)
  return dict(counts.most_common(1)[0][0]) if counts else None


def check(folder: pathlib.Path, found: Layout | None, expected: Layout | None) -> None:
  """Raises ValueError naming the first field in which an episode differs from most others."""
  if found is None or expected is None:
    return
  for field in sorted(found.keys() | expected.keys()):
    if found.get(field) != expected.get(field):
      raise ValueError(
        f'{folder}: {field}: found {found.get(field, "nothing")}, expected '
        f'{expected.get(field, "nothing")} as in most episodes; all episodes of a dataset have the '
        'same fields and sizes.'
      )


def pictures(folder: pathlib.Path) -> set[str]:
  """Names of the pictures of an episode: folders of images, and arrays [T, H, W, 3] of uint8."""
  found = {path.name for path in folder.iterdir() if path.is_dir() and _first_image(path)}
  return found | {
    name for name, (shape, dtype) in _headers(folder).items() if _is_film(shape, dtype)
  }


def _layout(folder: pathlib.Path, fields: Collection[str]) -> Layout | None:
  try:
    layout = {
      name: f'jpeg {shape[1]} x {shape[2]}' if _is_film(shape, dtype) else str(list(shape[1:]))
      for name, (shape, dtype) in _headers(folder).items()
      if name in fields
    }
    for path in folder.iterdir():
      if path.is_dir() and path.name in fields and (first := _first_image(path)):
        kind, height, width = image_codec.frame_format(first.read_bytes())
        layout[path.name] = f'{kind} {height} x {width}'
    told = folder / 'episode.json'
    values = files.parse_json(told.read_text(encoding='utf-8')) if told.exists() else {}
    if 'fps' in values:
      layout['fps'] = 'a rate'
    for name, value in values.get('metadata', {}).items():
      layout[f'metadata {name!r}'] = f'a {type(value).__name__}'
  except (OSError, ValueError, AttributeError, TypeError):
    return None  # what is wrong is told where the episode is read
  return layout


def _is_film(shape: tuple[int, ...], dtype: np.dtype) -> bool:
  return dtype == np.uint8 and len(shape) == 4 and shape[3] == 3


def _first_image(folder: pathlib.Path) -> pathlib.Path | None:
  images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
  return min(images, default=None)


def _headers(folder: pathlib.Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """{name: shape and type} of the arrays that can be read."""
  found = {}
  for path in sorted(folder.glob('*.np[yz]')):
    try:
      if path.suffix == '.npy':
        with path.open('rb') as file:
          found[path.stem] = _header(file)
        continue
      with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
          with archive.open(name) as member:
            found[name.removesuffix('.npy')] = _header(member)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
      continue
  return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
  version = np.lib.format.read_magic(file)
  read: Any = np.lib.format.read_array_header_1_0
  if version != (1, 0):
    read = np.lib.format.read_array_header_2_0
  shape, _, dtype = read(file)
  return shape, dtype
