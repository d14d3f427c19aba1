"""The measured rule through the command: what is held out, what is told, and what refuses it."""

import json
import types as types_lib

import command_line
import numpy as np
import pytest
import rounds
import tiny

from aloe_jax import types
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay
from aloe_jax.learning import trust
from aloe_jax.run import imitated
from aloe_jax.run import weighing

DEMO, POLICY, HUMAN = types.Source.DEMO, types.Source.POLICY, types.Source.HUMAN
NONE, SUCCESS, FAILURE, TIMEOUT, CUT = (
  types.EndReason[name] for name in ('NONE', 'SUCCESS', 'FAILURE', 'TIMEOUT', 'CUT')
)
DEBUG = ('--config=experiments/laundry.py:sim_debug', '--config.evaluation.episodes=4')


def make_buffer(*ends, rewards=None):
  """Episodes of seven steps each that ended so: of the policy, or of whom is said with the end.

  Args:
    *ends: of the episodes.
    rewards: [steps of all] that were recorded, and are trusted.
  """
  rng = np.random.default_rng(0)
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, discount=0.9, fail_cost=5.0)
  told = [end if isinstance(end, tuple) else (end, POLICY) for end in ends]
  episodes = [tiny.make_episode(rng, [NONE] * 6 + [end], source=who) for end, who in told]
  steps = tiny.make_steps(episodes)
  steps.reward = rewards
  return replay.Replay(steps, tiny.INPUTS, chunking)


@pytest.fixture(scope='module')
def trained(compiled_once, tmp_path_factory):
  """A run of the smallest size, and what its command printed."""
  workdir = tmp_path_factory.mktemp('measured') / 'run'
  result = command_line.run('train', *DEBUG, f'--workdir={workdir}', '--config.sim.rollouts=20')
  status, printed, errors = result
  assert status == 0, errors
  return workdir, printed


def metrics(workdir, phase):
  lines = (workdir / 'metrics' / 'metrics.jsonl').read_text().splitlines()
  return [line for line in map(json.loads, lines) if line['phase'] == phase]


def test_a_run_says_how_far_its_critic_is_believed_and_by_which_test(trained):
  workdir, printed = trained
  (told,) = metrics(workdir, 'weights')
  assert told['trust_episodes'] == 6  # numbers 1, 4, 7, 10, 13 and 19 of 20
  assert 0 <= told['trust'] <= 1
  assert told['beta'] == 0.2  # of the rule, as nobody set one
  assert np.isfinite([told['trust_slope'], told['trust_error']]).all()
  assert (
    f'Weights 1: in 6 episodes held out from the critic its advantages came true by '
    f'{told["trust_slope"]:.2f} (standard error {told["trust_error"]:.2f})'
  ) in printed


def test_an_actor_learnt_again_by_the_other_rule_needs_the_critic_again(trained):
  workdir, _ = trained
  again = ('--redo=actor', '--config.actor.rule=paper', f'--workdir={workdir}')
  status, _, errors = command_line.run('train', *DEBUG, '--config.sim.rollouts=20', *again)
  assert status != 0
  assert "the run has actor.rule = 'measured'" in errors


def test_episodes_that_are_held_out_are_in_no_batch_of_the_critic():
  buffer = make_buffer(*[SUCCESS] * 5)
  learnt = buffer.starts[~buffer.held_out[buffer.starts]]
  bank = np.zeros((len(buffer), 2, tiny.HORIZON, tiny.ACTION), np.float32)
  buffer.continue_ended()
  seen, proprio = set(), buffer.observation(np.arange(len(buffer))).proprio
  batch = buffer.critic_batches(0, 0, 20, 8, bank, rows=learnt)
  for state in batch.observation.proprio.reshape(-1, proprio.shape[1]):
    (row,) = np.flatnonzero((proprio == state).all(axis=1))
    seen.add(int(buffer.episode[row]))
  assert seen == {0, 2, 3}  # of the five, numbers 1 and 4 are held out


def test_failures_are_not_imitated_but_for_people_who_ran_out_of_time_and_what_was_cut_short():
  ends = SUCCESS, FAILURE, TIMEOUT, CUT
  buffer = make_buffer(*ends, *((end, HUMAN) for end in ends), (TIMEOUT, DEMO))
  everything = agent_lib.Agent('toy', agent_lib.every_chunk)
  found = {
    failures: set(buffer.episode[imitated.rows(everything, buffer, 1, failures=failures)])
    for failures in (True, False)
  }
  assert found == {True: set(range(9)), False: {0, 3, 4, 6, 7, 8}}


# The chunks of an episode of seven steps start at its steps 0 to 6, which are 6 steps apart; a
# step costs 1/15 of a scaled reward here, so that more than a tenth of 6/15 is a rise.
@pytest.mark.parametrize(
  'rises, rewards, stay',
  [
    ((0.05, 0.03, -1.0), None, {0, 1}),
    ((-0.1, 0.041, 0.039), None, {0, 2}),
    ((0.0, 0.0, 0.0), None, {0}),
    ((0.041, 0.039, 0.0), np.full(28, -1.0), {0, 1}),
    ((0.041, 0.081, 0.0), np.full(28, -2.0), {0, 2}),
    ((0.001, 0.0, -0.1), np.arange(28) % 7 == 6, {0, 1}),  # a step costs nothing
    ((0.001, 0.0, -0.1), np.full(28, 1.0), {0, 1}),  # nor does one that is rewarded
  ],
)
def test_people_who_ran_out_of_time_are_imitated_where_v_rose(rises, rewards, stay):
  buffer = make_buffer(SUCCESS, *[(TIMEOUT, HUMAN)] * 3, rewards=rewards)
  assert buffer.chunking.reward_scale == pytest.approx(1 / 15)
  v = np.zeros(len(buffer))
  for episode, rise in enumerate(rises, start=1):
    own = buffer.starts[buffer.episode[buffer.starts] == episode]
    v[own[0]], v[own[-1]] = -0.5, -0.5 + rise
    v[own[1:-1]] = -9.0  # what lies between does not count
  rows = buffer.starts
  found = imitated.without_idle(buffer, rows, v[rows])
  assert set(buffer.episode[found]) == stay
  assert len(found) == 7 * len(stay)


@pytest.mark.parametrize('names', [('one', 'late'), ('late',)])
def test_a_run_says_how_many_who_ran_out_of_time_are_imitated(
  names, robots_rounds, tmp_path_factory, monkeypatch, capsys
):
  monkeypatch.setattr(imitated, 'RISE', np.inf)  # whatever a critic of 20 updates says
  workdir = tmp_path_factory.mktemp('late') / 'run'
  with rounds.quick(tmp_path_factory):
    rounds.begin(workdir, rounds.given(robots_rounds, *names), fail__cost=20)
  stay, why = (0, 'where V rose') if 'one' in names else (2, 'as there is nothing else')
  printed = capsys.readouterr().out
  assert (
    f'Weights 1: in 2 fragments a person ran out of time; {stay} are imitated, {why}.' in printed
  )
  (told,) = metrics(workdir, 'weights')
  assert (told['late_fragments'], told['late_imitated']) == (2, stay)


def test_where_all_failed_the_message_names_the_other_rule():
  everything = agent_lib.Agent('toy', agent_lib.every_chunk)
  with pytest.raises(ValueError, match="'toy' imitates none .*config.actor.rule is 'paper'"):
    imitated.rows(everything, make_buffer(FAILURE), 1, failures=False)


def test_weights_of_every_step_go_with_the_papers_rule_alone(tmp_path):
  command_line.assert_refused(
    command_line.run('train', *DEBUG, '--config.actor.weights=per_step', f'--workdir={tmp_path}/x'),
    "config.actor.weights is 'per_step', but config.actor.rule is 'measured'",
  )


@pytest.mark.parametrize(
  'episodes, told',
  [
    (4, '4 episodes held out from the critic are too few to test its advantages; 60 % of each'),
    (5, 'in 5 episodes held out from the critic its advantages, or what came of them, vary too'),
  ],
)
def test_too_few_episodes_are_told_from_those_that_tell_nothing(episodes, told):
  same = np.ones(2 * episodes)
  found = trust.measure(same, same, same, np.repeat(np.arange(episodes), 2))
  assert weighing.told(found).startswith(told)


@pytest.mark.parametrize('share, told', [(1.0, False), (0.01, False), (0.0023, True), (np.nan, 1)])
def test_weights_that_leave_nearly_nothing_are_told(share, told, capsys):
  weighing.tell_narrow('Weights 1', share, 1000)
  printed = capsys.readouterr().out
  assert ('Weights 1: nearly nothing is imitated: ' in printed) == told
  assert share != 0.0023 or 'an effective 2.3 of 1000 chunks' in printed


def test_a_rule_that_an_agent_does_not_heed_is_told(tmp_path):
  _, printed, errors = command_line.run(
    'train', *DEBUG, '--config.agent=awr', '--config.actor.rule=paper', '--dry_run',
    '--topology=cpu:1', f'--workdir={tmp_path}/x',
  )  # fmt: skip
  assert "config.actor.rule = 'paper' does nothing" in printed + errors


def test_a_critic_that_says_nan_ends_the_run_with_what_to_do(monkeypatch):
  buffer = make_buffer(SUCCESS, FAILURE)
  rows = buffer.starts
  advantage = np.where(rows == rows[-1], np.nan, 0.0)
  judged = types_lib.SimpleNamespace(advantage=advantage, v=np.zeros(len(rows)))
  monkeypatch.setattr(weighing.measured_weights, 'judge', lambda *given, **told: judged)
  judges = weighing.Judges(None, None, buffer, lambda rows: rows, 8)
  with pytest.raises(SystemExit, match='Weights 1: found nan .* lower config.critic.lr'):
    weighing._measured(judges, rows, 2, 'Weights 1', 0)
