"""A split of an RLDS dataset opened for random access, however large it is.

Opening it for the first time reads every record once, checks it, and writes an index beside
the dataset, hidden by a dot so that `round_*` names datasets only (`index_writer` says what is
in it). From then on any step is read in the same
time, in little private memory, from the original files: episodes are neither copied nor kept.

The index belongs to these files, this mapping and this version of the format: when one of
them changes another index is built. It appears whole or not at all.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import pathlib
import tempfile
from typing import Any

from absl import logging
import numpy as np

from aloe_jax import disk
from aloe_jax import files
from aloe_jax.data import absent
from aloe_jax.data import action_kinds
from aloe_jax.data import bucket
from aloe_jax.data import holds
from aloe_jax.data import index_writer
from aloe_jax.data import last_action
from aloe_jax.data import mapping as mappings
from aloe_jax.data import rates
from aloe_jax.data import records
from aloe_jax.data import schema

_VERSION = 5
_OPEN_FILES = 128  # at a time


@dataclasses.dataclass(frozen=True)
class Episode:
  """Where an episode lies.

  Attributes:
    start: its first row.
    stop: the row after its last one.
    file: name of its shard.
    record: number in the shard.
    metadata: {name: bool, int, float or str}.
  """

  start: int
  stop: int
  file: str
  record: int
  metadata: dict[str, bool | int | float | str]


class Index:
  """Columns over the N steps of a split, mapped from the disk, and images by camera and row.

  Attributes:
    dataset: directory of the shards.
    state: [N, n] float32.
    action: [N, A] float32.
    source: [N] int8, `types.Source`.
    end_reason: [N] int8, `types.EndReason`.
    prompt: [N] int32, positions in `prompts`.
    reward: [N] float32, or None unless the mapping trusts one.
    features: [N, V, F] float32, or None.
    boundaries: [E + 1] int64; episode e has the rows from `boundaries[e]` to the next.
    prompts: the texts.
    cameras: that the mapping found; the others are missing at every step.
    skipped: one message for each record left out, and one for all shards that are not there.
    lost: episodes that are left out.
    last_action: why last actions are left out or suspect if nobody has said what they are, else
      the empty string.
    is_judged: last actions were looked at when it was built, as they are now.
    content: a digest of what was read from the records; a copy of the dataset has the same.
  """

  def __init__(self, directory: pathlib.Path, dataset: pathlib.Path):
    """Opens a finished index.

    Args:
      directory: of the index.
      dataset: directory of the shards.

    Raises:
      OSError: a file of it is missing.
      EOFError: one is empty.
      ValueError: one is not what was written.
    """
    index = files.parse_json((directory / 'index.json').read_text(encoding='utf-8'))
    _check_sizes(directory, index.get('sizes', {}))  # older indices tell none
    self._directory = directory
    self.dataset = dataset
    self._paths = [dataset / name for name in index['files']]
    self._shapes = index['cameras']
    self._places = {camera: self._array(f'image_{camera}') for camera in self._shapes}
    self.state = self._array('state')
    self.action = self._array('action')
    self.source = self._array('source')
    self.end_reason = self._array('end_reason')
    self.prompt = self._array('prompt')
    self.reward = self._array('reward') if (directory / 'reward.npy').exists() else None
    self.features = self._array('features') if (directory / 'features.npy').exists() else None
    self.boundaries = self._array('boundaries')
    self.prompts: list[str] = index['prompts']
    self.cameras: tuple[str, ...] = tuple(self._shapes)
    self.skipped: list[str] = index['skipped']
    self.lost: int = index.get('lost', len(self.skipped))
    self.last_action: str = index.get('last_action') or ''
    self.is_judged: bool = (
      index.get('last_action') is not None and index.get('rule') == last_action.RULE
    )
    self.content: str = index['content']
    self._file = functools.lru_cache(_OPEN_FILES)(self._opened)

  def __len__(self) -> int:
    return len(self.action)

  @property
  def remarks(self) -> list[str]:
    """What a person should know of what was not read as it is recorded, a line each."""
    lines = [f'{self.dataset}: {self.last_action}'] if self.last_action else []
    lines += [f'Skipped: {problem}' for problem in self.skipped]
    if self.skipped:
      lines.append(f'{self.dataset}: {self.lost} episodes were skipped.')
    return lines

  def image(self, camera: str, row: int) -> bytes | np.ndarray | None:
    """An encoded image, or uint8 [H, W, 3] where pixels are stored, or None if it is missing.

    Raises:
      OSError: if the file has changed since it was indexed.
    """
    (read,) = self.images(camera, np.array([row]))
    return None if read is None else read()

  def images(self, camera: str, rows: np.ndarray) -> list[Callable[[], bytes | np.ndarray] | None]:
    """What reads the image of each row [B]: any number of threads may call; see `image`."""
    if camera not in self._places:
      return [None] * len(rows)
    shape = self._shapes[camera]
    return [
      functools.partial(self._read, file, offset, length, shape) if length else None
      for file, offset, length in self._places[camera][rows].tolist()
    ]

  @functools.cached_property
  def rates(self) -> tuple[float, ...]:
    """Distinct steps per second that its episodes tell of, ascending; () where none does."""
    return rates.distinct(episode.metadata for episode in self.episodes())

  @functools.cached_property
  def no_rates(self) -> tuple[str, ...]:
    """What its episodes tell instead of a rate, such as 'fps = 0'."""
    told = (rates.unusable(episode.metadata) for episode in self.episodes())
    return tuple(dict.fromkeys(filter(None, told)))

  @functools.cached_property
  def action_kinds(self) -> tuple[str, ...]:
    """Position, velocity, or both, as its episodes tell; () where none does."""
    return action_kinds.distinct(episode.metadata for episode in self.episodes())

  @functools.cached_property
  def held(self) -> np.ndarray:
    """[N] bool, the steps at which the robot held; see `holds`."""
    found = [holds.read(e.metadata, e.stop - e.start) for e in self.episodes()]
    return np.concatenate(found) if found else np.zeros(0, bool)

  def episodes(self) -> Iterator[Episode]:
    """Yields the episodes in the order of their rows."""
    with (self._directory / 'episodes.jsonl').open(encoding='utf-8') as lines:
      for number, line in enumerate(lines):
        start, stop = self.boundaries[number : number + 2].tolist()
        try:
          yield Episode(start, stop, **json.loads(line))
        except ValueError as error:  # of an older index, which does not tell its sizes
          raise ValueError(
            f'{self._directory} is damaged; remove it, and it is built anew.'
          ) from error

  def _array(self, name: str) -> np.ndarray:
    return np.load(self._directory / f'{name}.npy', mmap_mode='r').view(np.ndarray)

  def _read(
    self, file: int, offset: int, length: int, shape: list[int] | None
  ) -> bytes | np.ndarray:
    data = self._file(file).read(offset, length)
    return data if shape is None else np.frombuffer(data, np.uint8).reshape(shape)

  def _opened(self, file: int) -> '_File':
    own = file == index_writer.OWN_FILE
    return _File(self._directory / 'images.bin' if own else self._paths[file])


def load(
  directory: str | os.PathLike,
  mapping: Mapping[str, Any],
  *,
  split: str = 'train',
  cache: str | os.PathLike | None = None,
  on_error: str = 'raise',
  progress: Callable[[int], None] = lambda steps: None,
) -> Index:
  """Opens a split, after indexing it if that has not been done.

  Args:
    directory: of one dataset: it holds `features.json` and `dataset_info.json`; or the address
      of one in a bucket, which is copied to `cache` first, see `bucket`.
    mapping: which fields feed which key; see `mapping`. `{}` leaves all to the names in use.
    split: its name.
    cache: the directory that holds indices; by default the one the dataset lies in.
    on_error: 'raise' on an episode that is corrupt or not finite and on a shard that is not there,
      or 'skip' it and list it.
    progress: called with the steps indexed so far.

  Raises:
    FileNotFoundError: if the directory or one of its shards is missing, or with 'skip' all.
    ValueError: naming the file, record, episode, step and field that is wrong.
  """
  if on_error not in ('raise', 'skip'):
    raise ValueError(f'on_error: found {on_error!r}, expected raise or skip.')
  directory = pathlib.Path(os.path.abspath(bucket.local(directory, cache)))
  layout = schema.read(directory)
  if split not in layout.splits:
    raise ValueError(f'{directory}: split {split!r}: expected one of {sorted(layout.splits)}.')
  try:
    paths = mappings.resolve(layout.leaves, mapping)
  except ValueError as error:
    raise ValueError(f'{directory}: {error}') from error
  shards = layout.splits[split]
  if not shards:
    raise ValueError(
      f'{directory}/dataset_info.json: found no shardLengths of the split {split!r}, expected the '
      'number of records in every shard; the split is empty, or was written by a TFDS too old.'
    )
  absent.check(shards, skip=on_error == 'skip')
  parent = directory.parent if cache is None else pathlib.Path(files.expanded(cache)).absolute()

  def place(paths: mappings.Resolved) -> pathlib.Path:
    return parent / f'.{directory.name}.index-{_key(directory, layout, split, paths, on_error)}'

  told = None
  if paths.last_action == 'auto':
    for choice in ('keep', 'drop'):  # of an index that knows, no record has to be read
      found = _whole(place(dataclasses.replace(paths, last_action=choice)), directory)
      if found is not None and found.is_judged:
        return found
    paths, told = records.decided(layout, shards, paths)
  target = place(paths)
  found = _whole(target, directory)
  if found is None:
    if target.exists():
      logging.warning('%s, the index of %s, is damaged and is built anew.', target, directory)
    with _scratch(parent, target.name) as partial, disk.writing('the index of a dataset', target):
      index_writer.write(
        partial, shards, layout, paths, on_error=on_error, told=told, progress=progress
      )
      _publish(partial, target, directory)
    found = Index(target, directory)
  found.last_action = told or ''
  return found


def _key(
  directory: pathlib.Path,
  layout: schema.Layout,
  split: str,
  paths: mappings.Resolved,
  on_error: str,
) -> str:
  """Changes with everything that the index depends on."""
  files: list[list[Any]] = []
  for shard in layout.splits[split]:
    if not shard.path.exists():
      files.append([shard.path.name, shard.num_records, None, None])
      continue
    status = shard.path.stat()
    files.append([shard.path.name, shard.num_records, status.st_size, status.st_mtime_ns])
  labels = {path: leaf.names for path, leaf in layout.leaves.items() if leaf.names}
  parts = [_VERSION, split, on_error, files, paths.kept(), paths.named, labels]
  digest = hashlib.sha256(json.dumps(parts).encode())
  digest.update((directory / 'features.json').read_bytes())
  return digest.hexdigest()[:16]


@contextlib.contextmanager
def _scratch(parent: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
  """An empty directory that is removed in the end, unless it has been renamed."""
  try:
    parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.TemporaryDirectory(dir=parent, prefix=f'{name}.')
  except OSError as error:
    raise OSError(
      f'{parent}: the index of the dataset cannot be written here ({error.strerror}); choose '
      'a cache directory that can be written.'
    ) from error
  with scratch:
    partial = pathlib.Path(scratch.name) / name
    partial.mkdir()  # with the permissions that others expect, unlike the one around it
    yield partial


def _publish(partial: pathlib.Path, target: pathlib.Path, dataset: pathlib.Path) -> None:
  """Gives a finished index its name; that of another process that was faster is as good."""
  _sync(partial)
  if target.exists() and _whole(target, dataset) is None:
    with contextlib.suppress(FileNotFoundError):  # another process did so
      target.rename(partial.with_name('damaged'))
  try:
    partial.rename(target)
  except OSError as error:
    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or _whole(target, dataset) is None:
      raise
  _sync(target.parent)


def _whole(target: pathlib.Path, dataset: pathlib.Path) -> Index | None:
  """A finished index; None where there is none, or no more than a part of it."""
  try:
    return Index(target, dataset)
  except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
    return None


def _check_sizes(directory: pathlib.Path, sizes: Mapping[str, int]) -> None:
  """Raises what `Index` does unless the files are as long as they were written."""
  for name, expected in sizes.items():
    if (found := (directory / name).stat().st_size) != expected:
      raise ValueError(f'{directory / name}: found {found} bytes, expected {expected}.')


def _sync(directory: pathlib.Path) -> None:
  descriptor = os.open(directory, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


class _File:
  """An open file, closed when the last thread has let go of it."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    self._descriptor = os.open(path, os.O_RDONLY)

  def __del__(self) -> None:
    if hasattr(self, '_descriptor'):
      os.close(self._descriptor)

  def read(self, offset: int, length: int) -> bytes:
    data = os.pread(self._descriptor, length, offset)
    if len(data) != length:
      raise OSError(
        f'{self._path}: found {len(data)} bytes from byte {offset}, expected {length}: the file '
        'has changed since it was indexed.'
      )
    return data
