"""Directories of records in the TFDS format: what is on disk, whatever it means.

TensorFlow Datasets opens what is written here, with `tfds.builder_from_directory`, but nothing of
it or of TensorFlow is needed to write: the format is TFRecord files of `tf.train.Example`s, and
two files of JSON that say what is in them. `schema` reads those files back.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import json
import os
import pathlib
import tempfile
from typing import IO, Any

import numpy as np

from aloe_jax import disk
from aloe_jax.data import example_proto
from aloe_jax.data import schema
from aloe_jax.data import tfrecord

_RECORDS_PER_SHARD = 32
_TEMPLATE = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}'
_CLASSES = {  # kind of a field: the class that TFDS reads it with
  'image': 'image_feature.Image',
  'tensor': 'tensor_feature.Tensor',
  'text': 'text_feature.Text',
}


@contextlib.contextmanager
def _parents(directory: pathlib.Path) -> Iterator[None]:
  """The directories above one that is to be; those that were made go again if it fails."""
  made = [parent for parent in directory.parents if not parent.exists()]
  directory.parent.mkdir(parents=True, exist_ok=True)
  try:
    yield
  except BaseException:
    for parent in made:
      with contextlib.suppress(OSError):  # another process has put something there
        parent.rmdir()
    raise


def write(
  directory: str | os.PathLike,
  examples: Iterable[Mapping[str, np.ndarray | Sequence[bytes]]],
  *,
  name: str,
  fields: Mapping[str, schema.Leaf],
) -> None:
  """Writes examples, in the order given, as the split `train` of a new dataset.

  The directory appears complete or not at all: it is written under another name beside
  its place and renamed at the end.

  Args:
    directory: a path that does not exist yet.
    examples: {path of a field: its values}: bytes of images and texts, or an array; those of a
      field of `steps` are of all steps, one after another.
    name: of the dataset, an identifier.
    fields: {path: what is stored there}; images, texts, and tensors that are not encoded.

  Raises:
    FileExistsError: if the directory exists.
    disk.FullError: if there is no room; nothing is left of it.
  """
  directory = pathlib.Path(directory)
  check_is_new(directory)
  with (
    _parents(directory),
    tempfile.TemporaryDirectory(dir=directory.parent, prefix=f'.{directory.name}.') as scratch,
    disk.writing('the episodes', directory),
  ):
    partial = pathlib.Path(scratch) / directory.name
    partial.mkdir()
    shard_lengths, num_bytes = _write_records(partial, examples, name, sorted(fields))
    split = {
      'filepathTemplate': _TEMPLATE,
      'name': 'train',
      'numBytes': str(num_bytes),
      'shardLengths': [str(length) for length in shard_lengths],
    }
    info = {
      'fileFormat': 'tfrecord',
      'moduleName': 'aloe_jax',
      'name': name,
      'splits': [split],
      'version': '1.0.0',
    }
    _write_json(partial / 'dataset_info.json', info, indent=2)
    _write_json(partial / 'features.json', _features(fields), indent=4)
    check_is_new(directory)  # another process may have been faster
    partial.rename(directory)


def check_is_new(directory: pathlib.Path) -> None:
  """Raises FileExistsError if the directory exists."""
  if directory.exists():
    raise FileExistsError(
      f'{directory} exists already, and episodes on disk are never overwritten; '
      'choose another directory, or remove this one.'
    )


def _write_records(
  directory: pathlib.Path,
  examples: Iterable[Mapping[str, np.ndarray | Sequence[bytes]]],
  name: str,
  paths: Sequence[str],
) -> tuple[list[int], int]:
  """Writes the shards; returns how many records each holds, and the bytes of all."""
  shard_lengths: list[int] = []
  num_bytes = 0
  with contextlib.ExitStack() as stack:
    for example in examples:
      if not shard_lengths or shard_lengths[-1] == _RECORDS_PER_SHARD:
        stack.close()
        shard = f'{name}-train.tfrecord-{len(shard_lengths):05d}'
        file: IO[bytes] = stack.enter_context((directory / shard).open('wb'))
        shard_lengths.append(0)
      payload = example_proto.serialise({path: example[path] for path in paths})
      del example
      file.writelines(tfrecord.parts(payload))
      shard_lengths[-1] += 1
      num_bytes += len(payload)
      del payload  # before the next is made, so that one episode is in memory at a time
  return shard_lengths, num_bytes


def _features(fields: Mapping[str, schema.Leaf]) -> dict[str, Any]:
  """What `features.json` says of the fields."""
  tree: dict[str, Any] = {}
  for path, leaf in fields.items():
    *parents, name = path.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[name] = leaf
  features = _node(tree)
  below = features['featuresDict']['features']
  if 'steps' in below:
    sequence = {'feature': below['steps'], 'length': '-1'}
    below['steps'] = _class('dataset_feature.Dataset') | {'sequence': sequence}
  return features


def _node(field: schema.Leaf | dict[str, Any]) -> dict[str, Any]:
  """What it says of a field, or of all that is below a name."""
  if isinstance(field, dict):
    features = {name: _node(child) for name, child in field.items()}
    return _class('features_dict.FeaturesDict') | {'featuresDict': {'features': features}}
  shape = {'dimensions': [str(size) for size in field.shape]} if field.shape else {}
  stored: dict[str, Any] = {}
  if field.kind != 'text':
    encoding = 'encodingFormat' if field.kind == 'image' else 'encoding'
    stored = {'dtype': field.dtype, 'shape': shape, encoding: field.encoding}
  return _class(_CLASSES[field.kind]) | {field.kind: stored}


def _class(name: str) -> dict[str, str]:
  return {'pythonClassName': f'tensorflow_datasets.core.features.{name}'}


def _write_json(path: pathlib.Path, content: dict[str, Any], indent: int) -> None:
  path.write_text(json.dumps(content, indent=indent, sort_keys=True), encoding='utf-8')
