"""What a user has a run do: learn again, further, at another rate from now on, or no longer."""

import json
import shutil

import jax
import numpy as np
import pytest
import rounds

from aloe_jax import checkpoints as listing
from aloe_jax.run import checkpoints
from aloe_jax.run import unfinished


@pytest.fixture(scope='module', autouse=True)
def quick(tmp_path_factory):
  with rounds.quick(tmp_path_factory):
    yield


@pytest.fixture(scope='module')
def finished(after_one_round):
  """A run of one iteration."""
  return after_one_round


@pytest.fixture
def run(finished, tmp_path):
  """Makes a copy of it as it was after a checkpoint."""

  def copy(checkpoint=2, name='run'):
    workdir = tmp_path / name
    shutil.copytree(finished, workdir)
    for number in range(checkpoint + 1, 3):
      shutil.rmtree(workdir / 'checkpoints' / str(number))
    return workdir

  return copy


def printed(capsys):
  return ' '.join(capsys.readouterr().out.split())


def assert_same(found, expected, *fields):
  for field in fields:
    rounds.assert_same_bits(getattr(found, field), getattr(expected, field))


def differ(found, expected):
  pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
  return any(not np.array_equal(a, b) for a, b in pairs)


def read(workdir, number):
  return rounds.state(workdir, number)


def saved(workdir, name, field):
  """A field of the train state in a save inside a phase."""
  like = getattr(read(workdir, 0), field)
  found = unfinished.directories(workdir)
  assert [path.name for _, _, path in found] == [name]
  return checkpoints.restore_parts(found[0][2], {field: like})[field]


def test_the_actor_learns_again_with_another_beta_by_the_critic_that_is_there(
  run, finished, capsys
):
  workdir = run()
  told = rounds.refusal(workdir, '--config.actor.beta=2.0')
  assert 'or give --redo=actor to have the actor learn again with that.' in told
  capsys.readouterr()
  rounds.go_on(workdir, '--redo=actor', '--config.actor.beta=2.0')
  said = printed(capsys)
  for words in (
    'From here on actor.beta = 2.0; it was 0.0.',
    'Iteration 2: the actor of iteration 1 learns again, from checkpoint 1 on; '
    'config.actor.updates = 20. Used again: its critic and the policy that it judged, episodes and '
    'features.',
    'Bank 2: that of iteration 1 is used again.',
  ):
    assert words in said
  assert rounds.numbers(workdir) == [0, 1, 2, 3, 4]
  for number in (0, 1, 2):  # nothing is overwritten
    rounds.assert_same_bits(read(workdir, number), read(finished, number))
  states = {number: read(workdir, number) for number in (1, 2, 3, 4)}
  weights = 'actor', 'actor_ema', 'critic', 'critic_target', 'critic_optimizer', 'actor_optimizer'
  assert_same(states[3], states[1], *weights)
  assert_same(states[4], states[1], 'critic', 'critic_target')
  assert differ(states[4].actor, states[2].actor)
  assert [int(states[number].step) for number in (1, 2, 3, 4)] == [40, 60, 60, 80]
  # A skipped critic costs no room: its files are those of the checkpoint before.
  items = [workdir / 'checkpoints' / str(n) / 'actor' / 'manifest.ocdbt' for n in (1, 3)]
  assert items[0].stat().st_ino == items[1].stat().st_ino
  lines, before = rounds.metrics(workdir), rounds.metrics(finished)
  assert lines[: len(before)] == before  # one curve
  assert [line['step'] for line in lines if line['phase'] == 'weights'] == [41, 61]
  assert [line['step'] for line in lines[-4:]] == [65, 70, 75, 80]
  listing.main([f'--workdir={workdir}'])
  said = capsys.readouterr().out
  assert 'critic, as in 1' in said and 'actor, again, from 1' in said


def test_a_critic_that_learns_again_goes_on_bit_for_bit_wherever_it_is_stopped(run, capsys):
  asked = '--redo=critic', '--config.critic.polyak=0.1'
  expected, workdir = run(name='unbroken'), run()
  rounds.go_on(expected, *asked)
  with rounds.killed_in('Critic 2'):
    rounds.go_on(workdir, *asked)
  for others, told in (
    (('--redo=actor',), 'but iteration 2 of {run}, --redo=critic, is not finished; give the'),
    (('--config.critic.polyak=0.2',), 'have iteration 2, which has begun with that, finish first'),
    ((*asked[:1], '--config.critic.polyak=0.2'), 'the run has critic.polyak = 0.1'),
  ):
    assert told.format(run=workdir) in rounds.refusal(workdir, *others)
  capsys.readouterr()
  rounds.go_on(workdir, *asked)
  assert 'critic and actor of iteration 1 learn again, from checkpoint 0 on' in printed(capsys)
  rounds.assert_same_run(workdir, expected)
  states = {number: read(workdir, number) for number in (0, 1, 3, 4)}
  assert_same(states[3], states[0], 'actor', 'actor_ema')  # the policy that the critic first judged
  assert differ(states[3].critic, states[1].critic)
  assert [int(states[number].step) for number in (3, 4)] == [80, 100]
  assert json.loads((workdir / 'appended.json').read_text()) == [
    {'iteration': 2, 'asked': 'redo=critic', 'of': 1, 'begins': 0, 'bank': 1}
  ]


def test_critic_and_actor_learn_on_and_a_phase_ends_where_no_more_is_wanted(run, capsys):
  workdir = run()
  with rounds.killed_in('Critic 2'):
    rounds.go_on(workdir, '--more=critic,actor', '--config.actor.updates=5')
  critic = saved(workdir, '3-5', 'critic')
  rounds.go_on(workdir, '--config.critic.updates=3')
  said = printed(capsys)
  assert 'Iteration 2: critic and actor learn on from checkpoint 2; config.critic.updates' in said
  assert 'Critic 2: ends after 5 updates, as no more than 3 are wanted now.' in said
  states = {number: read(workdir, number) for number in (2, 3, 4)}
  assert_same(states[3], states[2].replace(critic=critic), 'actor', 'actor_ema', 'critic')
  assert differ(critic, states[2].critic) and differ(states[4].actor, states[2].actor)
  assert [int(states[number].step) for number in (2, 3, 4)] == [60, 65, 70]


def test_a_learning_rate_counts_from_where_the_phase_is(run, finished):
  workdir = run(0)
  with rounds.killed_in('Critic 1'):
    rounds.go_on(workdir)
  critic = saved(workdir, '1-5', 'critic')
  with rounds.killed_in('Actor 1'):
    rounds.go_on(workdir, '--config.critic.lr=0')
  assert_same(read(workdir, 1), read(workdir, 1).replace(critic=critic), 'critic')
  actor = saved(workdir, '2-5', 'actor')
  rounds.go_on(workdir, '--config.actor.lr=0')
  assert_same(read(workdir, 2), read(workdir, 2).replace(actor=actor), 'actor')
  lines, before = rounds.metrics(workdir), rounds.metrics(finished)
  critics = [[line for line in one if line['phase'] == 'critic'] for one in (lines, before)]
  assert critics[0][0] == critics[1][0] and critics[0][1]['step'] == 30
  assert critics[0][3] != critics[1][3]
