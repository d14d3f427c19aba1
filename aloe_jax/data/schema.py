"""What a dataset on disk holds, from its two JSON files: the fields, and the shards of a split.

TFDS keeps every field of an episode in one `tf.train.Example` under its path. A field of
`steps` is one list over all T steps, and it is stored by its kind:

    image                 one byte string a step, JPEG or PNG
    text                  one byte string a step, UTF-8
    tensor, float         float32 numbers, T times the shape; float64 was cut to float32
    tensor, int or bool   integers, T times the shape, raw pixels too
    tensor, encoded       one byte string a step, little endian, zipped if `zlib`
    label                 integers, one a step; what they stand for is in a text file beside

A list of a fixed length is one more dimension. Lists of varying length inside a step are not
read.
"""

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
from typing import Any

from aloe_jax import files

_DEFAULT_TEMPLATE = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
_CONTAINERS = ('tfrecord', 'array_record')
_BELOW = ('*', '*/*')  # where datasets are looked for below a directory that is none
_HINTS = 5


@dataclasses.dataclass(frozen=True)
class Leaf:
  """One field of the records.

  Attributes:
    kind: 'image', 'text', 'tensor', 'label', or what else TFDS calls it; 'ragged' for lists of
      varying length.
    dtype: its name, such as 'float32'; that of the decoded value.
    shape: of one step, or of the episode if it is not per step; -1 where it varies.
    encoding: 'jpeg' or 'png' of an image; 'none', 'bytes' or 'zlib' of a tensor.
    per_step: there is one value a step.
    names: what the integers of a label stand for, from 0 on; empty if that is not known.
  """

  kind: str
  dtype: str
  shape: tuple[int, ...]
  encoding: str
  per_step: bool
  names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Shard:
  """One file of a split.

  Attributes:
    path: of the file.
    num_records: it should hold.
  """

  path: pathlib.Path
  num_records: int


@dataclasses.dataclass(frozen=True)
class Layout:
  """What a dataset directory says of itself.

  Attributes:
    container: 'tfrecord' or 'array_record'.
    splits: {name: its shards, in order}.
    leaves: {path, such as 'steps/observation/image': field}.
  """

  container: str
  splits: dict[str, list[Shard]]
  leaves: dict[str, Leaf]


def read(directory: str | os.PathLike) -> Layout:
  """Reads `features.json` and `dataset_info.json`.

  Raises:
    FileNotFoundError: if there is no such directory.
    ValueError: if it holds no episodes, or in a container that cannot be read.
  """
  files.check_is_here(directory, 'the directory of a dataset')
  directory = pathlib.Path(files.expanded(directory))
  _check_is_dataset(directory)
  info = _json(directory / 'dataset_info.json')
  container = info.get('fileFormat', 'tfrecord')
  if container not in _CONTAINERS:
    raise ValueError(
      f'{directory}: found the file format {container}, expected one of {list(_CONTAINERS)}; '
      'convert it with `tfds convert_format`.'
    )
  if not info.get('splits'):
    raise ValueError(
      f'{directory}/dataset_info.json: found no splits, expected one at least; the dataset was '
      'never finished.'
    )
  with _misfit_is_named(directory / 'dataset_info.json'):
    splits = {
      split['name']: _shards(directory, info.get('name', ''), container, split)
      for split in info['splits']
    }
  tree = _json(directory / 'features.json')
  with _misfit_is_named(directory / 'features.json'):
    leaves = dict(_leaves(tree, '', False, ()))
  leaves = {path: _named(directory, path, leaf) for path, leaf in leaves.items()}
  if not any(leaf.per_step for leaf in leaves.values()):
    raise ValueError(
      f'{directory}/features.json: found no field of `steps`, expected an RLDS dataset; the '
      f'fields are {", ".join(sorted(leaves))}.'
    )
  return Layout(container, splits, leaves)


def check_is_rlds(directory: pathlib.Path) -> None:
  """Raises ValueError for a dataset of a format that is to be imported first; says how."""
  if (directory / 'meta' / 'info.json').is_file():
    name = re.sub(r'\W+', '_', directory.name.lower()).strip('_')
    raise ValueError(
      f'{directory} is a LeRobot dataset; expected an RLDS dataset. Make one of it with\n'
      f'  python -m aloe_jax.data import --from lerobot {shlex.quote(str(directory))} '
      f'--to {name}_rlds --name {name}'
    )


def _check_is_dataset(directory: pathlib.Path) -> None:
  if directory.is_file():
    raise ValueError(f'{directory} is a file, expected an RLDS dataset; pass {directory.parent}.')
  if not directory.is_dir():
    raise FileNotFoundError(f'{directory}: there is no such directory; expected an RLDS dataset.')
  check_is_rlds(directory)
  for name in ('features.json', 'dataset_info.json'):
    if not (directory / name).is_file():
      below = sorted(
        str(path.parent) for depth in _BELOW for path in directory.glob(f'{depth}/features.json')
      )
      hint = f'pass {" or ".join(below[:_HINTS])}' if below else 'pass the folder that holds both'
      raise ValueError(
        f'{directory} is not a TFDS dataset: {name} is missing beside the shards; {hint}.'
      )


def _json(path: pathlib.Path) -> dict[str, Any]:
  found = files.read_json(path, 'copy it again from its source.')
  if not isinstance(found, dict):
    raise ValueError(
      f'{path}: found a {type(found).__name__}, expected an object in braces, as TFDS writes it; '
      'copy it again from its source.'
    )
  return found


@contextlib.contextmanager
def _misfit_is_named(path: pathlib.Path) -> Iterator[None]:
  """What JSON holds may be anything; whatever does not fit is an error that names the file."""
  try:
    yield
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: found what TFDS does not write ({type(error).__name__}: {error}); copy it again '
      'from its source.'
    ) from error


def _shards(
  directory: pathlib.Path, dataset: str, container: str, split: Mapping[str, Any]
) -> list[Shard]:
  lengths = [int(length) for length in split.get('shardLengths', [])]
  template = split.get('filepathTemplate') or _DEFAULT_TEMPLATE
  of = f'{len(lengths):05d}'
  shards = []
  for number, length in enumerate(lengths):
    name = template.format(
      DATASET=dataset,
      SPLIT=split['name'],
      FILEFORMAT=container,
      SHARD_INDEX=f'{number:05d}',
      NUM_SHARDS=of,
      SHARD_X_OF_Y=f'{number:05d}-of-{of}',
    )
    shards.append(Shard(directory / name, length))
  return shards


def _leaves(
  feature: Mapping[str, Any], path: str, per_step: bool, lists: tuple[int, ...]
) -> Iterator[tuple[str, Leaf]]:
  """Yields the path and the field of every leaf below a node of `features.json`.

  Args:
    feature: the node.
    path: of the node.
    per_step: it is below `steps`.
    lists: lengths of the lists it is in, other than `steps`; -1 where one varies.
  """
  if 'featuresDict' in feature:
    for name, child in feature['featuresDict'].get('features', {}).items():
      yield from _leaves(child, f'{path}/{name}'.lstrip('/'), per_step, lists)
    return
  if 'sequence' in feature:
    of_steps = path == 'steps'
    length = int(feature['sequence'].get('length', -1))
    inner = lists if of_steps else (*lists, length)
    yield from _leaves(feature['sequence']['feature'], path, per_step or of_steps, inner)
    return
  kind = next((key for key in feature if key != 'pythonClassName'), 'unknown')
  content = feature.get(kind, {})
  kind = {'classLabel': 'label'}.get(kind, kind)
  dtype = content.get('dtype', {'text': 'string', 'label': 'int64'}.get(kind, 'unknown'))
  if kind == 'tensor' and dtype in ('string', 'object'):
    kind, dtype = 'text', 'string'
  shape = tuple(int(size) for size in content.get('shape', {}).get('dimensions', ()))
  encoding = content.get('encodingFormat', content.get('encoding', 'none')) or 'none'
  kind = 'ragged' if -1 in lists else kind
  yield path, Leaf(kind, dtype, (*lists, *shape), encoding, per_step)


def _named(directory: pathlib.Path, path: str, leaf: Leaf) -> Leaf:
  """The field with the names of its labels, if it is one of labels and they are known."""
  names = directory / f'{path.replace("/", "-")}.labels.txt'
  if leaf.kind != 'label' or not names.is_file():
    return leaf
  return dataclasses.replace(leaf, names=tuple(names.read_text(encoding='utf-8').splitlines()))
