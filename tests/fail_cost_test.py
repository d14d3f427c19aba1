"""What a failure costs, and what is said at once where the episodes cannot tell it."""

import contextlib
import dataclasses
import io

import command_line
import numpy as np
import pytest
import robot
import tiny

from aloe_jax import command_line as command_line_lib
from aloe_jax import train
from aloe_jax import types
from aloe_jax.data import outcomes
from aloe_jax.run import checkpoints
from aloe_jax.run import fail_cost
from aloe_jax.run import kept
from experiments import laundry

CUT, FAILURE, SUCCESS = types.EndReason.CUT, types.EndReason.FAILURE, types.EndReason.SUCCESS


def make_episode(end, length=5, source=types.Source.DEMO):
  ends = [types.EndReason.NONE] * (length - 1) + [end]
  return tiny.make_episode(np.random.default_rng(length), ends, source)


@pytest.mark.parametrize('others, expected', [((), 5.0), ((7,), 6.0)])
def test_it_is_the_mean_length_of_successful_demonstrations(others, expected):
  episodes = [make_episode(SUCCESS, length) for length in (5, *others)]
  helped = make_episode(SUCCESS, 20)
  helped.source[10:] = types.Source.HUMAN
  steps = tiny.make_steps([make_episode(FAILURE, 30), *episodes, helped])
  config = laundry.get_config('sim')
  assert fail_cost.find(config, steps) == expected
  config.fail.lengths = 2.0
  assert fail_cost.find(config, steps) == 2 * expected
  config.fail.cost = 11.0
  assert fail_cost.find(config, steps) == 11


@pytest.mark.parametrize(
  'episode, found',
  [
    (make_episode(SUCCESS, source=types.Source.POLICY), 'there is no demonstration in'),
    (make_episode(FAILURE), 'of 1 demonstrations none succeeds in'),
    (make_episode(CUT), 'of 1 demonstrations none succeeds in'),
  ],
)
def test_without_a_success_to_take_it_from_it_is_to_be_given_unless_imitation_is_all(
  episode, found
):
  config, steps = laundry.get_config('sim'), tiny.make_steps([episode])
  wanted = 'give --config.fail.cost, in steps'
  with pytest.raises(ValueError, match=f'{found} the episodes of {config.sim.task}; {wanted}'):
    fail_cost.find(config, steps)
  config.data.episodes = ('data/monday', 'data/tuesday')
  with pytest.raises(ValueError, match=f'{found} data/monday, data/tuesday, the episodes of'):
    fail_cost.find(config, steps)
  config.sim.task = ''
  with pytest.raises(ValueError, match=f'{found} data/monday, data/tuesday; {wanted}'):
    fail_cost.find(config, steps)
  config.iterations = 0
  assert fail_cost.find(config, steps) is None


@pytest.fixture(scope='module')
def cut(tmp_path_factory):
  """A robot's demonstrations of which nobody has said how they went."""
  ends = np.array([types.EndReason.NONE] * (robot.LENGTH - 1) + [CUT], np.int8)
  made = [robot.make_episode(number, end_reason=ends) for number in (0, 2)]
  return robot.write_episodes(tmp_path_factory.mktemp('cut') / 'episodes', *made)


def test_a_run_that_needs_outcomes_stops_at_once_where_there_are_none(cut, tmp_path):
  workdir = tmp_path / 'run'
  status, output, errors = command_line.run(
    'train', *robot.make_flags(data__episodes=(str(cut),)), f'--workdir={workdir}'
  )
  assert status == 1
  assert errors.startswith(f'error: {cut}: No episode has an outcome: all end in a cut')
  for option in ('--end-reason=success', '--config.data.mapping.success', '--config.fail.cost'):
    assert option in errors
  assert 'Encode' not in output + errors
  assert not workdir.exists()


def test_imitation_alone_needs_no_outcome_and_invents_no_cost(cut, tmp_path, compiled_once):
  workdir = tmp_path / 'run'
  flags = robot.make_flags(
    data__episodes=(str(cut),),
    data__norm_stats='compute',
    iterations=0,
    actor__warm_start_updates=2,
  )
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed):
    train.main([*flags, f'--workdir={workdir}'])
  lines = printed.getvalue().splitlines()
  (said,) = (n for n, line in enumerate(lines) if line.startswith('No episode has an outcome'))
  assert not any(line.startswith('Encode') for line in lines[:said])
  checkpoint = workdir / 'checkpoints' / '0'
  assert checkpoints.read_meta(checkpoint, 'fail_cost')['fail_cost'] is None
  # Who goes on from it has its own.
  config = robot.make_config(actor__checkpoint=str(checkpoint))
  steps = tiny.make_steps([make_episode(SUCCESS, 6)])
  assert fail_cost.find(config, steps) == 6
  with pytest.raises(SystemExit) as stopped:
    train.main([f'--workdir={workdir}', '--config.iterations=1'])
  assert 'No episode has an outcome' in stopped.value.code
  # What the message offers works, in the same run: nothing has used a cost so far.
  given = command_line_lib.parse(
    command_line_lib.parser('train', ''),
    [f'--workdir={workdir}', '--config.iterations=1', '--config.fail.cost=40.0'],
  )
  assert kept.config(given, 'train').fail.cost == 40
  with pytest.raises(SystemExit, match='the run has discount = 0.99'):
    kept.config(dataclasses.replace(given, overrides=('--config.discount=0.5',)), 'train')


def test_inspect_says_so_too(cut, monkeypatch, capsys):
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', cut)
  assert status == 0
  assert outcomes.NONE_KNOWN in printed
  assert '--end-reason=success' in printed and '--config.fail.cost' in printed


def test_import_says_so_too(tmp_path, monkeypatch, capsys):
  recording = tmp_path / 'recordings' / 'one'
  recording.mkdir(parents=True)
  for name in ('state', 'action'):
    np.save(recording / f'{name}.npy', np.ones((3, 7), np.float32))
  for end, known in (('cut', False), ('success', True)):
    options = ('--to', tmp_path / end, '--name=arm', '--end-reason', end, '--prompt=wipe')
    status, printed, errors = command_line.data(
      monkeypatch, capsys, 'import', recording.parent, '--from=plain', *options
    )
    assert status == 0, errors
    assert (outcomes.NONE_KNOWN in printed) != known
