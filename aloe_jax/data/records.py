"""Every record of a split in order, read as the columns of an episode or with what is wrong."""

from collections.abc import Iterator, Sequence
import dataclasses
import itertools
import pathlib

import numpy as np

from aloe_jax.data import array_record
from aloe_jax.data import columns as columns_lib
from aloe_jax.data import last_action
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
    lost: episodes that cannot be read for it; 0 or 1 of a record.
    absent: it is a file that is not there.
  """

  path: pathlib.Path
  shard: int
  record: tfrecord.Record | None
  episode: int
  columns: columns_lib.Columns | None
  problem: str = ''
  lost: int = 0
  absent: bool = False

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


def decided(
  layout: schema.Layout, shards: Sequence[schema.Shard], paths: mapping.Resolved
) -> tuple[mapping.Resolved, str]:
  """The paths with 'keep' or 'drop' as their `last_action`, and why, for a person.

  Args:
    layout: of the dataset.
    shards: of one of its splits, whose first `last_action.EPISODES` records decide 'auto'.
    paths: of the fields to read.

  Returns:
    The paths, and one line if 'auto' leaves last actions out or finds them suspect, else the
    empty string.
  """
  if paths.last_action != 'auto':
    return paths, ''
  walks = (_WALKS[layout.container](shard.path) for shard in shards if shard.path.is_file())
  sample = itertools.islice(itertools.chain.from_iterable(walks), last_action.EPISODES)
  found = []
  for record in sample:
    if record.problem:
      continue
    try:
      found.append(columns_lib.actions(record.payload, layout.leaves, paths, ''))
    except ValueError:  # is told when the record is read
      continue
  judged = last_action.judge(found)
  if not judged.is_filler:
    told = judged.seen and (
      f'last action: kept, though it may mean nothing ({judged.seen}, and rare elsewhere); '
      '--config.data.mapping.last_action=drop leaves it out.'
    )
    return dataclasses.replace(paths, last_action='keep'), told
  told = (
    f"last action: left out ({judged.seen}, RLDS's own convention); "
    '--config.data.mapping.last_action=keep reads it.'
  )
  return dataclasses.replace(paths, last_action='drop'), told


def read(
  layout: schema.Layout, shards: Sequence[schema.Shard], paths: mapping.Resolved
) -> Iterator[Read]:
  """Reads every record once, whatever is wrong with those before it.

  Args:
    layout: of the dataset.
    shards: of one of its splits.
    paths: of the fields to read, `decided`.
  """
  episode = 0
  for number, shard in enumerate(shards):
    if not shard.path.exists():
      problem = f'{shard.path}: the shard is missing; copy it from its source.'
      lost = shard.num_records
      yield Read(shard.path, number, None, episode, None, problem, lost, absent=True)
      continue
    if not shard.path.is_file():
      problem = f'{shard.path}: found a directory, expected a file; copy it again from its source.'
      yield Read(shard.path, number, None, episode, None, problem, shard.num_records)
      continue
    found = 0
    for record in _WALKS[layout.container](shard.path):
      bare = Read(shard.path, number, record, episode, None)
      found, episode = found + 1, episode + 1
      if record.problem:
        yield dataclasses.replace(bare, problem=f'{bare.where}: {record.problem}', lost=1)
        continue
      try:
        columns = columns_lib.read(record.payload, layout.leaves, paths, bare.where)
      except ValueError as error:
        yield dataclasses.replace(bare, problem=str(error), lost=1)
      else:
        if paths.last_action == 'drop':
          columns = last_action.left_out(columns)
        yield dataclasses.replace(bare, columns=columns)
    if found != shard.num_records:
      problem = (
        f'{shard.path}: found {found} records, expected {shard.num_records} as in '
        'dataset_info.json; copy it again from its source.'
      )
      lost = max(shard.num_records - found, 0)
      yield Read(shard.path, number, None, episode, None, problem, lost)
