"""Datasets as other laboratories write them: any features, in any container, by TFDS itself."""

import io
import os
import pathlib

import numpy as np
from PIL import Image

from aloe_jax.data import image_codec

LENGTHS = (4, 1, 3)


def load_tensorflow():
  """Imports TensorFlow and TFDS without their chatter; returns both modules."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # its notice ignores the level above
  import tensorflow as tf
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  return tf, tfds


def tfds_features():
  return load_tensorflow()[1].features


def write(directory, steps, episodes, *, episode=None, container='tfrecord', per_shard=2):
  """Writes a split `train`.

  Args:
    directory: a path that does not exist yet.
    steps: {name: feature} of the steps, nested.
    episodes: as TFDS takes them: {'steps': list of nested dictionaries, ...}.
    episode: {name: feature} beside the steps.
    container: 'tfrecord' or 'array_record'.
    per_shard: records.
  """
  _, tfds = load_tensorflow()
  pathlib.Path(directory).mkdir(parents=True)
  features = {'steps': tfds.features.Dataset(steps), **(episode or {})}
  identity = tfds.core.DatasetIdentity(
    name='foreign', version='1.0.0', data_dir=str(directory), module_name='elsewhere'
  )
  info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(features))
  writer = tfds.core.SequentialWriter(info, max_examples_per_shard=per_shard, file_format=container)
  writer.initialize_splits(['train'])
  for example in episodes:
    writer.add_examples({'train': [example]})
  writer.close_all()


def numbers(episode, length, width, offset=0):
  """[T, width] whose value tells episode, step and column: e + t / 8 + column / 64 + offset."""
  step, column = np.arange(length)[:, None], np.arange(width)
  return (episode + step / 8 + column / 64 + offset).astype(np.float32)


def pixels(episode, step):
  """uint8 [2, 3, 3] that tells its episode and step."""
  return np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * (step + 1) + 100 * episode % 256


def png(array):
  stream = io.BytesIO()
  Image.fromarray(array).save(stream, 'PNG')
  return stream.getvalue()


def simple(directory, step=None, values=None, *, episode=None, metadata=None, **options):
  """Episodes of LENGTHS with `observation/state` [3] and `action` [2], and whatever is added.

  Args:
    directory: a path that does not exist yet.
    step: {name: feature} of the steps; 'observation' and 'action' replace those above.
    values: (episode, step) -> {name: value} for these features.
    episode: {name: feature} beside the steps.
    metadata: episode -> {name: value} for these features.
    **options: of `write`.
  """
  features = tfds_features()
  steps = {
    'observation': {'state': features.Tensor(shape=(3,), dtype=np.float32)},
    'action': features.Tensor(shape=(2,), dtype=np.float32),
  } | (step or {})

  def default(e, t, length):
    found = {
      'observation': {'state': numbers(e, length, 3)[t]},
      'action': numbers(e, length, 2, offset=100)[t],
    }
    return found | (values(e, t) if values else {})

  write(
    directory,
    steps,
    [
      {'steps': [default(e, t, length) for t in range(length)], **(metadata(e) if metadata else {})}
      for e, length in enumerate(LENGTHS)
    ],
    episode=episode,
    **options,
  )


def with_cameras(directory):
  """Three episodes of four, one and three steps, two of them in the first of two shards."""
  image = tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  state = tfds_features().Tensor(shape=(3,), dtype=np.float32)
  simple(
    directory,
    {'observation': {'state': state, 'image': image}},
    lambda e, t: {
      'observation': {'state': numbers(e, LENGTHS[e], 3)[t], 'image': pixels(e, t)},
    },
  )


def shard(directory, number=0):
  """The path of a file of records, by its number."""
  return sorted(directory.glob('*tfrecord*'))[number]


def indices(directory):
  """The names of the indices beside a dataset."""
  return sorted(path.name for path in directory.parent.iterdir() if '.index-' in path.name)


def assert_numbers(found, episodes=(0, 1, 2)):
  """The columns hold the episodes above that have these numbers."""
  lengths = [LENGTHS[e] for e in episodes]
  assert found.boundaries.tolist() == np.cumsum([0, *lengths]).tolist()
  for e, start, length in zip(episodes, found.boundaries, lengths, strict=False):
    rows = slice(start, start + length)
    np.testing.assert_array_equal(found.state[rows], numbers(e, length, 3))
    np.testing.assert_array_equal(found.action[rows], numbers(e, length, 2, offset=100))


def assert_pixels(found, camera='head', episodes=(0, 1, 2)):
  """The camera's images are those of these episodes."""
  rows = iter(range(len(found)))
  for e in episodes:
    for t in range(LENGTHS[e]):
      image = found.image(camera, next(rows))
      decoded = image if isinstance(image, np.ndarray) else image_codec.decode(image)
      np.testing.assert_array_equal(decoded, pixels(e, t))
