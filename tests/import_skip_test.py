"""With --on-error=skip what cannot be read is left out, named and counted; else nothing stays."""

import json
import re

import command_line
import lerobot_files
import lerobot_timed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aloe_jax.data import index
from aloe_jax.data import rlds

TOP = lerobot_timed.TOP
episode = lerobot_timed.episode


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
  def command(*options, kind='lerobot'):
    given = (f'--from={kind}', tmp_path / 'in', '--to', tmp_path / 'out', '--name=x', *options)
    return command_line.data(monkeypatch, capsys, 'import', *given)

  return command


def eight(**sixth):
  """Eight episodes of eight frames, of which number 6 has something wrong with it."""
  return [episode(range(8), **(sixth if e == 6 else {})) for e in range(8)]


def test_an_episode_with_a_short_video_is_left_out_and_named(run, tmp_path):
  lerobot_timed.write(tmp_path / 'in', eight(frames=7))
  status, _, _ = run()
  assert 'episode 6, step 7: ' in status
  assert sorted(path.name for path in tmp_path.iterdir()) == ['in']
  status, printed, _ = run('--on-error=skip')
  assert status == 0
  assert '7 episodes, 56 steps' in printed
  (line,) = (line for line in printed.splitlines() if line.startswith('left out: '))
  assert 'episode 6, step 7: ' in line
  assert '/episode_000006.mp4: found the nearest frame at 0.6000 s' in line
  assert printed.strip().endswith('7 episodes imported, 1 left out')
  names = [one.metadata['file_path'] for one in rlds.read(tmp_path / 'out')]
  assert names == [f'in/episode_{e:06d}' for e in (0, 1, 2, 3, 4, 5, 7)]


def test_a_refused_import_names_the_way_out_and_leaves_no_directory(monkeypatch, capsys, tmp_path):
  lerobot_timed.write(tmp_path / 'in', eight(frames=7))
  status, _, _ = command_line.data(
    monkeypatch, capsys, 'import', tmp_path / 'in', '--from=lerobot', '--name=x',
    '--to', tmp_path / 'data/towels/1.0.0',
  )  # fmt: skip
  assert status.endswith('(--on-error=skip leaves such episodes out.)')
  assert not (tmp_path / 'data').exists()


def nan_state():
  values = np.zeros((8, 7), np.float32)
  values[3, 2] = np.nan
  return values.tolist()


def rewrite(change):
  """What changes the rows of episode 6."""

  def damage(root):
    path = root / 'data/chunk-000/episode_000006.parquet'
    pq.write_table(change(pq.read_table(path)), path)

  return damage


def truncate(name):
  def damage(root):
    path = root / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

  return damage


def remove(name):
  return lambda root: (root / name).unlink()


def task_without_text(root):
  path = root / 'meta/tasks.jsonl'
  path.write_text(json.dumps({'task_index': 0, 'task': 'fold'}))


@pytest.mark.parametrize(
  'changes, damage, message',
  [
    ({'observation.state': nan_state()}, None, 'episode 6: state, step 3: found NaN'),
    ({'timestamp': [0.1 * t for t in (0, 1, 2, 3, 3, 5, 6, 7)]}, None, 'episode 6, step 4: time'),
    ({'task_index': [0] * 7 + [4]}, None, 'episode 6, step 7: task_index: found 4, for which meta'),
    ({'action': np.zeros((8, 5)).tolist()}, None, 'steps/action: found (5,), expected (7,)'),
    ({}, rewrite(lambda table: table.slice(1)), 'episode 6: found 7 rows, expected 8 as in meta/'),
    (
      {},
      rewrite(lambda table: table.drop(['action'])),
      'episode 6, which meta/ holds; found broken',
    ),
    ({}, remove('data/chunk-000/episode_000006.parquet'), 'found no rows of episode 6, which meta'),
    ({}, truncate('data/chunk-000/episode_000006.parquet'), 'parquet: the file is corrupt'),
    ({}, remove(f'videos/{TOP}/episode_000006.mp4'), 'episode_000006.mp4: the video is missing'),
    ({}, truncate(f'videos/{TOP}/episode_000006.mp4'), 'the video cannot be decoded'),
  ],
)
def test_whatever_is_wrong_with_one_episode_the_others_are_imported(
  changes, damage, message, run, tmp_path
):
  lerobot_timed.write(tmp_path / 'in', eight(**changes))
  if damage:
    damage(tmp_path / 'in')
  status, _, _ = run()
  assert isinstance(status, str)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['in']
  status, printed, _ = run('--on-error=skip')
  assert status == 0, status
  (line,) = (line for line in printed.splitlines() if line.startswith('left out: '))
  assert message in line
  assert re.search(r'episode[ _](0*)6\b', line)
  assert printed.strip().endswith('7 episodes imported, 1 left out')
  assert 'steps by source: demo 56' in printed
  assert len(index.load(tmp_path / 'out', {}).boundaries) == 8


@pytest.mark.parametrize('odd', [0, 3, 7])
@pytest.mark.parametrize('name', ['observation.state', 'action'])
def test_the_episode_of_another_width_is_left_out_wherever_it_stands(name, odd, run, tmp_path):
  wide = {name: np.zeros((8, 9)).tolist()}
  lerobot_timed.write(
    tmp_path / 'in', [episode(range(8), **(wide if e == odd else {})) for e in range(8)]
  )
  info = tmp_path / 'in/meta/info.json'
  info.write_text(info.read_text().replace('"shape": [1]', '"shape": [7]'))
  assert f'episode {odd}: {name}: found 9 numbers a step, expected 7 as ' in run()[0]
  status, printed, _ = run('--on-error=skip')
  assert status == 0, status
  assert f'left out: {tmp_path}/in/data/chunk-000/episode_{odd:06d}.parquet' in printed
  assert printed.strip().endswith('7 episodes imported, 1 left out')


@pytest.mark.parametrize('kind', ['video', 'image'])
@pytest.mark.parametrize('odd', [0, 7])
def test_the_episode_with_pictures_of_another_size_is_left_out(odd, kind, run, tmp_path):
  lerobot_timed.write(tmp_path / 'in', eight(), kind=kind)
  larger = [np.full((64, 32, 3), 8 * t, np.uint8) for t in range(8)]
  if kind == 'video':
    path = tmp_path / f'in/videos/{TOP}/episode_{odd:06d}.mp4'
    lerobot_files.write_video(path, larger)
  else:
    path = tmp_path / f'in/data/chunk-000/episode_{odd:06d}.parquet'
    table = pq.read_table(path)
    images = pa.array([{'bytes': lerobot_files.png(pixels)} for pixels in larger])
    pq.write_table(table.set_column(table.column_names.index(TOP), TOP, images), path)
  status, printed, _ = run('--on-error=skip')
  assert status == 0, status
  assert f'episode {odd}: {TOP}: found pictures of 64 x 32, expected [32, 32, 3] as ' in printed
  assert printed.strip().endswith('7 episodes imported, 1 left out')


@pytest.mark.parametrize('odd', [0, 3])
@pytest.mark.parametrize('damage', ['cut', 'emptied', 'removed'])
def test_a_broken_file_of_rows_is_left_out_wherever_it_stands(damage, odd, run, tmp_path):
  lerobot_timed.write(tmp_path / 'in', eight(), kind=None)
  path = tmp_path / f'in/data/chunk-000/episode_{odd:06d}.parquet'
  whole = path.read_bytes()
  path.unlink()
  if damage != 'removed':
    path.write_bytes(whole[: len(whole) // 2 if damage == 'cut' else 0])
  status, printed, _ = run('--on-error=skip')
  assert status == 0, status
  assert f'found no rows of episode {odd}, which meta/ holds' in printed
  assert printed.strip().endswith('7 episodes imported, 1 left out')


def test_a_width_that_no_episode_has_is_no_matter(run, tmp_path):
  lerobot_timed.write(tmp_path / 'in', eight())  # which declares one number and has seven
  assert run()[0] == 0


def test_an_image_that_is_null_is_left_out_by_step(run, tmp_path):
  lerobot_timed.write(tmp_path / 'in', eight(), kind='image')
  path = tmp_path / 'in/data/chunk-000/episode_000006.parquet'
  table = pq.read_table(path)
  images = [None if t == 4 else image for t, image in enumerate(table[TOP].to_pylist())]
  place = table.column_names.index(TOP)
  pq.write_table(table.set_column(place, TOP, pa.array(images, table.schema.field(TOP).type)), path)
  assert f'episode 6, step 4: {TOP}: found no bytes' in run()[0]
  assert run('--on-error=skip')[1].strip().endswith('7 episodes imported, 1 left out')


def test_nothing_left_is_an_error(run, tmp_path):
  lerobot_timed.write(tmp_path / 'in', [episode(range(8), frames=5)] * 2)
  status, _, _ = run('--on-error=skip')
  assert 'none of 2 episodes can be read' in status
  assert 'episode 0, step 5' in status
  assert sorted(path.name for path in tmp_path.iterdir()) == ['in']


def test_plain_recordings_are_left_out_likewise(run, tmp_path):
  for e in range(3):
    folder = tmp_path / f'in/take_{e}'
    folder.mkdir(parents=True)
    np.save(folder / 'state.npy', np.full((4, 3), np.nan if e == 1 else e))
    np.save(folder / 'action.npy', np.zeros((4, 2)))
    (folder / 'episode.json').write_text('{"prompt": "fold", "fps": 20}')
  assert 'take_1: state, step 0: found NaN' in run(kind='plain')[0]
  status, printed, _ = run('--on-error=skip', kind='plain')
  assert status == 0
  assert f'left out: {tmp_path}/in/take_1: state, step 0' in printed
  assert printed.strip().endswith('2 episodes imported, 1 left out')
  found = rlds.read(tmp_path / 'out')
  assert [one.metadata['file_path'] for one in found] == ['in/take_0', 'in/take_2']
  assert {one.metadata['fps'] for one in found} == {20.0}
