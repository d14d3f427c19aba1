"""Directories of records in the TFDS format: what is on disk, whatever it means.

TensorFlow is imported only when a directory is read or written; it takes seconds to load,
and it is kept off the accelerators, which belong to JAX.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import difflib
import itertools
import os
import pathlib
import tempfile
from typing import Any

from absl import logging

_RECORDS_PER_SHARD = 32


def load_tensorflow():
  """Imports TensorFlow and TFDS without their chatter; returns both modules."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # its notice ignores the level above
  import tensorflow as tf
  import tensorflow_datasets as tfds

  for kind in ('GPU', 'TPU'):
    if tf.config.get_visible_devices(kind):
      tf.config.set_visible_devices([], kind)
  tfds.disable_progress_bar()
  return tf, tfds


def write(
  directory: str | os.PathLike, examples: Iterable[dict[str, Any]], *, name: str, features
) -> None:
  """Writes examples, in the order given, as the split `train` of a new dataset.

  The directory appears complete or not at all: it is written under another name beside
  its place and renamed at the end.

  Args:
    directory: a path that does not exist yet.
    examples: nested dictionaries that fit the features.
    name: of the dataset, an identifier.
    features: a `tfds.features.FeaturesDict`.

  Raises:
    FileExistsError: if the directory exists.
  """
  directory = pathlib.Path(directory)
  check_is_new(directory)
  _, tfds = load_tensorflow()
  directory.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f'.{directory.name}.') as scratch:
    partial = pathlib.Path(scratch) / directory.name
    partial.mkdir()
    identity = tfds.core.DatasetIdentity(
      name=name, version='1.0.0', data_dir=str(partial), module_name='aloe_jax'
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=_RECORDS_PER_SHARD)
    writer.initialize_splits(['train'])
    for example in examples:
      writer.add_examples({'train': [example]})
    writer.close_all()
    partial.rename(directory)


def check_is_new(directory: pathlib.Path) -> None:
  """Raises FileExistsError if the directory exists."""
  if directory.exists():
    raise FileExistsError(
      f'{directory} exists already, and episodes on disk are never overwritten; '
      'choose another directory, or remove this one.'
    )


def read(
  directory: str | os.PathLike, *, split: str, required: Sequence[str]
) -> Iterator[dict[str, Any]]:
  """Yields the records of a split as nested dictionaries of numpy values, in disk order.

  Steps come as arrays over time, with their images encoded as they are stored.

  Args:
    directory: it holds `features.json` and `dataset_info.json`.
    split: name of the split.
    required: paths of fields that must exist, such as `steps/action`.

  Raises:
    FileNotFoundError: if the directory or one of its shards is missing.
    ValueError: if it is no dataset, lacks the split or a field, or a shard is corrupt.
  """
  directory = pathlib.Path(directory)
  _check_is_dataset(directory)
  tf, tfds = load_tensorflow()
  with _quiet():
    builder = tfds.builder_from_directory(directory)
    shards = _shards(builder, directory, split)
    _check_fields(builder.info.features, directory, required)
    dataset = builder.as_dataset(
      split=split,
      decoders={'steps': tfds.decode.SkipDecoding()},  # else a dataset inside every record
      read_config=tfds.ReadConfig(interleave_cycle_length=1),  # one shard after the other
    )
  count = 0
  try:
    for example in dataset.as_numpy_iterator():
      yield example
      count += 1
  except tf.errors.OpError as error:
    shard = shards[min(count, len(shards) - 1)]
    raise ValueError(
      f'{shard}: episode {count} of the split cannot be read: the file is corrupt or '
      f'incomplete ({error.message.splitlines()[0]}); copy it again from its source.'
    ) from error


def _check_is_dataset(directory: pathlib.Path) -> None:
  if not directory.is_dir():
    raise FileNotFoundError(f'{directory}: there is no such directory; expected an RLDS dataset.')
  for name in ('features.json', 'dataset_info.json'):
    if not (directory / name).is_file():
      below = sorted(str(path.parent) for path in directory.glob('**/features.json'))
      hint = f'pass {" or ".join(below)}' if below else 'pass the folder that holds both'
      raise ValueError(
        f'{directory} is not a TFDS dataset: {name} is missing beside the shards; {hint}.'
      )


def _shards(builder, directory: pathlib.Path, split: str) -> list[str]:
  """The shard of every record of the split, in order, once all of them are found."""
  splits = builder.info.splits
  if split not in splits:
    raise ValueError(f'{directory}: split {split!r}: expected one of {sorted(splits)}.')
  if builder.info.file_format.value != 'tfrecord':
    raise ValueError(
      f'{directory}: found the file format {builder.info.file_format.value}, expected tfrecord; '
      'convert it with `tfds convert_format`.'
    )
  shards = []
  for path, length in zip(splits[split].filepaths, splits[split].shard_lengths, strict=True):
    if not path.exists():
      raise FileNotFoundError(f'{path}: the shard is missing; copy the whole dataset again.')
    shards += [str(path)] * length
  return shards


def _check_fields(features, directory: pathlib.Path, required: Sequence[str]) -> None:
  fields = _leaves(features.get_tensor_info())
  for field in required:
    if field not in fields:
      word = field.rpartition('/')[-1]
      nearest = [other for other in fields if word in other]
      nearest += difflib.get_close_matches(field, fields, n=4, cutoff=0.0)
      raise ValueError(
        f'{directory}: {field} is missing; the nearest fields are '
        f'{", ".join(list(dict.fromkeys(nearest))[:4])}.'
      )


def _leaves(tree, prefix: str = '') -> list[str]:
  """Paths of the leaves of nested dictionaries."""
  if not isinstance(tree, Mapping):
    return [prefix]
  leaves = [_leaves(child, f'{prefix}/{key}'.lstrip('/')) for key, child in tree.items()]
  return list(itertools.chain.from_iterable(leaves))


@contextlib.contextmanager
def _quiet():
  """Keeps TFDS's notes on what it loads out of the log; warnings still show."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(min(verbosity, logging.WARNING))
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
