"""An image that ends before its end is refused by step: at import, in the index and by validate."""

import io

import golden_rlds
import lerobot_timed
import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import image_reader
from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import plain
from aloe_jax.data.importers import settings as settings_lib
from aloe_jax.data.tools import validation


def image(kind, size=32):
  buffer = io.BytesIO()
  pixels = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
  Image.fromarray(pixels).save(buffer, kind)
  return buffer.getvalue()


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_whole_images_are_whole_whatever_stands_behind_them(kind):
  whole = image(kind)
  for behind in (b'', b'\0', bytes(5000), b'made by a camera'):
    assert image_codec.cut_problem(whole + behind) == ''
    assert image_codec.cut_problem(memoryview(whole + behind)) == ''


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_an_image_that_is_cut_anywhere_is_found(kind):
  whole = image(kind)
  for length in (100, len(whole) // 2, len(whole) - 14, len(whole) - 1):
    assert 'that is cut off, expected it whole' in image_codec.cut_problem(whole[:length])


def test_a_jpeg_is_cut_though_a_whole_preview_stands_before_its_pixels():
  preview, whole = image('jpeg', 8), image('jpeg')
  held = whole[:2] + b'\xff\xe1' + (len(preview) + 2).to_bytes(2) + preview + whole[2:]
  assert image_codec.decode(held).shape == (32, 32, 3)
  assert image_codec.cut_problem(held) == ''
  assert image_codec.cut_problem(held[:-200]) != ''


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_plain_files_that_are_cut_are_refused_by_step(kind, tmp_path):
  folder = tmp_path / 'in/take_0'
  (folder / 'head').mkdir(parents=True)
  for name in ('state', 'action'):
    np.save(folder / f'{name}.npy', np.zeros((4, 3)))
  for t in range(4):
    (folder / f'head/{t}.{kind}').write_bytes(image(kind)[: -20 if t == 2 else None])
  with pytest.raises(
    ValueError, match=r"take_0: images of 'head': step 2: found a \w+ that is cut"
  ):
    list(plain.Folder(tmp_path / 'in', settings_lib.Settings(prompt='fold')))


def test_images_in_columns_that_are_cut_are_refused_by_step(tmp_path):
  lerobot_timed.write(tmp_path / 'in', [lerobot_timed.episode(range(4))], kind='image')
  (path,) = tmp_path.glob('in/data/*/*.parquet')
  table = pq.read_table(path)
  images = table[lerobot_timed.TOP].to_pylist()
  images[3] = {'bytes': images[3]['bytes'][:-12]}
  place = table.column_names.index(lerobot_timed.TOP)
  pq.write_table(table.set_column(place, lerobot_timed.TOP, pa.array(images)), path)
  with pytest.raises(
    ValueError, match="episode 0: images of 'head': step 3: found a PNG that is c"
  ):
    list(lerobot.Dataset(tmp_path / 'in', settings_lib.Settings()))


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_a_dataset_with_a_cut_image_is_named_by_file_episode_and_step(kind, tmp_path):
  rng = np.random.default_rng(0)
  made = tiny.make_episode(rng, [types.EndReason.NONE] * 3 + [types.EndReason.SUCCESS])
  whole, directory = image(kind), tmp_path / 'data'
  episode = rlds.Episode(**{**vars(made), 'images': {'head': [whole] * 4}})
  rlds.write(directory, [episode], name='x')
  (path,) = directory.glob('*tfrecord*')
  end = {'png': b'IEND\xaeB`\x82', 'jpeg': b'\xff\xd9'}[kind]

  def cut(payload):
    """Of the third image, whose bytes are replaced as the record's lengths have to stay."""
    parts = payload.split(end)
    return end.join(parts[:2]) + end + parts[2] + bytes(len(end)) + end.join(parts[3:])

  golden_rlds.rewrite(path, 0, cut)
  with pytest.raises(ValueError, match='episode 0, step 2: .*that is cut off, expected it whole'):
    index.load(directory, {})
  (report,) = validation.validate(directory, {})
  problem, *_ = report.problems
  assert 'episode 0, step 2: ' in problem.message


def test_an_image_that_cannot_be_decoded_in_a_batch_is_named():
  rng = np.random.default_rng(0)
  episode = tiny.make_episode(rng, [types.EndReason.NONE] * 3 + [types.EndReason.SUCCESS])
  damaged = bytearray(image('png'))
  damaged[200:400] = bytes(200)
  seen = rlds.Episode(
    **{**vars(episode), 'images': {'head': [image('png')] * 3 + [bytes(damaged)]}}
  )
  reader = image_reader.ImageReader(tiny.make_steps([seen]), 32)
  reader.read(np.array([0, 2]))
  with pytest.raises(ValueError, match='step 3 of all data: image of head: it is damaged'):
    reader.read(np.array([0, 3]))
