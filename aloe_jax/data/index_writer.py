"""Writes the index of a split: small columns are copied, encoded images stay where they are.

A directory holds, with N steps in E episodes:

    state.npy [N, n], action.npy [N, A], reward.npy [N], features.npy [N, V, F]    float32
    source.npy, end_reason.npy [N]                   int8
    prompt.npy [N]                                   int32, a row of `prompts`
    boundaries.npy [E + 1]                           int64, the first row of every episode
    image_<camera>.npy [N]                           `IMAGE`: where the image lies
    images.bin                                       images that have no place of their own
    episodes.jsonl                                   file, record and metadata of every episode
    index.json                                       prompts, files, cameras, skipped records,
                                                     sizes of the files above in bytes, why last
                                                     actions are left out or suspect, by which
                                                     rule, and a digest of all
                                                     that was read

Memory does not grow with the dataset, only with its longest episode.
"""

from collections.abc import Callable
import contextlib
import hashlib
import json
import os
import pathlib
from typing import IO, Any

import numpy as np

from aloe_jax.data import absent
from aloe_jax.data import columns
from aloe_jax.data import growing_array
from aloe_jax.data import last_action
from aloe_jax.data import mapping
from aloe_jax.data import record_fields
from aloe_jax.data import records
from aloe_jax.data import schema
from aloe_jax.data import tfrecord

IMAGE = np.dtype([('file', '<i2'), ('offset', '<i8'), ('length', '<i4')])
OWN_FILE = -1  # `file` of images in images.bin; the others count the shards


def write(
  directory: pathlib.Path,
  shards: list[schema.Shard],
  layout: schema.Layout,
  paths: mapping.Resolved,
  *,
  on_error: str,
  told: str | None,
  progress: Callable[[int], None],
) -> None:
  """Reads every record of the shards once and writes the files of an index.

  Args:
    directory: empty.
    shards: of the split, in order.
    layout: of the dataset.
    paths: of the fields to read.
    on_error: 'raise', or 'skip' to leave bad episodes out and list them.
    told: of the last actions, see `records.decided`; None where the mapping says what they are.
    progress: called with the steps done.

  Raises:
    ValueError: naming the file, the record and what is wrong with it.
  """
  writer = _Writer(directory, layout, paths)
  missing = absent.told(shards)
  skipped, lost = [missing] if missing else [], 0
  try:
    for read in records.read(layout, shards, paths):
      if read.problem and on_error == 'raise':
        raise ValueError(f'{read.problem} on_error=skip leaves out what is wrong.')
      lost += read.lost
      if read.problem and not read.absent:
        skipped.append(read.problem)
      if read.columns is not None and read.record is not None:
        writer.append(read.columns, read.shard, read.record, read.path.name)
        progress(writer.rows)
    if not writer.rows:
      raise ValueError('\n'.join([f'{shards[0].path.parent}: there is no episode.', *skipped[:5]]))
    writer.close()
    writer.finish([shard.path.name for shard in shards], skipped, lost, told)
  finally:
    writer.close()


class _Writer:
  """The open files of an index."""

  def __init__(self, directory: pathlib.Path, layout: schema.Layout, paths: mapping.Resolved):
    self.rows = 0
    self._directory = directory
    self._prompts: dict[str, int] = {}
    self._in_place = layout.container == 'tfrecord'
    self._cameras = {  # camera: [H, W, 3] where pixels are stored, None where images are encoded
      camera: layout.leaves[path].shape if layout.leaves[path].kind == 'tensor' else None
      for camera, path in paths.images.items()
      if path
    }
    rows: dict[str, tuple[tuple[int, ...], Any]] = {
      'state': ((mapping.width(layout.leaves, paths.state),), np.float32),
      'action': ((mapping.width(layout.leaves, paths.action),), np.float32),
      'source': ((), np.int8),
      'end_reason': ((), np.int8),
      'prompt': ((), np.int32),
      'boundaries': ((), np.int64),
    }
    if paths.reward:
      rows['reward'] = ((), np.float32)
    if paths.features:
      rows['features'] = (layout.leaves[paths.features].shape, np.float32)
    for camera in self._cameras:
      rows[f'image_{camera}'] = ((), IMAGE)
    self._arrays = {
      name: growing_array.GrowingArray(directory / f'{name}.npy', shape, dtype)
      for name, (shape, dtype) in rows.items()
    }
    self._content = hashlib.sha256(json.dumps(paths.kept()).encode())
    self._images = (directory / 'images.bin').open('wb')
    self._episodes = (directory / 'episodes.jsonl').open('w', encoding='utf-8')
    self._arrays['boundaries'].append(np.zeros(1, np.int64))

  def append(self, read: columns.Columns, number: int, record: tfrecord.Record, file: str) -> None:
    """Adds an episode from a record of the shard with this number and file name."""
    for name in ('state', 'action', 'source', 'end_reason', 'reward', 'features'):
      if name in self._arrays:
        self._arrays[name].append(getattr(read, name))
    prompt = [self._prompts.setdefault(text, len(self._prompts)) for text in read.prompt]
    self._arrays['prompt'].append(np.array(prompt, np.int32))
    for camera, images in read.images.items():
      self._arrays[f'image_{camera}'].append(self._place(images, number, record))
    self._content.update(tfrecord.masked_checksum(record.payload).to_bytes(4, 'little'))
    self.rows += len(read)
    self._arrays['boundaries'].append(np.array([self.rows]))
    entry = {'file': file, 'record': record.number, 'metadata': read.metadata}
    self._episodes.write(json.dumps(entry, ensure_ascii=False) + '\n')

  def finish(self, files: list[str], skipped: list[str], lost: int, told: str | None) -> None:
    """Writes what ties the files together, once they are closed."""
    index = {
      'prompts': list(self._prompts),
      'files': files,
      'cameras': self._cameras,
      'skipped': skipped,
      'lost': lost,
      'last_action': told,
      'rule': last_action.RULE,
      'sizes': {path.name: path.stat().st_size for path in sorted(self._directory.iterdir())},
      'content': self._content.hexdigest()[:16],
    }
    with (self._directory / 'index.json').open('w', encoding='utf-8') as file:
      json.dump(index, file, ensure_ascii=False, indent=1)
      file.flush()
      os.fsync(file.fileno())

  def close(self) -> None:
    """Waits until everything is on the disk."""
    if self._images.closed:
      return
    with contextlib.ExitStack() as stack:  # all of them, even if the disk is full
      for array in self._arrays.values():
        stack.callback(array.close)
      for file in (self._images, self._episodes):
        stack.enter_context(file)
        stack.callback(_sync, file)

  def _place(
    self, images: record_fields.Spans | np.ndarray, number: int, record: tfrecord.Record
  ) -> np.ndarray:
    """[T] of `IMAGE`, once those without a place of their own have one."""
    places = np.zeros(len(images), IMAGE)
    if isinstance(images, np.ndarray):
      places['file'] = OWN_FILE
      places['length'] = images[0].size
      places['offset'] = self._images.tell() + np.arange(len(images)) * images[0].size
      self._images.write(np.ascontiguousarray(images).data)
      return places
    spans = np.array(images, np.int64)
    places['length'] = spans[:, 1]
    if self._in_place:
      places['file'] = number
      places['offset'] = record.offset + spans[:, 0]
      return places
    places['file'] = OWN_FILE
    places['offset'] = self._images.tell() + np.cumsum(spans[:, 1]) - spans[:, 1]
    for offset, length in images:
      self._images.write(record.payload[offset : offset + length])
    return places


def _sync(file: IO[Any]) -> None:
  file.flush()
  os.fsync(file.fileno())
