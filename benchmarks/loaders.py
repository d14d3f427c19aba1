"""Ways to read samples of episodes: ours, and those to compare it with.

A sample of the critic is s_t, the chunk of `HORIZON` actions, and the state after it: six JPEGs.
One of the actor has no state after it. Every loader is an endless iterator over batches that
begin with the files as they lie on disk; see `episodes`.
"""

from collections.abc import Callable, Iterator
import functools
import io
import itertools
import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from PIL import Image
import simplejpeg

from aloe_jax import types
from aloe_jax.data import index as index_lib
from aloe_jax.data import replay as replay_lib
from aloe_jax.data import rlds
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer
from benchmarks import episodes

HORIZON = 50  # of the chunks
BATCH = 32
MANY = 20 * 256  # where no image is decoded: the batches of a call of the compiled program
_VIEWS, _WIDTH = 3, 1152  # of the frozen encoder's features
_SHUFFLE = 2000  # samples that tf.data holds to mix them
_FIELDS = tuple(rlds.CAMERA_FIELDS[camera] for camera in types.CAMERAS)


class Batch(NamedTuple):
  """B samples.

  Attributes:
    state: [B, 32] float32; the first number tells the row.
    action: [B, h, A] float32.
    images: [B, H, W, 3] uint8 of each camera at s_t, then at the state after the chunk, as far
      as they are read.
  """

  state: np.ndarray
  action: np.ndarray
  images: list[np.ndarray]


def check(batch: Batch, steps: int, quality: int, tolerance: int) -> None:
  """Compares a few samples with the episodes as they were made.

  Args:
    batch: of any loader.
    steps: of each episode.
    quality: of the JPEGs.
    tolerance: grey levels by which decoders may differ.
  """
  for b in range(4):
    row = int(batch.state[b, 0])
    last = row // steps * steps + steps - 1
    rows = np.minimum(row + np.arange(HORIZON + 1), last)
    np.testing.assert_array_equal(batch.action[b], episodes.action(rows[:-1]))
    for number, found in enumerate(batch.images):
      camera, at = number % len(_FIELDS), rows[0 if number < len(_FIELDS) else -1]
      expected = Image.open(io.BytesIO(episodes.image(camera, int(at), quality)))
      difference = np.abs(found[b].astype(int) - np.asarray(expected)).max()
      assert difference <= tolerance, f'row {row}: the images differ by {difference}.'


def critic(directory: pathlib.Path, *, images: bool, size: int = BATCH) -> Iterator[Batch]:
  """Our critic's batches."""
  replay = _replay(_index(directory), None)
  for step in itertools.count():
    yield _batch(replay.critic_batches(0, step, 1, size, None, images=images))


def actor(directory: pathlib.Path) -> Iterator[Batch]:
  """Our actor's batches."""
  replay = _replay(_index(directory), None)
  for step in itertools.count():
    yield _batch(replay.actor_batches(0, step, 1, BATCH, replay.starts, None, images=True))


def features_critic(directory: pathlib.Path) -> Iterator[Batch]:
  """Our critic's batches where a frozen encoder's features stand in for images."""
  index = _index(directory)
  replay = _replay(index, _features(directory, len(index)))
  for step in itertools.count():
    yield _batch(replay.critic_batches(0, step, 1, MANY, None))


def features_alone(directory: pathlib.Path) -> Iterator[np.ndarray]:
  """Nothing but the features [B, V, F] of random rows."""
  index = _index(directory)
  steps = steps_lib.Steps([index], [_features(directory, len(index))])
  rng = np.random.default_rng(0)
  while True:
    yield steps.features(rng.integers(0, len(index), MANY))


def decoder(directory: pathlib.Path, images: int) -> Iterator[np.ndarray]:
  """Nothing but the decoder, on JPEGs that lie in memory; `images` make a sample."""
  index = _index(directory)
  rows = np.random.default_rng(0).integers(0, len(index), 8 * BATCH)
  samples = [
    [index.image(types.CAMERAS[k % len(types.CAMERAS)], row) for k in range(images)] for row in rows
  ]
  buffer = np.zeros((episodes.SIZE, episodes.SIZE, 3), np.uint8)
  for start in itertools.count(step=BATCH):
    for number in range(start, start + BATCH):
      for frame in samples[number % len(samples)]:
        simplejpeg.decode_jpeg(frame, buffer=buffer)
    yield rows[:BATCH]


def tf_data(directory: pathlib.Path) -> Iterator[Batch]:
  """The critic's samples by tf.data as dlimp and Octo have it: images are decoded last."""
  tf, tfds = _tensorflow()
  builder = tfds.builder_from_directory(directory / 'tfrecord')

  def samples(episode):
    steps = episode['steps']
    length = tf.shape(steps['action'])[0]
    first = tf.range(length)
    row = tf.minimum(first[:, None] + tf.range(HORIZON), length - 1)
    after = tf.minimum(first + HORIZON, length - 1)
    now = [steps['observation'][field] for field in _FIELDS]
    return tf.data.Dataset.from_tensor_slices(
      {
        'state': steps['observation']['state'],
        'action': tf.gather(steps['action'], row),
        'images': tf.stack(now + [tf.gather(frames, after) for frames in now], axis=1),
      }
    )

  def decode(sample):
    frames = tf.unstack(sample['images'], num=2 * len(_FIELDS))
    return sample | {'images': tuple(tf.io.decode_jpeg(frame, channels=3) for frame in frames)}

  automatic = dict(num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
  dataset = (
    builder.as_dataset('train', decoders={'steps': tfds.decode.SkipDecoding()}, shuffle_files=True)
    .repeat()
    .interleave(samples, cycle_length=8, **automatic)
    .shuffle(_SHUFFLE)
    .map(decode, **automatic)
    .batch(BATCH)
    .prefetch(2)
  )
  for batch in dataset.as_numpy_iterator():
    yield Batch(batch['state'], batch['action'], list(batch['images']))


def data_source(directory: pathlib.Path) -> Iterator[Batch]:
  """The critic's samples by `tfds.data_source`: a whole episode is read for each."""
  _, tfds = _tensorflow()
  builder = tfds.builder_from_directory(directory / 'array_record')
  source = builder.as_data_source('train', decoders={'steps': tfds.decode.SkipDecoding()})
  rng = np.random.default_rng(0)
  while True:
    samples = []
    for episode in rng.integers(0, len(source), BATCH):
      steps = source[int(episode)]['steps']
      last = len(steps['action']) - 1
      first = rng.integers(0, last + 1)
      rows = np.minimum(first + np.arange(HORIZON + 1), last)
      frames = [steps['observation'][name][rows[at]] for at in (0, -1) for name in _FIELDS]
      images = [simplejpeg.decode_jpeg(frame) for frame in frames]
      samples.append((steps['observation']['state'][first], steps['action'][rows[:-1]], *images))
    state, action, *images = map(np.stack, zip(*samples, strict=True))
    yield Batch(state, action, images)


class Loader(NamedTuple):
  """A row of the table.

  Attributes:
    make: from the directory to an endless iterator over batches.
    size: samples in a batch.
    images: decoded for a sample.
    tolerance: grey levels by which its decoder may differ from Pillow's.
  """

  make: Callable[[pathlib.Path], Iterator]
  size: int = BATCH
  images: int = 6
  tolerance: int = 0


TF_DATA = 'tf.data'
DECODER = {6: 'decoder alone, 6 JPEGs', 3: 'decoder alone, 3 JPEGs'}
LOADERS = {
  DECODER[6]: Loader(functools.partial(decoder, images=6)),
  'critic, 6 JPEGs': Loader(functools.partial(critic, images=True)),
  TF_DATA: Loader(tf_data, tolerance=16),
  'tfds.data_source': Loader(data_source),
  DECODER[3]: Loader(functools.partial(decoder, images=3), images=3),
  'actor, 3 JPEGs': Loader(actor, images=3),
  'critic without images': Loader(functools.partial(critic, images=False, size=MANY), MANY, 0),
  'critic, features': Loader(features_critic, MANY, 0),
  'features alone': Loader(features_alone, MANY, 0),
}


def _tensorflow():
  """TensorFlow and TFDS, kept off the accelerators, which belong to JAX."""
  import tensorflow as tf
  import tensorflow_datasets as tfds

  for kind in ('GPU', 'TPU'):
    if tf.config.get_visible_devices(kind):
      tf.config.set_visible_devices([], kind)
  return tf, tfds


def _index(directory: pathlib.Path) -> index_lib.Index:
  return index_lib.load(directory / 'tfrecord', {})


def _features(directory: pathlib.Path, rows: int) -> np.ndarray:
  """[N, V, F] bfloat16 of no meaning, mapped from the disk."""
  path = directory / 'features.npy'
  if not path.exists():
    np.save(path, np.arange(rows * _VIEWS * _WIDTH, dtype=np.uint16).reshape(rows, _VIEWS, _WIDTH))
  return np.load(path, mmap_mode='r').view(np.ndarray).view(jnp.bfloat16)


def _replay(index: index_lib.Index, features: np.ndarray | None) -> replay_lib.Replay:
  words = tokenizer.PromptTokenizer(tokenizer.Words(256), 8, discrete_state=False)
  identity = normalize.Identity()
  return replay_lib.Replay(
    steps_lib.Steps([index], [features]),
    inputs.Inputs(words, identity, identity, types.PROPRIO_SIZE, image_size=episodes.SIZE),
    replay_lib.Chunking(HORIZON, HORIZON, discount=0.999, fail_cost=300.0),
  )


def _batch(batch: types.CriticBatch | types.ActorBatch) -> Batch:
  """The only batch [1, B, ...] of a call."""
  observations = [batch.observation]
  if isinstance(batch, types.CriticBatch):
    observations.append(batch.next_observation)
  images = [seen.images[c][0] for seen in observations if seen.images for c in types.CAMERAS]
  return Batch(batch.observation.proprio[0], batch.action[0], images)
