"""Every row of a recording gets the picture of its own time, or it is said which has none."""

import pathlib

import command_line
import lerobot_files
import lerobot_timed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aloe_jax.data import image_codec
from aloe_jax.data import index
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib
from aloe_jax.data.importers import video

FPS = lerobot_files.FPS
HEAD = lerobot_files.HEAD
FEATURES = lerobot_files.FEATURES
episode = lerobot_timed.episode


def read(path, times, **options):
  return video.read(
    video.Clip(path, **options), np.asarray(times) / FPS, fps=FPS, where='episode 3'
  )


def refusal(path, times, **options):
  with pytest.raises(ValueError) as refused:
    read(path, times, **options)
  return str(refused.value)


@pytest.fixture
def film(tmp_path):
  """Twelve frames, at 0.0 to 1.1 s."""
  path = tmp_path / 'video.mp4'
  lerobot_files.write_video(path, [lerobot_timed.picture(t) for t in range(12)])
  return path


@pytest.mark.parametrize(
  'codec, options',
  [
    ('libx264', {}),
    ('libx264', {'g': '2'}),
    ('libx264', {'g': '8', 'bf': '5', 'b_strategy': '0'}),
    ('libsvtav1', {'g': '2'}),
    ('mpeg4', {}),
  ],
)
def test_frames_are_found_by_their_time_in_any_codec(codec, options, tmp_path, monkeypatch):
  monkeypatch.setenv('SVT_LOG', '0')
  path = tmp_path / 'video.mp4'
  colours = [lerobot_files.image(t % 3, t % 8, FEATURES[t % 2]) for t in range(40)]
  lerobot_files.write_video(path, colours, codec, options)
  for first in (0, 7, 23, 31):
    kept = np.array([0, 1, 2, 5, 6, 8])  # of the nine frames from there on
    found = video.read(
      video.Clip(path, first / FPS, (first + 9) / FPS), kept / FPS, fps=FPS, where=''
    )
    assert found.surplus == 0
    for frame, expected in zip(found.jpegs, np.array(colours)[first + kept], strict=True):
      np.testing.assert_allclose(image_codec.decode(frame).astype(int), expected, atol=12)


def test_the_nearest_frame_counts_up_to_half_a_period(film):
  found = read(film, [1.4, 2.4, 3.6])
  assert [lerobot_timed.number(frame) for frame in found.jpegs] == [1, 2, 4]
  assert refusal(film, [1.4, 1.6, 2.4]).startswith(
    f'episode 3, step 2: {film}: found the frame at 0.2000 s nearest to two steps, at 0.1600 s and '
    '0.2400 s'
  )


def test_frames_after_the_last_step_are_counted_but_not_those_before_the_first(film):
  assert read(film, range(4, 12)).surplus == 0
  assert read(film, range(4, 9)).surplus == 3
  assert read(film, range(4, 9), stop=0.9).surplus == 0
  assert read(film, range(0, 5), start=0.4).surplus == 3
  assert read(film, range(0, 5), start=0.4, stop=1.0).surplus == 1


def test_a_step_without_a_frame_is_named_with_the_nearest_one(film):
  assert refusal(film, range(8, 14)) == (
    f'episode 3, step 4: {film}: found the nearest frame at 1.1000 s, expected one at 1.2000 s: '
    'the video is shorter than the episode, whose last 2 of 6 steps have no frame.'
  )
  assert 'step 3' in refusal(film, range(5), start=0.5, stop=0.8)  # what follows is another's
  assert 'found no frame from 2.0000 s on, expected 3' in refusal(film, range(3), start=2.0)
  with pytest.raises(ValueError, match='does not run at 20 frames a second'):
    video.read(video.Clip(film), np.arange(3) / 20, fps=20, where='')


@pytest.mark.parametrize('version', ['v2.1', 'v3.0'])
@pytest.mark.parametrize('kept', [range(4, 12), [0, 1, 2, 3, 8, 9, 10, 11], [2, 3, 7, 8, 11]])
def test_rows_that_were_trimmed_keep_their_own_pictures(version, kept, tmp_path):
  whole = episode(range(9))
  lerobot_timed.write(tmp_path / 'in', [whole, episode(kept), whole], version=version)
  status, printed, _ = imported(tmp_path)
  assert status == 0, printed
  found = index.load(tmp_path / 'out', {})
  assert found.state[:, 0].tolist() == [*range(9), *kept, *range(9)]
  seen = [lerobot_timed.number(found.image('head', row)) for row in range(len(found))]
  assert seen == [*range(9), *kept, *range(9)]
  assert 'after the last step' not in printed


def imported(tmp_path, *options):
  return command_line.run(
    'data',
    'import',
    str(tmp_path / 'in'),
    '--from=lerobot',
    f'--to={tmp_path / "out"}',
    '--name=x',
    *options,
  )


def test_a_longer_video_is_told_by_episode(tmp_path):
  one = episode(range(6))
  lerobot_timed.write(tmp_path / 'in', [one, episode(range(6), frames=8), one])
  status, printed, _ = imported(tmp_path)
  assert status == 0
  assert '2 video frames after the last step in episode 1: left out' in printed


def test_a_longer_video_is_refused_where_no_row_tells_its_time(tmp_path):
  untold = {'timestamp': None, 'frame_index': None}
  lerobot_timed.write(tmp_path / 'a', [episode(range(6), **untold)])
  (read_back,) = lerobot.Dataset(tmp_path / 'a', settings_lib.Settings())
  assert [lerobot_timed.number(frame) for frame in read_back.images['head']] == list(range(6))
  lerobot_timed.write(tmp_path / 'b', [episode(range(6), frames=8, **untold)])
  with pytest.raises(ValueError, match='found 2 frames more than steps, and neither timestamp nor'):
    list(lerobot.Dataset(tmp_path / 'b', settings_lib.Settings()))


def problems(root):
  with pytest.raises(ValueError) as refused:
    list(lerobot.Dataset(root, settings_lib.Settings()))
  return str(refused.value)


@pytest.mark.parametrize('told', [True, False])
def test_an_episode_ends_in_a_shared_video_where_the_next_begins(told, tmp_path):
  places = [(0.0, 0.6), (0.6, 1.2), (1.2, 1.8)]
  places = places if told else [(start, None) for start, _ in places]
  one = episode(range(6))
  lerobot_timed.write(tmp_path / 'a', [one] * 3, version='v3.0', places=places)
  log = settings_lib.Settings()
  assert [e.state[0, 0] for e in lerobot.Dataset(tmp_path / 'a', log)] == [0, 0, 0]
  assert log.log.notes() == []
  long = episode(range(7), frames=6)
  lerobot_timed.write(tmp_path / 'b', [one, long, one], version='v3.0', places=places)
  assert 'episode 1, step 6' in problems(tmp_path / 'b')
  short = episode(range(5), frames=6)
  lerobot_timed.write(tmp_path / 'c', [short, one, one], version='v3.0', places=places)
  list(lerobot.Dataset(tmp_path / 'c', log))
  assert log.log.notes()[0].startswith('1 video frame after the last step in episode 0')


@pytest.mark.parametrize('stop', [None, 0.6])
def test_two_episodes_at_one_place_of_a_video_are_refused(stop, tmp_path):
  one = episode(range(6))
  places = [(0.0, stop), (0.2 if stop else 0.0, stop)]
  lerobot_timed.write(tmp_path / 'in', [one, one], version='v3.0', places=places)
  assert 'within episode 0, which begins at 0.0000 s: from_timestamp is wrong' in problems(
    tmp_path / 'in'
  )


@pytest.mark.parametrize('told', [True, False])
def test_videos_may_be_split_otherwise_than_rows_and_a_stale_file_of_rows_is_no_matter(
  told, tmp_path
):
  root, kept = tmp_path / 'in', [range(6 * e, 6 * e + 6) for e in range(4)]
  times = {'timestamp': np.arange(6) / FPS, 'frame_index': np.arange(6)}
  lerobot_timed.write(
    root, [episode(numbers, frames=6, **times) for numbers in kept], version='v3.0'
  )
  (path,) = root.glob('data/*/*.parquet')
  rows = pq.read_table(path)
  path.unlink()
  for file in range(2):  # two episodes each
    lerobot_files.write_parquet(
      path.with_name(f'file-{file:03d}.parquet'), rows.slice(12 * file, 12)
    )
  (meta,) = root.glob('meta/episodes/*/*.parquet')
  place = f'videos/{lerobot_timed.TOP}'
  columns = pq.read_table(meta).to_pydict() | {
    'data/file_index': [0, 0, 0, 1],  # of the third it is 1
    f'{place}/file_index': [0, 0, 0, 1],  # three episodes, and one
    f'{place}/from_timestamp': [0.0, 0.6, 1.2, 0.0],
    f'{place}/to_timestamp': [0.6, 1.2, 1.8, 0.6],
  }
  if not told:
    del columns[f'{place}/to_timestamp']
  lerobot_files.write_parquet(meta, pa.table(columns))
  info = root / 'meta/info.json'
  info.write_text(info.read_text().replace('file-000.mp4', 'file-{file_index:03d}.mp4'))
  for file, frames in enumerate((range(18), range(18, 24))):
    pictures = [lerobot_timed.picture(number) for number in frames]
    lerobot_files.write_video(root / place / f'file-{file:03d}.mp4', pictures)
  settings = settings_lib.Settings()
  found = list(lerobot.Dataset(root, settings))
  assert [one.state[:, 0].tolist() for one in found] == [list(numbers) for numbers in kept]
  seen = [[lerobot_timed.number(frame) for frame in one.images['head']] for one in found]
  assert seen == [list(numbers) for numbers in kept]
  assert settings.log.notes() == []


def test_the_size_of_the_images_is_told_before_they_are_written(tmp_path, monkeypatch):
  one = episode(range(6))
  lerobot_timed.write(tmp_path / 'in', [one] * 3)
  status, printed, _ = imported(tmp_path)
  assert status == 0
  before, _, after = printed.partition('import: 3/3')
  assert f'of JPEGs will be written to {tmp_path / "out"}' in before
  assert after
  written = sum(path.stat().st_size for path in pathlib.Path(tmp_path / 'out').glob('*tfrecord*'))
  told, unit = before.rpartition(' of JPEGs')[0].split()[-2:]
  assert unit == 'KB'
  assert 0.5 * written < float(told) * 1000 <= written
