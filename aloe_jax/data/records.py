"""Every record of a split in order, read as the columns of an episode or with what is wrong."""

from collections.abc import Iterator, Sequence
import dataclasses
import pathlib

import numpy as np

from aloe_jax.data import array_record
from aloe_jax.data import columns as columns_lib
from aloe_jax.data import mapping
from aloe_jax.data import schema
from aloe_jax.data import tfrecord

_WALKS = {'tfrecord': tfrecord.walk, 'array_record': array_record.walk}


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
  """A record, or a whole file if `record` is None.

  Attributes:
    path: of the file.
    shard: its number in the split.
    record: as it lies in the file.
    episode: number of records before it in the split.
    columns: of the episode, or None where something is wrong with it.
    problem: what is wrong, naming the file, the record and the episode, or the empty string.
  """

  path: pathlib.Path
  shard: int
  record: tfrecord.Record | None
  episode: int
  columns: columns_lib.Columns | None
  problem: str = ''

  @property
  def where(self) -> str:
    """The record, for messages."""
    number = '' if self.record is None else f', record {self.record.number}'
    return f'{self.path}{number}, episode {self.episode}'

  def frame(self, camera: str, step: int) -> bytes | np.ndarray | None:
    """An encoded image, or uint8 [H, W, 3] where pixels are stored, or None if it is missing."""
    assert self.columns is not None
    assert self.record is not None
    images = self.columns.images.get(camera)
    if images is None or isinstance(images, np.ndarray):
      return images if images is None else images[step]
    offset, length = images[step]
    return bytes(self.record.payload[offset : offset + length]) or None


def read(
  layout: schema.Layout, shards: Sequence[schema.Shard], paths: mapping.Resolved
) -> Iterator[Read]:
  """Reads every record once, whatever is wrong with those before it.

  Args:
    layout: of the dataset.
    shards: of one of its splits.
    paths: of the fields to read.
  """
  episode = 0
  for number, shard in enumerate(shards):
    if not shard.path.exists():
      problem = f'{shard.path}: the shard is missing; copy the whole dataset again.'
      yield Read(shard.path, number, None, episode, None, problem)
      continue
    found = 0
    for record in _WALKS[layout.container](shard.path):
      bare = Read(shard.path, number, record, episode, None)
      found, episode = found + 1, episode + 1
      if record.problem:
        yield dataclasses.replace(bare, problem=f'{bare.where}: {record.problem}')
        continue
      try:
        columns = columns_lib.read(record.payload, layout.leaves, paths, bare.where)
      except ValueError as error:
        yield dataclasses.replace(bare, problem=str(error))
      else:
        yield dataclasses.replace(bare, columns=columns)
    if found != shard.num_records:
      problem = (
        f'{shard.path}: found {found} records, expected {shard.num_records} as in '
        'dataset_info.json; copy it again from its source.'
      )
      yield Read(shard.path, number, None, episode, None, problem)
