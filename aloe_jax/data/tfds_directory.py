"""Directories of records in the TFDS format: what is on disk, whatever it means.

TensorFlow is imported only when a directory is read or written; it takes seconds to load,
and it is kept off the accelerators, which belong to JAX.
"""

from collections.abc import Iterable
import contextlib
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


@contextlib.contextmanager
def _quiet():
  """Keeps TFDS's notes on what it loads out of the log; warnings still show."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(min(verbosity, logging.WARNING))
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
