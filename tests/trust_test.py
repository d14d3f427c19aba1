"""How far a critic is believed: which episodes test it, and what its slope makes of it."""

import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import held_out
from aloe_jax.learning import trust

DEMO, POLICY, HUMAN = types.Source.DEMO, types.Source.POLICY, types.Source.HUMAN


def make_chunks(slope, noise=1.0, episodes=40, length=25, seed=0):
  """Chunks whose outcome rises by `slope` with the advantage; V's error is in both."""
  rng = np.random.default_rng(seed)
  count = episodes * length
  true, v_error, luck = rng.normal(size=(3, count))
  advantage, v = true - v_error, v_error
  outcome = slope * true - v_error + noise * luck
  return advantage, v, outcome, np.repeat(np.arange(episodes), length)


def test_of_the_first_fifteen_episodes_every_third_is_held_out_then_every_eighth():
  found = held_out.rows(np.full(40, POLICY), np.ones(40, bool))
  assert np.flatnonzero(found).tolist() == [1, 4, 7, 10, 13, 19, 27, 35]


def test_whole_episodes_are_held_out_and_those_without_a_policy_are_not_counted():
  source = np.array([DEMO, DEMO, POLICY, POLICY, DEMO, POLICY, HUMAN, POLICY])
  is_first = np.array([1, 0, 1, 0, 1, 1, 0, 1], bool)
  found = held_out.rows(source, is_first)  # the second of three
  np.testing.assert_array_equal(found, [0, 0, 0, 0, 0, 1, 1, 0])


def test_what_is_held_out_stays_so_when_episodes_are_added():
  source = np.full(64, POLICY)
  whole = held_out.rows(source, np.ones(64, bool))
  for count in range(65):
    part = held_out.rows(source[:count], np.ones(count, bool))
    np.testing.assert_array_equal(part, whole[:count])


def posterior(slope, error):
  """Of `trust.PRIOR` and a slope of some standard error, by precision."""
  own, prior = error**-2, trust.PRIOR_DEVIATION**-2
  return (own * slope + prior * trust.PRIOR) / (own + prior)


@pytest.mark.parametrize('slope', [0.3, 0.5, 0.9])
def test_a_slope_that_is_known_well_is_believed(slope):
  found = trust.measure(*make_chunks(slope))
  assert found.slope == pytest.approx(slope, abs=3 * found.error)
  assert found.error < 0.05
  assert found.value == pytest.approx(slope, abs=0.1)
  assert found.value == pytest.approx(posterior(found.slope, found.error))
  assert found.episodes == 40


def test_a_slope_that_is_known_badly_is_drawn_to_what_is_usual():
  found = trust.measure(*make_chunks(0.0, noise=8.0))
  assert 0.15 < found.error < 0.4
  assert found.value == pytest.approx(posterior(found.slope, found.error))
  assert abs(found.value - found.slope) > 0.1


@pytest.mark.parametrize('slope, expected', [(2.0, 1.0), (-0.5, 0.0)])
def test_nothing_is_enlarged_or_turned_round(slope, expected):
  assert trust.measure(*make_chunks(slope)).value == expected


def test_too_few_episodes_leave_what_is_usual():
  found = trust.measure(*make_chunks(1.0, episodes=4))
  assert found.value == trust.PRIOR
  assert np.isnan(found.slope)
  assert found.episodes == 4


def test_unknown_outcomes_do_not_count():
  advantage, v, outcome, episode = make_chunks(0.5)
  unknown = np.append(outcome, np.full(100, np.nan))
  more = [np.append(x, np.full(100, 9.0)) for x in (advantage, v)]
  found = trust.measure(*more, unknown, np.append(episode, np.arange(100) + 1000))
  expected = trust.measure(advantage, v, outcome, episode)
  assert found.episodes == 40
  assert found.slope == pytest.approx(expected.slope, rel=1e-9)
