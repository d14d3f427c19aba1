"""A flag that some files of a LeRobot dataset lack and others have is refused where it is not."""

import command_line
import lerobot_files
import numpy as np
import pyarrow.parquet as pq
import pytest

from aloe_jax import types
from aloe_jax.data import index
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings

STEPS = lerobot_files.STEPS
HELPED = [[0, 1, 1, 0, 0], [0] * 7, [0, 0, 1, 0]]
DONE = [[0] * (length - 1) + [1] for length in STEPS]
REWARD = [[float(value) for value in episode] for episode in DONE]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Imports a LeRobot dataset with these columns, of which these episodes lack one."""

  def imported(columns, name, lacking, *options):
    lerobot_files.write_v2(tmp_path / 'dataset', 'image', **columns)
    for episode in lacking:
      path = next((tmp_path / 'dataset/data').glob(f'*/episode_{episode:06d}.parquet'))
      lerobot_files.write_parquet(path, pq.read_table(path).drop_columns([name]))
    given = ('--from', 'lerobot', tmp_path / 'dataset', '--to', tmp_path / 'out', '--name=x')
    return command_line.data(monkeypatch, capsys, 'import', *given, *options)

  return imported


@pytest.mark.parametrize('lacking', [[0], [1], [0, 2]])
@pytest.mark.parametrize(
  'columns, options, without',
  [
    ({'help': HELPED}, ('--intervention=help',), '--intervention=none'),
    ({'won': DONE}, ('--success=won', '--end-reason=success'), '--success=none'),
    ({'intervention': HELPED}, (), '--intervention=none'),
    ({'next.success': DONE}, ('--end-reason=success',), '--success=none'),
    ({'next.done': DONE}, (), '--success=none'),
    ({'next.reward': REWARD}, (), '--success=none'),
    ({'next.reward': REWARD}, ('--success=next.reward',), '--success=none'),
  ],
)
def test_it_stops_the_import_by_file_and_episode(columns, options, without, lacking, run, tmp_path):
  (name,) = columns
  status, _, _ = run(columns, name, lacking, *options)
  first = lacking[0]
  assert f'episode_{first:06d}.parquet, episode {first}: found no column {name} in the' in status
  assert without in status
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('lacking', [[0], [1]])
def test_such_episodes_can_be_left_out(lacking, run, tmp_path):
  status, printed, _ = run(
    {'help': HELPED}, 'help', lacking, '--intervention=help', '--on-error=skip'
  )
  assert status == 0
  assert '2 episodes imported, 1 left out' in printed
  human, policy = types.Source.HUMAN, types.Source.POLICY
  kept = [e for e in range(3) if e not in lacking]
  np.testing.assert_array_equal(
    index.load(tmp_path / 'out', {}).source,
    [human if flag else policy for e in kept for flag in HELPED[e]],
  )


def test_it_can_be_left_out_of_all_episodes(run, tmp_path):
  status, _, _ = run({'intervention': HELPED}, 'intervention', [1], '--intervention=none')
  assert status == 0
  assert set(index.load(tmp_path / 'out', {}).source) == {types.Source.DEMO}


def test_a_flag_that_is_described_and_in_no_file_is_none(run, tmp_path):
  status, printed, _ = run({'next.success': DONE}, 'next.success', [0, 1, 2])
  assert status == 0
  assert 'next.success' not in printed


def test_an_episode_in_two_files_lacks_what_one_of_them_lacks(run, tmp_path):
  status, _, _ = run({'intervention': HELPED}, 'intervention', [1], '--intervention=none')
  assert status == 0
  folder = tmp_path / 'dataset/data/chunk-000'
  table = pq.read_table(folder / 'episode_000000.parquet')
  lerobot_files.write_parquet(folder / 'episode_000000.parquet', table.slice(0, 2))
  rest = table.slice(2).drop_columns(['intervention'])
  lerobot_files.write_parquet(folder / 'episode_000000b.parquet', rest)
  with pytest.raises(ValueError, match='episode 0: found no column intervention in the file'):
    list(lerobot.Dataset(tmp_path / 'dataset', settings.Settings()))
