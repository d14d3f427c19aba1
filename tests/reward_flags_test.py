"""Rewards that are taken for flags: what tells of success does, and what does not is refused."""

import argparse
import shutil

import command_line
import foreign
import lerobot_files
import numpy as np
import pyarrow.parquet as pq
import pytest

from aloe_jax import types
from aloe_jax.data import index
from aloe_jax.data.importers import command
from aloe_jax.data.tools import validation

STEPS = lerobot_files.STEPS


def ends(directory, mapping=None):
  found = index.load(directory, mapping or {})
  return [types.EndReason(end).name for end in found.end_reason[found.boundaries[1:] - 1]]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
  """Imports a LeRobot dataset of three episodes with this reward."""

  def imported(rewards, *options):
    lerobot_files.write_v2(tmp_path / 'dataset', 'image', **{'next.reward': rewards})
    given = ('--from', 'lerobot', tmp_path / 'dataset', '--to', tmp_path / 'out', '--name=x')
    return command_line.data(monkeypatch, capsys, 'import', *given, *options)

  return imported


def last(*values):
  """A reward of every episode: 0, and these values at the last step."""
  return [[0.0] * (length - 1) + [float(v)] for v, length in zip(values, STEPS, strict=True)]


def test_rewards_that_contradict_the_end_reason_that_was_asked_for_are_refused(run, tmp_path):
  lost = last(1, 0, 0)
  lost[2][1] = 1.0
  for reason, found in (
    ('success', 'a reward of 0 at the end of 2 episodes (1, 2), expected 1'),
    ('failure', 'a reward of 1 at the end of 1 episode (0), expected 0'),
  ):
    status, _, _ = run(lost, f'--end-reason={reason}')
    assert f'info.json: next.reward: found {found} with --end-reason={reason}' in status
    assert '--success=next.reward' in status
    assert '--success=none' in status
    assert not (tmp_path / 'out').exists()
    shutil.rmtree(tmp_path / 'dataset')


@pytest.mark.parametrize(
  'options, expected',
  [
    (('--end-reason=success', '--success=next.reward'), ['SUCCESS', 'FAILURE', 'FAILURE']),
    (('--end-reason=success', '--success=none'), ['SUCCESS'] * 3),
    (('--end-reason=timeout',), ['SUCCESS', 'TIMEOUT', 'TIMEOUT']),
    ((), ['SUCCESS', 'CUT', 'CUT']),
  ],
)
def test_what_an_end_in_a_reward_of_0_becomes_is_said(options, expected, run, tmp_path):
  status, printed, _ = run(last(1, 0, 0), *options)
  assert status == 0
  assert ends(tmp_path / 'out') == expected
  said = 'flags: next.reward: a reward of 0 at the end of 2 episodes (1, 2): end reason {}; --suc'
  told = {'TIMEOUT': said.format('timeout'), 'CUT': said.format('cut')}.get(expected[1])
  assert told is None or told in printed
  assert told is not None or 'a reward of 0' not in printed


@pytest.mark.parametrize('value', [1.0, 0.0, -1.0, 0.3])
def test_rewards_that_tell_nothing_contradict_nothing_and_are_not_called_read(value, run, tmp_path):
  status, printed, _ = run([[value] * length for length in STEPS], '--end-reason=success')
  assert status == 0
  assert ends(tmp_path / 'out') == ['SUCCESS'] * 3
  assert 'flags: next.reward -> success' not in printed
  assert 'flags: next.reward: not read' in printed


def test_the_last_reward_is_that_of_the_last_row_in_time(run, tmp_path):
  run(last(1, 1, 1), '--success=none')
  path = tmp_path / 'dataset/data/chunk-000/episode_000000.parquet'
  table = pq.read_table(path)
  lerobot_files.write_parquet(path, table.take(list(range(len(table)))[::-1]))
  options = ('--from=lerobot', '--name=x', '--end-reason=success')
  import_again = (tmp_path / 'dataset', '--to', tmp_path / 'again', *options)
  parser = argparse.ArgumentParser()
  command.add(parser.add_subparsers())
  parsed = parser.parse_args(['import', *map(str, import_again)])
  parsed.run(parsed)
  assert ends(tmp_path / 'again') == ['SUCCESS'] * 3


@pytest.mark.parametrize('option', ['next.reward', 'next.reward==1', 'next.reward>=0.5'])
def test_a_named_reward_of_1_at_every_step_of_lerobot_is_refused(option, run, tmp_path):
  rewards = last(1, 1, 0)
  rewards[1] = [1.0] * STEPS[1]
  status, _, _ = run(rewards, f'--success={option}')
  assert 'episode_000001.parquet, episode 1: next.reward: found a reward of' in status
  assert 'at every step, which tells nothing of success' in status
  assert '--success=none' in status
  assert not (tmp_path / 'out').exists()


def test_episodes_with_a_reward_that_tells_nothing_can_be_left_out(run, tmp_path):
  rewards = last(1, 1, 0)
  rewards[1] = [1.0] * STEPS[1]
  status, printed, _ = run(rewards, '--success=next.reward', '--on-error=skip')
  assert status == 0
  assert '2 episodes imported, 1 left out' in printed
  assert ends(tmp_path / 'out') == ['SUCCESS', 'FAILURE']


def test_a_named_reward_of_1_at_every_step_of_rlds_is_refused(tmp_path):
  foreign.simple(
    tmp_path / 'data', {'reward': np.float32}, lambda e, t: {'reward': float(e == 2 or t == 3)}
  )  # of 4, 1 and 3 steps
  message = (
    r'episode 2.*: steps/reward: found a reward of 1 at every step.*data.mapping.success=none'
  )
  for success in ('reward', 'steps/reward', 'reward==1'):
    with pytest.raises(ValueError, match=message.replace('of 1', 'of (1|==1)')):
      index.load(tmp_path / 'data', {'success': success})
  (report,) = validation.validate(tmp_path / 'data', {'success': 'reward'})
  assert any('at every step' in problem.message for problem in report.problems)
  assert ends(tmp_path / 'data') == ['CUT'] * 3
  foreign.simple(
    tmp_path / 'told', {'reward': np.float32}, lambda e, t: {'reward': float((e, t) == (0, 3))}
  )
  assert ends(tmp_path / 'told', {'success': 'reward'}) == ['SUCCESS', 'FAILURE', 'FAILURE']
