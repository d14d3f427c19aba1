"""Statistics of all chunks are kept once, and each command runs as a user starts it."""

import json
import subprocess
import sys

import command_line
import foreign
import golden_rlds
import numpy as np
import pytest

from aloe_jax.preprocessing import normalize

DATASET = golden_rlds.DATASET
LENGTHS = golden_rlds.LENGTHS
IDS = golden_rlds.IDS


def test_statistics_are_those_of_all_chunks_written_out(tmp_path, monkeypatch, capsys):
  path = tmp_path / 'norm_stats.json'
  options = ('--chunk', 4, '--delta', 2, -11, '--state-size', 13, '--cache', tmp_path, '--json')
  arguments = ('stats', DATASET, DATASET, '--to', path, *options)
  status, printed, _ = command_line.data(monkeypatch, capsys, *arguments)
  assert status == 0
  states, actions = [], []
  for number, length in zip(IDS, LENGTHS, strict=True):
    for t in range(length):
      states.append([number, t])
      for k in range(t, min(t + 4, length)):
        action = -0.1 + 0.2 * np.arange(14) / 13 + 0.01 * k
        actions.append(action - [number, t, *[0] * 12])
  found = normalize.read(path)
  assert json.loads(printed) == json.loads(path.read_text())
  assert found['state'].mean.shape == (13,)
  np.testing.assert_allclose(found['state'].mean[:2], np.mean(states, axis=0), rtol=1e-6)
  np.testing.assert_allclose(found['state'].std[:2], np.std(states, axis=0), rtol=1e-6)
  np.testing.assert_allclose(found['actions'].mean, np.mean(actions, axis=0), atol=1e-6)
  np.testing.assert_allclose(found['actions'].std, np.std(actions, axis=0), atol=1e-5)
  low, high = np.quantile(actions, normalize.QUANTILES, axis=0)
  np.testing.assert_allclose(found['actions'].q01[:2], low[:2], atol=0.3)
  np.testing.assert_allclose(found['actions'].q99[:2], high[:2], atol=0.3)


@pytest.mark.parametrize(
  'options, message',
  [
    ([], 'norm_stats.json exists already; remove it or pass --overwrite.'),
    (['--overwrite', '--state-size', '15'], 'the state has 14 numbers, expected the 15 asked for.'),
    (['--overwrite', '--chunk', '60'], 'the longest of 6 fragments has 51 steps'),
    (['--overwrite', '--delta', '20'], 'delta (20,) covers 20 numbers, but the state has 14.'),
  ],
)
def test_statistics_that_are_not_wanted_or_cannot_be_are_not_written(
  options, message, tmp_path, monkeypatch, capsys
):
  path = tmp_path / 'norm_stats.json'
  path.write_text('kept')
  arguments = ('stats', DATASET, '--to', path, '--cache', tmp_path, *options)
  status, _, _ = command_line.data(monkeypatch, capsys, *arguments)
  assert status.startswith('error: ')
  assert message in status
  assert path.read_text() == 'kept'


def test_statistics_leave_out_what_training_would(dataset, tmp_path, monkeypatch, capsys):
  golden_rlds.rewrite(foreign.shard(dataset, 1), 0, golden_rlds.with_nan)
  path = tmp_path / 'norm_stats.json'
  arguments = ('stats', dataset, '--to', path, '--cache', tmp_path, '--json')
  status, _, _ = command_line.data(monkeypatch, capsys, *arguments)
  assert 'step 2: steps/observation/state: found NaN' in status
  assert status.endswith('on_error=skip leaves out what is wrong.')
  status, _, _ = command_line.data(monkeypatch, capsys, *arguments, '--on-error', 'skip')
  assert status == 0
  numbers = np.repeat(IDS[:3] + IDS[4:], LENGTHS[:3] + LENGTHS[4:])
  np.testing.assert_allclose(normalize.read(path)['state'].mean[0], numbers.mean(), rtol=1e-6)


def test_every_command_says_what_it_does(tmp_path):
  status, printed, _ = command_line.run(
    'data', 'inspect', str(DATASET), '--image', str(tmp_path / 'frames.png')
  )
  assert status == 0
  assert 'Split train: 6 episodes in 2 files' in printed
  assert (tmp_path / 'frames.png').exists()
  status, printed, _ = command_line.run('data', 'validate', str(DATASET), '--split', 'train')
  assert status == 0
  assert 'No problems found.' in printed
  path = tmp_path / 'norm_stats.json'
  status, printed, _ = command_line.run(
    'data', 'stats', str(DATASET), '--to', str(path), '--cache', str(tmp_path)
  )
  assert status == 0
  assert f'Kept in {path}' in printed
  result = command_line.run('data', 'inspect', str(tmp_path / 'none'))
  command_line.assert_refused(result, f'{tmp_path / "none"}: there is no such directory')


def test_tensorflow_is_never_loaded(tmp_path):
  program = f"""
import sys
dataset, directory = {str(DATASET)!r}, {str(tmp_path)!r}
from aloe_jax.data import __main__ as command
for arguments in (
  ['inspect', dataset],
  ['validate', dataset, '--split', 'train'],
  ['stats', dataset, '--to', directory + '/norm_stats.json', '--cache', directory],
):
  sys.argv = ['data', *arguments]
  command.main()
assert not [name for name in sys.modules if name.startswith('tensorflow')]
"""
  subprocess.run([sys.executable, '-c', program], cwd=command_line.ROOT, check=True)
