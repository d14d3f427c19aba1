"""Episodes to read: three cameras whose JPEGs have grain, as TFRecord and as array_record."""

import functools
import pathlib
import shutil

from array_record.python import array_record_module
import numpy as np
from PIL import Image
import simplejpeg

from aloe_jax import progress
from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.data import tfrecord

SIZE = 224  # of the images, in pixels
ACTION_SIZE = 14
GRAIN = 8  # grey levels at most; with quality 95 a JPEG has about 21 KB, with 80 about 8 KB


def make(directory: pathlib.Path, episodes: int, steps: int, quality: int) -> None:
  """Writes `directory`/tfrecord and `directory`/array_record, with the same records in both.

  Args:
    directory: that is to hold them; what is there already is kept.
    episodes: number of them, all successful demonstrations.
    steps: of each.
    quality: of the JPEGs.
  """
  original, copy = directory / 'tfrecord', directory / 'array_record'
  if not original.exists():
    with progress.bar('Make episodes', episodes, 'episodes') as advance:

      def made():
        for number in range(episodes):
          yield _episode(number, steps, quality)
          advance(number + 1)

      rlds.write(original, made(), name='grain')
  if not copy.exists():
    _copy(original, copy)


def state(row: int | np.ndarray) -> np.ndarray:
  """[..., 32] float32 at rows [...]: the first number is the row."""
  return np.stack([np.float32(row)] * types.PROPRIO_SIZE, axis=-1)


def action(row: int | np.ndarray) -> np.ndarray:
  """[..., A] float32 at rows [...]."""
  return np.stack([np.sin(np.float32(row) + k) for k in range(ACTION_SIZE)], axis=-1)


def image(camera: int, row: int, quality: int) -> bytes:
  """The JPEG at a row: soft colours that wander, under grain of its own."""
  rng = np.random.default_rng([camera, row])
  grain = rng.integers(-GRAIN, GRAIN + 1, (SIZE, SIZE, 3), np.int8)
  pixels = np.roll(_scene(camera), row, axis=1) + grain
  frame = np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8))
  return simplejpeg.encode_jpeg(frame, quality=quality, colorsubsampling='420')


@functools.lru_cache
def _scene(camera: int) -> np.ndarray:
  """[SIZE, SIZE, 3] int16."""
  patches = np.random.default_rng(camera).integers(0, 256, (8, 8, 3), np.uint8)
  scene = Image.fromarray(patches).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
  return np.asarray(scene).astype(np.int16)


def _episode(number: int, steps: int, quality: int) -> rlds.Episode:
  rows = np.arange(number * steps, (number + 1) * steps)
  end_reason = np.full(steps, types.EndReason.NONE, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  return rlds.Episode(
    state=state(rows),
    features=None,
    images={
      camera: [image(k, row, quality) for row in rows] for k, camera in enumerate(types.CAMERAS)
    },
    action=action(rows),
    source=np.full(steps, types.Source.DEMO, np.int8),
    end_reason=end_reason,
    prompt='fold the shirt',
    metadata={},
  )


def _copy(original: pathlib.Path, copy: pathlib.Path) -> None:
  """Puts the records of a TFRecord dataset into array_record files, as TFDS does."""
  partial = copy.with_name(f'.{copy.name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir()
  shutil.copy(original / 'features.json', partial)
  info = (original / 'dataset_info.json').read_text()
  (partial / 'dataset_info.json').write_text(info.replace('tfrecord', 'array_record'))
  for shard in sorted(original.glob('*.tfrecord-*')):
    path = partial / shard.name.replace('tfrecord', 'array_record')
    writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
    for record in tfrecord.walk(shard):
      writer.write(bytes(record.payload))
    writer.close()
  partial.rename(copy)
