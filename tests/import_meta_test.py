"""What is wrong in meta/ of a LeRobot dataset is named by file, line or row, and field."""

import json

import lerobot_timed
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib

TOP = lerobot_timed.TOP


def refusal(root, **changes):
  with pytest.raises(ValueError) as refused:
    list(lerobot.Dataset(root, settings_lib.Settings(**changes)))
  return str(refused.value)


def write(root, version='v2.1'):
  lerobot_timed.write(root, [lerobot_timed.episode(range(6))] * 2, version=version)
  return root


def info(**changes):
  """What changes fields of info.json; None takes one out."""

  def change(root):
    path = root / 'meta/info.json'
    told = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))

  return change


def feature(name, value):
  """What adds a feature to info.json."""

  def change(root):
    path = root / 'meta/info.json'
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {'features': told['features'] | {name: value}}))

  return change


def line(name, **changes):
  """What changes fields of the second line of a file, behind an empty one."""

  def change(root):
    path = root / f'meta/{name}.jsonl'
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    lines.append(lines.pop() | changes)
    path.write_text('\n\n'.join(map(json.dumps, lines)))

  return change


@pytest.mark.parametrize(
  'change, message',
  [
    (line('episodes', length='6'), "episodes.jsonl, line 3: length: found '6', expected a whole"),
    (line('episodes', length=None), 'episodes.jsonl, line 3: length: found None, expected a whole'),
    (line('episodes', length=6.5), 'episodes.jsonl, line 3: length: found 6.5, expected a whole'),
    (line('episodes', length=True), 'episodes.jsonl, line 3: length: found True, expected'),
    (line('episodes', episode_index=[1]), 'line 3: episode_index: found [1], expected a whole'),
    (line('episodes', episode_index=-1), 'line 3: episode_index: found -1, expected a whole'),
    (line('episodes', episode_index=0), 'line 3: episode_index: found 0 twice, expected it once'),
    (line('tasks', task=['fold']), "tasks.jsonl, line 1: task: found ['fold'], expected a text"),
    (line('tasks', task_index={}), 'tasks.jsonl, line 1: task_index: found {}, expected a whole'),
    (info(features=[]), 'info.json: features: found [], expected an object of features'),
    (feature('x', None), 'info.json: features: x: found None, expected an object with dtype'),
    (feature('x', {'shape': [1]}), 'info.json: features: x: dtype is missing; found shape'),
    (feature('x', {'dtype': 7}), 'info.json: features: x: dtype: found 7, expected a text'),
    (
      feature('action', {'dtype': 'float32', 'shape': 7}),
      'action: shape: found 7, expected a list',
    ),
    (
      feature('action', {'dtype': 'float32', 'shape': ['7']}),
      "info.json: features: action: shape: found '7', expected a whole number of 1 or more",
    ),
    (info(chunks_size=0), 'info.json: chunks_size: found 0, expected a whole number of 1 or more'),
    (info(chunks_size='many'), "info.json: chunks_size: found 'many', expected a whole number"),
    (info(video_path=5), 'info.json: video_path: found 5, expected a text'),
    (
      info(video_path='{vkey}/{episode_index}.mp4'),
      "found '{vkey}/{episode_index}.mp4', expected a path with no gaps but {video_key}",
    ),
    (info(video_path='{episode_index:03f}{.mp4'), 'video_path: found '),
    (info(video_path='{video_key}.mp4'), 'expected a gap {episode_index}, as every episode has'),
    (info(fps='10'), "info.json: fps: found '10', expected the steps per second"),
    (info(codebase_version=['v2.1']), "codebase_version: found ['v2.1'], expected one of v2.0"),
  ],
)
def test_a_field_of_another_type_is_named_in_version_2(change, message, tmp_path):
  root = write(tmp_path / 'in')
  change(root)
  found = refusal(root)
  assert found.startswith(f'{root}/meta/')
  assert message in found


def column(name, values, file='meta/episodes/chunk-000/file-000.parquet'):
  """What changes a column of a file."""

  def change(root):
    table = pq.read_table(root / file)
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, pa.array(values)), root / file)

  return change


@pytest.mark.parametrize(
  'change, message',
  [
    (column('length', [6, None]), 'row 1: length: found None, expected a whole number of 0 or'),
    (column('length', ['6', '6']), "row 0: length: found '6', expected a whole number of 0 or"),
    (column('episode_index', [0, None]), 'row 1: episode_index: found None, expected a whole'),
    (column('episode_index', [1, 1]), 'row 1: episode_index: found 1 twice, expected it once'),
    (column(f'videos/{TOP}/chunk_index', [0.0, 0.5]), 'chunk_index: found 0.5, expected a whole'),
    (column(f'videos/{TOP}/file_index', ['0', '0']), "file_index: found '0', expected a whole"),
    (column(f'videos/{TOP}/from_timestamp', [0, float('nan')]), 'from_timestamp: found nan, expec'),
    (column(f'videos/{TOP}/from_timestamp', [0, None]), 'from_timestamp: found None, expected sec'),
    (column(f'videos/{TOP}/from_timestamp', [-0.6, 0.6]), 'from_timestamp: found -0.6, expected'),
    (column(f'videos/{TOP}/to_timestamp', [0.6, float('nan')]), 'to_timestamp: found nan, expect'),
    (column(f'videos/{TOP}/to_timestamp', [0.6, 0.1]), 'to_timestamp: found 0.1, expected more'),
    (column(f'videos/{TOP}/to_timestamp', ['0.6', '1']), "to_timestamp: found '0.6', expected sec"),
    (
      column('task', [['fold']], 'meta/tasks.parquet'),
      "tasks.parquet, row 0: task: found ['fold'], expected a text",
    ),
    (
      column('task_index', [None], 'meta/tasks.parquet'),
      'tasks.parquet, row 0: task_index: found None, expected a whole number',
    ),
    (
      column('episode_index', [*[0] * 6, None, *[1] * 5], 'data/chunk-000/episode_000000.parquet'),
      'data/chunk-000/episode_000000.parquet, row 6: episode_index: found None, expected a whole',
    ),
    (info(video_path='{episode_index}.mp4'), 'expected a path with no gaps but {video_key}, {chu'),
  ],
)
def test_a_field_of_another_type_is_named_in_version_3(change, message, tmp_path):
  root = write(tmp_path / 'in', 'v3.0')
  change(root)
  found = refusal(root)
  assert found.startswith(f'{root}/')
  assert message in found


def test_whole_numbers_may_be_held_as_floats(tmp_path):
  root = write(tmp_path / 'in', 'v3.0')
  for name in ('length', 'episode_index', f'videos/{TOP}/chunk_index', f'videos/{TOP}/file_index'):
    values = pq.read_table(root / 'meta/episodes/chunk-000/file-000.parquet')[name].to_pylist()
    column(name, [float(value) for value in values])(root)
  assert [len(one) for one in lerobot.Dataset(root, settings_lib.Settings())] == [6, 6]


def test_a_task_without_a_text_is_no_matter_where_a_prompt_is_given(tmp_path):
  root = write(tmp_path / 'in', 'v3.0')
  column('task', pa.array([None], pa.string()), 'meta/tasks.parquet')(root)
  assert 'step 0: task_index: found 0, for which meta/ holds no text; pass --prompt' in refusal(
    root
  )
  found = lerobot.Dataset(root, settings_lib.Settings(prompt='fold'))
  assert {one.prompt for one in found} == {'fold'}
