"""What a card foretells of a policy, through the door of the report, on a run that is there."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import config as config_lib
from aloe_jax import estimates
from aloe_jax import report
from aloe_jax.reporting import card
from aloe_jax.reporting import foretold
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from experiments import foretell

OLD = pathlib.Path(__file__).parent / 'golden' / 'old_run' / 'workdir'
GAINS = ('foretold_gain', 'foretold_gain_start', 'fqe_gain')

pytestmark = pytest.mark.usefixtures('compiled_once')


@pytest.fixture
def workdir(tmp_path):
  """A run that has learnt a critic, and no actor after it."""
  shutil.copytree(OLD, tmp_path / 'run', copy_function=shutil.copyfile)
  return tmp_path / 'run'


def given(workdir):
  """Flags of a report on the run's own episodes."""
  episodes = ','.join(str(path) for path in sorted((workdir / 'episodes').iterdir()))
  return f'--workdir={workdir}', '--iteration=1', f'--episodes={episodes}', '--foretell=full'


def add_actor(workdir):
  """Another policy, of random parameters, as what iteration 1 has learnt."""
  built = experiment.Experiment(config_lib.read(workdir / 'config.json'))
  rng = np.random.default_rng(0)
  state = jax.tree.map(
    lambda leaf: (0.2 * tiny.normal(rng, *leaf.shape)).astype(leaf.dtype), built.abstract_state()
  )
  meta = {'architecture': built.architecture(), 'fail_cost': 60.0, 'iteration': 1}
  checkpoints.Checkpoints(workdir / 'checkpoints').save(2, state, {}, meta)


def test_the_same_policy_gains_nothing_by_any_measure(workdir):
  shutil.copytree(workdir / 'checkpoints' / '1', workdir / 'checkpoints' / '2')
  report.main(given(workdir))
  numbers = json.loads((workdir / 'report.json').read_text())
  # To the bit: samples and training differ by the policy alone.
  assert [numbers[name] for name in GAINS] == [0, 0, 0]
  assert numbers['foretold'] == 'cannot tell'  # by a critic that has hardly learnt
  page = (workdir / 'report.html').read_text()
  told = 'The policy of iteration 1 may do better or worse than the one before: this critic cannot'
  assert told in page
  assert 'The critic was trained on these episodes' in page
  assert not (workdir / 'report' / 'bank').exists()


def test_another_policy_is_told_from_the_one_before_and_the_run_keeps_its_report(workdir):
  add_actor(workdir)
  (workdir / 'report.json').write_text('{}')
  foretell.main(given(workdir))
  numbers = json.loads((workdir / 'foretold' / '1' / 'report.json').read_text())
  assert all(numbers[name] != 0 for name in GAINS)
  assert len({numbers[name] for name in GAINS}) == 3
  assert all(numbers[f'{name}_low'] <= numbers[name] <= numbers[f'{name}_high'] for name in GAINS)
  assert numbers['foretold'] in ('better', 'worse', 'no difference', 'cannot tell')
  assert (workdir / 'report.json').read_text() == '{}'


def numbers_of(gain, slope, **others):
  """Estimates of (low, high)."""
  told = {'foretold_gain': gain, 'advantage_slope': slope} | others
  return {name: estimates.Estimate((a + b) / 2, a, b) for name, (a, b) in told.items()}


@pytest.mark.parametrize(
  'told, expected',
  [
    (numbers_of((1, 2), (0.5, 1)), 'better'),
    (numbers_of((-2, -1), (0.5, 1)), 'worse'),
    (numbers_of((-1, 2), (0.5, 1)), 'no difference'),
    (numbers_of((1, 2), (-0.5, 1)), 'cannot tell'),  # whose advantages are noise
    (numbers_of((1, 2), (0.5, 1), fqe_gain=(-3, -1)), 'worse'),  # once it goes on
    (numbers_of((-2, -1), (0.5, 1), bias_v=(15, 17), returns_std=(17, 17)), 'cannot tell'),
    (numbers_of((-2, -1), (0.5, 1), bias_v=(2, 4), returns_std=(17, 17)), 'worse'),
    (numbers_of((-2, -1), (0.5, 1), advantage=(-1.1, -0.9), advantage_std=(2, 2)), 'cannot tell'),
    (numbers_of((-2, -1), (0.5, 1), advantage=(-0.3, -0.1), advantage_std=(2, 2)), 'worse'),
    (numbers_of((-2, -1), (0.5, 1), advantage=(0.9, 1.1), advantage_std=(2, 2)), 'worse'),
    (numbers_of((1, 2), (0.5, 1), advantage=(-1.1, -0.9), advantage_std=(2, 2)), 'better'),
    (numbers_of((np.nan, np.nan), (0.5, 1)), 'cannot tell'),
    (numbers_of((1, 2), (0.5, 1), fqe_gain=(np.nan, np.nan)), 'cannot tell'),
  ],
)
def test_a_verdict_needs_a_sign_without_doubt_and_advantages_that_come_true(told, expected):
  assert foretold.verdict(told) == expected


def test_the_sentence_says_what_is_expected_and_what_that_is_made_of():
  told = numbers_of((-2, -1), (0.4, 0.6), fqe_gain=(-5, -3))
  told['fqe_points'] = foretold.points(told['fqe_gain'], estimates.Estimate(40, 39, 41))
  text = foretold.sentence(told, 2, held_out=True)
  assert text == (
    'The policy of iteration 2 is expected to do worse than the one before. How often this comes '
    'true is not known: let rollouts judge. By this critic its chunks gain -1.5 steps (-2.0 to '
    '-1.0) each over those of before; acting throughout, it gains -4.0 steps (-5.0 to -3.0) from '
    'the start of a fragment, which is -10.0 points (-12.5 to -7.5) of success, if none of it is '
    'speed. Of what its advantages promise, 50 % (40 to 60) comes true. Intervals are of the '
    'states asked about, and leave out what the critic gets wrong.'
  )
  assert [line.verdict for line in card.lines(told)] == ['bad', 'bad', 'good']


def test_a_loss_that_a_critic_sees_in_all_that_was_executed_is_no_verdict():
  told = numbers_of((-1.4, -0.9), (0.8, 1.2), advantage=(-1.1, -0.7), advantage_std=(3, 3))
  text = foretold.sentence(told, 1, held_out=True)
  assert text.startswith('The policy of iteration 1 may do better or worse than the one before:')
  assert 'It rates what was executed far below what the policy samples, and what was exec' in text


def test_a_first_card_whose_v_is_far_too_high_says_what_became_of_such_runs():
  told = numbers_of((1, 2), (0.5, 1), bias_v=(15, 17), returns_std=(17, 17))
  first, later = (foretold.sentence(told, number, held_out=True) for number in (1, 2))
  assert "no higher in the mean than config.agent='filtered_bc'." in first
  assert first.startswith('The policy of iteration 1 may do better or worse')
  assert 'filtered_bc' not in later and 'V is far off' in later
  low = told | numbers_of((1, 2), (0.5, 1), bias_v=(-17, -15))
  assert 'filtered_bc' not in foretold.sentence(low, 1, held_out=True)


def test_no_points_are_told_where_success_does_not_pay_for_sure():
  gain = estimates.Estimate(4, 3, 5)
  assert np.isnan(foretold.points(gain, estimates.Estimate(40, -1, 80)).value)
