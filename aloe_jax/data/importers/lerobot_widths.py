"""Widths and picture sizes of LeRobot's features, so that the odd episode is known as odd."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aloe_jax.data import image_codec
from aloe_jax.data.importers import lerobot_meta
from aloe_jax.data.importers import video


class Widths:
  """The widths that `info.json` declares, as far as any rows have them.

  Args:
    meta: of the dataset.
    files: of its rows.
  """

  def __init__(self, meta: lerobot_meta.Meta, files: Sequence[pathlib.Path]):
    self._meta = meta
    self._files = files

  def check(self, name: str, width: int, where: str) -> None:
    """Raises ValueError if an episode has another width than is declared and others have.

    Args:
      name: of the feature.
      width: numbers a step of the episode.
      where: the episode, for messages.
    """
    expected = _declared(self._meta.features[name])
    if expected not in (None, width) and self._is_held(name):
      raise ValueError(
        f'{where}: {name}: found {width} numbers a step, expected {expected} as {self._meta.path} '
        'says and other episodes have; repair or remove the episode.'
      )

  def check_pictures(self, name: str, size: tuple[int, int], where: str) -> None:
    """Likewise of the height and width of pictures, which may be declared in any order."""
    shape = self._meta.features[name].get('shape', [])
    if len(shape) == 3 and list(size) not in (shape[:2], shape[1:]) and self._is_shown(name):
      raise ValueError(
        f'{where}: {name}: found pictures of {size[0]} x {size[1]}, expected {shape} as '
        f'{self._meta.path} says and other episodes have; repair or remove the episode.'
      )

  @functools.cache  # noqa: B019  # as long as the import
  def _is_shown(self, name: str) -> bool:
    """Whether any pictures have the size that is declared."""
    shape = self._meta.features[name]['shape']
    return any(list(size) in (shape[:2], shape[1:]) for size in self._sizes(name))

  def _sizes(self, name: str) -> Iterator[tuple[int, int]]:
    """Of one picture of every file."""
    for path in lerobot_meta.clips(self._meta.recordings, [name]):
      with contextlib.suppress(OSError, ValueError):  # told where its episodes are read
        yield video.size(path)
    if self._meta.features[name]['dtype'] == 'video':
      return
    for path in self._files:
      with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        batch = next(iter(lerobot_meta.batches(path, [name], rows=1)))
        yield image_codec.frame_format(batch.column(0)[0].as_py()['bytes'])[1:]

  @functools.cache  # noqa: B019  # as long as the import
  def _is_held(self, name: str) -> bool:
    """Whether any rows have the width that is declared: some writers declare anything."""
    expected = _declared(self._meta.features[name])
    for path in self._files:
      try:
        for batch in lerobot_meta.batches(path, [name]):
          if expected in _found(batch.column(0)):
            return True
      except (OSError, ValueError):
        continue  # told where its rows are read
    return False


def _declared(feature: Mapping[str, Any]) -> int | None:
  shape = feature.get('shape', [])
  return shape[0] if len(shape) == 1 else None


def _found(column: pa.Array) -> list[int | None]:
  """Distinct widths of rows."""
  if pa.types.is_fixed_size_list(column.type):
    return [column.type.list_size]
  if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
    return pc.unique(pc.list_value_length(column)).to_pylist()
  return [1]
