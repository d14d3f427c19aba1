"""LeRobot datasets become RLDS: videos, image columns, tasks and ends of both versions."""

import argparse
import builtins
import json
import re
import shutil

import lerobot_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import index
from aloe_jax.data.importers import command
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib

FPS = lerobot_files.FPS
STEPS = lerobot_files.STEPS
TASKS = lerobot_files.TASKS
TASK = lerobot_files.TASK
FEATURES = lerobot_files.FEATURES
HEAD, WRIST, SIDE = lerobot_files.FEATURES


def run_import(source, target, *arguments):
  parser = argparse.ArgumentParser()
  command.add(parser.add_subparsers())
  line = ['import', str(source), '--from', 'lerobot', '--to', str(target), '--name', 'towels']
  parsed = parser.parse_args([*line, *arguments])
  parsed.run(parsed)


def read(directory, **changes):
  return list(lerobot.Dataset(directory, settings_lib.Settings(**changes)))


def refusal(directory, **changes):
  with pytest.raises((ValueError, OSError)) as refused:
    read(directory, **changes)
  return str(refused.value)


def assert_imported(target, cameras, atol):
  found = index.load(target, {})
  np.testing.assert_array_equal(found.boundaries, np.cumsum([0, *STEPS]))
  state, action = (
    np.concatenate(arrays) for arrays in zip(*map(lerobot_files.numbers, range(3)), strict=True)
  )
  np.testing.assert_array_equal(found.state[:, :8], state)
  np.testing.assert_array_equal(found.state[:, 8:], 0)
  np.testing.assert_array_equal(found.action, action)
  prompts = [found.prompts[number] for number in found.prompt]
  assert prompts == [TASKS[TASK[e]] for e, length in enumerate(STEPS) for _ in range(length)]
  paths = [episode.metadata['file_path'] for episode in found.episodes()]
  assert paths == [f'dataset/episode_{episode:06d}' for episode in range(3)]
  assert found.cameras == tuple(cameras)
  for episode, length in enumerate(STEPS):
    for step in range(length):
      for camera, feature in cameras.items():
        pixels = image_codec.decode(found.image(camera, int(found.boundaries[episode]) + step))
        expected = lerobot_files.image(episode, step, feature)
        np.testing.assert_allclose(pixels.astype(int), expected, atol=atol)
  return found


@pytest.fixture(scope='module')
def v2(tmp_path_factory):
  directory = tmp_path_factory.mktemp('v2') / 'dataset'
  lerobot_files.write_v2(directory, 'video')
  return directory


@pytest.fixture(scope='module')
def v3(tmp_path_factory):
  directory = tmp_path_factory.mktemp('v3') / 'dataset'
  lerobot_files.write_v3(directory)
  return directory


@pytest.fixture
def copy(v3, tmp_path):
  return shutil.copytree(v3, tmp_path / 'dataset')


def test_version_2_with_a_video_an_episode_arrives(v2, tmp_path, capsys):
  run_import(v2, tmp_path / 'out', '--end-reason', 'success')
  found = assert_imported(tmp_path / 'out', {'head': HEAD, 'left_wrist': WRIST}, atol=6)
  ends = np.zeros(16)
  ends[[4, 11, 15]] = types.EndReason.SUCCESS
  np.testing.assert_array_equal(found.end_reason, ends)
  np.testing.assert_array_equal(found.source, types.Source.DEMO)
  printed = capsys.readouterr().out
  assert re.search(r'import: 3/3 episodes, .*frames/s \d', printed)
  assert '3 episodes, 16 steps' in printed
  assert f'images left out: {SIDE}' in printed


def test_version_3_with_several_episodes_a_video_arrives(v3, tmp_path):
  arguments = (
    '--camera',
    f'head={SIDE}',
    '--camera',
    f'right_wrist={WRIST}',
    '--source',
    'human',
  )
  run_import(v3, tmp_path / 'out', *arguments)
  found = assert_imported(tmp_path / 'out', {'head': SIDE, 'right_wrist': WRIST}, atol=6)
  ends = np.zeros(16)
  ends[[4, 11, 15]] = types.EndReason.CUT  # a success is never guessed
  np.testing.assert_array_equal(found.end_reason, ends)
  np.testing.assert_array_equal(found.source, types.Source.HUMAN)


def test_image_columns_arrive_without_a_loss(tmp_path):
  lerobot_files.write_v2(tmp_path / 'dataset', 'image', version='v2.0')
  run_import(tmp_path / 'dataset', tmp_path / 'out')
  assert_imported(tmp_path / 'out', {'head': HEAD, 'left_wrist': WRIST}, atol=0)


def test_the_index_of_the_tasks_may_have_no_name(tmp_path):
  lerobot_files.write_v3(tmp_path / 'dataset', task_column='__index_level_0__')
  prompts = [episode.prompt for episode in read(tmp_path / 'dataset')]
  assert prompts == [TASKS[task] for task in TASK]


def each(*values):
  """A column of every episode: `values` at their last steps, 0 or False before."""
  return [
    [type(last)(0)] * (length - 1) + [last] for last, length in zip(values, STEPS, strict=True)
  ]


@pytest.mark.parametrize(
  'columns, expected',
  [
    ({'next.success': each(True, False, True)}, ('SUCCESS', 'FAILURE', 'SUCCESS')),
    (
      {'next.success': each(True, False, False), 'next.done': each(True, True, False)},
      ('SUCCESS', 'FAILURE', 'CUT'),
    ),
    ({'next.reward': each(1.0, 0.0, 1.0)}, ('SUCCESS', 'TIMEOUT', 'SUCCESS')),
    ({'next.reward': each(0.7, 2.0, 0.0)}, ('TIMEOUT', 'TIMEOUT', 'TIMEOUT')),
    (
      {'next.reward': each(1.0, 1.0, 1.0), 'next.success': each(False, True, False)},
      ('FAILURE', 'SUCCESS', 'FAILURE'),
    ),
    ({'next.done': each(True, True, True)}, ('TIMEOUT', 'TIMEOUT', 'TIMEOUT')),
    (
      {'next.success': [[[x] for x in e] for e in each(True, False, True)]},  # of shape [1]
      ('SUCCESS', 'FAILURE', 'SUCCESS'),
    ),
  ],
)
def test_episodes_end_as_their_rows_say_or_else_as_the_settings_do(columns, expected, tmp_path):
  lerobot_files.write_v2(tmp_path / 'dataset', 'image', **columns)
  episodes = read(tmp_path / 'dataset', end_reason=types.EndReason.TIMEOUT)
  assert [types.EndReason(episode.end_reason[-1]).name for episode in episodes] == list(expected)
  assert not any(episode.end_reason[:-1].any() for episode in episodes)


TAKEN_OVER = [  # of the episodes of 5, 7 and 4 steps: where a human acts
  [0, 0, 1, 1, 0],
  [1, 0, 0, 1, 0, 0, 1],
  [0, 0, 0, 0],
]


@pytest.mark.parametrize('kind', [float, bool])
@pytest.mark.parametrize(
  'name', ['complementary_info.is_intervention', 'is_intervention', 'intervention']
)
def test_a_flag_tells_at_every_step_whether_a_human_acts(name, kind, tmp_path):
  flags = [[kind(flag) for flag in episode] for episode in TAKEN_OVER]
  lerobot_files.write_v2(tmp_path / 'dataset', 'image', **{name: flags})
  run_import(tmp_path / 'dataset', tmp_path / 'out', '--end-reason', 'timeout')
  found = index.load(tmp_path / 'out', {})
  policy, human = types.Source.POLICY, types.Source.HUMAN
  np.testing.assert_array_equal(
    found.source, [human if flag else policy for episode in TAKEN_OVER for flag in episode]
  )
  ends = np.zeros(16, int)
  ends[[1, 7, 10]] = types.EndReason.TAKEOVER
  ends[[4, 11, 15]] = types.EndReason.TIMEOUT
  np.testing.assert_array_equal(found.end_reason, ends)


def test_a_flag_of_another_name_can_be_chosen_and_one_in_use_left_out(tmp_path, capsys):
  flags = {'intervention': TAKEN_OVER, 'help': [[1] * length for length in STEPS]}
  lerobot_files.write_v2(tmp_path / 'dataset', 'image', **flags)
  chosen = read(tmp_path / 'dataset', intervention='help')
  assert {int(source) for episode in chosen for source in episode.source} == {types.Source.HUMAN}
  run_import(tmp_path / 'dataset', tmp_path / 'out', '--intervention', 'none')
  assert 'steps by source: demo 16' in capsys.readouterr().out
  assert 'expected grip, as asked for by --intervention' in refusal(
    tmp_path / 'dataset', intervention='grip'
  )


def test_one_prompt_may_be_given_for_all(copy):
  (copy / 'meta/tasks.parquet').unlink()
  lerobot_files.write_parquet(
    copy / 'meta/tasks.parquet', pa.table({'task_index': [7], 'task': ['']})
  )
  assert 'task_index: found 0, for which meta/ holds no text; pass --prompt' in refusal(copy)
  assert {episode.prompt for episode in read(copy, prompt='fold')} == {'fold'}


@pytest.mark.parametrize('version', [2, 3])
def test_a_task_of_two_texts_is_refused_and_one_that_is_told_twice_is_not(version, tmp_path):
  directory, tasks = tmp_path / 'dataset', [(0, TASKS[0]), (1, TASKS[1]), (0, TASKS[0])]

  def write(found):
    if version == 2:
      lines = [json.dumps({'task_index': n, 'task': text}) + '\n' for n, text in found]
      (directory / 'meta/tasks.jsonl').write_text(''.join(lines))
    else:
      table = pa.table(dict(zip(('task_index', 'task'), zip(*found, strict=True), strict=True)))
      lerobot_files.write_parquet(directory / 'meta/tasks.parquet', table)

  if version == 2:
    lerobot_files.write_v2(directory, 'image')
  else:
    lerobot_files.write_v3(directory)
  write(tasks)
  assert [episode.prompt for episode in read(directory)] == [TASKS[0], TASKS[1], TASKS[0]]
  write([*tasks, (0, 'wave')])
  assert f"task_index 0: found two texts, {TASKS[0]!r} and 'wave'" in refusal(directory)


def test_an_episode_of_several_tasks_has_a_prompt_at_every_step(copy, tmp_path):
  table = pa.concat_tables([lerobot_files.rows(0), lerobot_files.rows(1)])
  task = pa.array([0, 1, 1, 1, 1] + [1] * 7)
  table = table.set_column(table.column_names.index('task_index'), 'task_index', task)
  lerobot_files.write_parquet(copy / 'data/chunk-000/file-000.parquet', table)
  assert [episode.prompt for episode in read(copy)] == [[TASKS[0], *TASKS[1:] * 4], *TASKS[::-1]]
  run_import(copy, tmp_path / 'out')
  found = index.load(tmp_path / 'out', {})
  assert [found.prompts[n] for n in found.prompt] == [
    TASKS[task] for task in [0] + [1] * 11 + [0] * 4
  ]


def test_features_of_other_names_can_be_chosen(copy):
  path = copy / 'meta/info.json'
  path.write_text(path.read_text().replace('"observation.state"', '"servo"'))
  assert refusal(copy).startswith(
    f'{path}: features: found action, observation.images.cam_high, observation.images.side, '
    'observation.images.wrist, servo, expected observation.state or state or observation.qpos or '
  )
  for name in ('file-000', 'file-001'):
    file = copy / f'data/chunk-000/{name}.parquet'
    table = pq.read_table(file)
    names = ['servo' if x == 'observation.state' else x for x in table.column_names]
    lerobot_files.write_parquet(file, table.rename_columns(names))
  first = read(copy, state='servo')[0]
  np.testing.assert_array_equal(first.state[:, :8], lerobot_files.numbers(0)[0])


def test_cameras_without_a_name_in_use_have_to_be_chosen(copy):
  path = copy / 'meta/info.json'
  text = path.read_text()
  renamed = text.replace('cam_high', 'a').replace('wrist', 'b').replace('side', 'c')
  path.write_text(renamed.replace('"dtype": "video"', '"dtype": "image"'))
  assert '--camera head=observation.images.a' in refusal(copy)
  path.write_text(text)
  assert refusal(copy, cameras={'head': 'top'}).startswith(
    f'{path}: features: top: found no such images, expected one of {HEAD}, {SIDE}, {WRIST}'
  )


def test_an_episode_may_go_on_in_the_next_file(copy):
  table = pa.concat_tables([lerobot_files.rows(episode) for episode in range(3)])
  for file, part in enumerate([table.slice(0, 8), table.slice(8)]):
    lerobot_files.write_parquet(copy / f'data/chunk-000/file-{file:03d}.parquet', part)
  assert [len(episode) for episode in read(copy)] == list(STEPS)


def test_missing_and_surplus_rows_are_named(copy):
  path = copy / 'data/chunk-000/file-001.parquet'
  table = pq.read_table(path)
  lerobot_files.write_parquet(path, table.slice(1))
  assert refusal(copy).startswith(f'{path}, episode 2: found 3 rows, expected 4 as in meta/')
  path.unlink()
  assert 'found no rows of episode 2, which meta/ holds' in refusal(copy)
  lerobot_files.write_parquet(path, pa.concat_tables([table, lerobot_files.rows(0)]))
  assert refusal(copy).startswith(f'{path}, episode 0: found rows of an episode that meta/ does')


def test_broken_files_are_named(copy):
  path = copy / 'data/chunk-000/file-001.parquet'
  path.write_bytes(path.read_bytes()[:-20])
  assert refusal(copy).startswith(f'{path}: the file is corrupt')
  path = copy / f'videos/{HEAD}/chunk-000/file-000.mp4'
  path.write_bytes(b'no video')
  assert f', episode 0: {path}: the video cannot be decoded' in refusal(copy)
  path.unlink()
  assert f', episode 0: {path}: the video is missing' in refusal(copy)
  (copy / 'meta/info.json').write_text('{"codebase_version": "v1.6", "features": {}, "fps": 10}')
  assert "codebase_version: found 'v1.6', expected one of v2.0, v2.1, v3.0" in refusal(copy)
  (copy / 'meta/info.json').write_text('{')
  assert refusal(copy).startswith(f'{copy}/meta/info.json: found no whole JSON')
  assert 'nowhere/meta/info.json: the file is missing; expected a LeRobot' in refusal(
    copy / 'nowhere'
  )


def test_it_is_said_how_to_install_what_decodes_videos(v2, tmp_path, monkeypatch):
  original = builtins.__import__

  def without_av(name, *arguments, **options):
    if name == 'av':
      raise ModuleNotFoundError("No module named 'av'")
    return original(name, *arguments, **options)

  monkeypatch.setattr(builtins, '__import__', without_av)
  with pytest.raises(ModuleNotFoundError, match=r"pip install 'aloe_jax\[import\]'"):
    run_import(v2, tmp_path / 'out')
