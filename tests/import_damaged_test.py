"""A damaged video or image is refused by episode and step; nothing made up is trained."""

import lerobot_files
import lerobot_timed
import numpy as np
from PIL import Image
import pytest

from aloe_jax.data import image_codec
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib
from aloe_jax.data.importers import video

FPS = lerobot_files.FPS


def pictures():
  """Thirty of them, with enough in them to make packets of some hundred bytes."""
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 255, (30, 6, 6, 3), dtype=np.uint8)
  return [np.asarray(Image.fromarray(one).resize((64, 64), 2)) for one in coarse]


def write(root, options, frames=None, codec='libx264'):
  """One episode of thirty steps; the path of its video."""
  lerobot_timed.write(root, [lerobot_timed.episode(range(30))])
  (path,) = root.glob('videos/*/*.mp4')
  lerobot_files.write_video(path, frames or pictures(), codec, options)
  return path


def damage(path, at, length, flip):
  content = bytearray(path.read_bytes())
  begin = content.find(b'mdat') + at
  for place in range(begin, begin + length):
    content[place] = content[place] ^ 0x5A if flip else 0
  path.write_bytes(content)


def read(root, **settings):
  return list(lerobot.Dataset(root, settings_lib.Settings(**settings)))


@pytest.mark.parametrize(
  'codec, options, at, length, flip',
  [
    ('libx264', {}, 2000, 500, False),
    ('libx264', {}, 2000, 500, True),
    ('libx264', {}, 6000, 100, False),  # the decoder does not notice it
    ('libx264', {'g': '8', 'bf': '3', 'x264-params': 'open-gop=1'}, 9000, 100, True),
    ('libx264', {'g': '2'}, 6000, 100, True),
    ('libx265', {'x265-params': 'log-level=none'}, 3500, 100, False),
    ('libx265', {'x265-params': 'log-level=none'}, 3000, 600, True),
    ('mpeg4', {}, 60, 60, False),
    ('libsvtav1', {'g': '10'}, 2000, 500, False),
  ],
)
def test_a_damaged_stretch_of_a_video_is_refused_by_step(
  codec, options, at, length, flip, tmp_path, monkeypatch
):
  monkeypatch.setenv('SVT_LOG', '0')
  path = write(tmp_path / 'in', options, codec=codec)
  assert len(read(tmp_path / 'in')) == 1
  damage(path, at, length, flip)
  with pytest.raises(ValueError, match=r'episode 0, step \d+: .*mp4: the video cannot be decoded'):
    read(tmp_path / 'in')
  settings = settings_lib.Settings(log=settings_lib.log_lib.Log(on_error='skip'))
  assert list(lerobot.Dataset(tmp_path / 'in', settings)) == []
  assert len(settings.log.skipped) == 1


@pytest.mark.parametrize(
  'codec, options',
  [
    ('libx264', {'g': '8', 'bf': '3', 'x264-params': 'open-gop=1'}),
    ('libx264', {'x264-params': 'intra-refresh=1:keyint=8'}),
    ('libx265', {'g': '8', 'x265-params': 'open-gop=1:log-level=none'}),
    ('libsvtav1', {'g': '8'}),
  ],
)
def test_a_whole_video_without_places_to_begin_at_is_read(codec, options, tmp_path, monkeypatch):
  monkeypatch.setenv('SVT_LOG', '0')
  path, frames = tmp_path / 'video.mp4', pictures()
  lerobot_files.write_video(path, frames, codec, options)
  for first in (0, 9, 21):
    clip = video.Clip(path, first / FPS, (first + 8) / FPS)
    found = video.read(clip, np.arange(8) / FPS, fps=FPS, where='')
    for jpeg, expected in zip(found.jpegs, frames[first : first + 8], strict=True):
      assert np.abs(image_codec.decode(jpeg).astype(float) - expected).mean() < 14


def test_black_pictures_are_no_hole(tmp_path):
  write(tmp_path / 'in', {}, [np.zeros((256, 256, 3), np.uint8)] * 30)
  assert len(read(tmp_path / 'in')) == 1


def test_damage_elsewhere_in_a_shared_video_is_that_of_its_own_episodes(tmp_path):
  one = lerobot_timed.episode(range(10))
  lerobot_timed.write(tmp_path / 'in', [one] * 3, version='v3.0')
  (path,) = (tmp_path / 'in').glob('videos/*/*.mp4')
  lerobot_files.write_video(path, pictures(), options={'g': '10', 'sc_threshold': '0'})
  damage(path, 8000, 200, False)  # amid the second ten
  settings = settings_lib.Settings(log=settings_lib.log_lib.Log(on_error='skip'))
  assert len(list(lerobot.Dataset(tmp_path / 'in', settings))) == 2
  assert 'episode 1, step ' in settings.log.skipped[0]
