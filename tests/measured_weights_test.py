"""Weights by what is believed of an advantage, by hand; and chunks drawn in their proportion."""

import chunk_weights_test
import numpy as np
import pytest
import tiny

from aloe_jax import losses
from aloe_jax.learning import measured_weights

pytestmark = pytest.mark.usefixtures('quick_compilation')

ADVANTAGE = np.float32([0.2, -0.1, 0.4])
SAMPLED = np.float32([[0.1, -0.1], [0.3, -0.3], [0.0, 0.0]])  # of mean zero


def weigh(settings, trust):
  """Weights of three chunks of a buffer of five."""
  rows = np.array([0, 1, 3])
  judged = measured_weights.Judged(rows, ADVANTAGE, SAMPLED, np.zeros(3), np.zeros(3))
  found = measured_weights.weigh(judged, settings, trust, 5)
  np.testing.assert_array_equal(found.weight[[2, 4]], 0)
  np.testing.assert_array_equal(found.advantage[rows], ADVANTAGE)
  return found.weight[rows]


def test_the_soft_value_is_the_log_of_the_mean_exponential():
  found = losses.soft_value(np.float32([[1, 3], [2, 2]]), 2.0)
  expected = [2 * np.log((np.exp(0.5) + np.exp(1.5)) / 2), 2]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize('trust', [1.0, 0.5])
def test_a_chunk_weighs_by_how_it_compares_with_the_policys_own(trust):
  settings = tiny.make_settings(beta_unit='raw', reward_scale=0.1, beta=2.0, clip=3.0)
  temperature = 0.1 * 2 / trust
  over = np.exp(ADVANTAGE / temperature) / np.exp(SAMPLED / temperature).mean(axis=1)
  expected = over / over.mean()
  found = weigh(settings, trust)
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_beta_counts_in_standard_deviations_of_the_advantage():
  of_sigma = tiny.make_settings(beta_unit='sigma', beta=1.5)
  of_steps = tiny.make_settings(beta_unit='raw', reward_scale=ADVANTAGE.std(), beta=1.5)
  np.testing.assert_allclose(
    weigh(of_sigma, 1.0),
    weigh(of_steps, 1.0),
    rtol=1e-5,
  )


def test_the_exponent_is_clipped():
  settings = tiny.make_settings(beta_unit='raw', reward_scale=0.01, beta=1.0, clip=2.0)
  weight = weigh(settings, 1.0)
  assert weight[2] / weight[1] == pytest.approx(np.exp(4), rel=1e-5)


@pytest.mark.parametrize(
  'clip, expected',
  [
    (3.0, np.array([1, np.exp(-6), 1]) / (2 / 3 + np.exp(-6) / 3)),
    (88.0, [1.5, 0, 1.5]),
    (200.0, [1.5, 0, 1.5]),
    (1e9, [0, 0, 3]),
  ],
)
def test_a_clip_that_bounds_nothing_leaves_numbers_to_draw_by(clip, expected):
  # The soft values are 0.1, 0.3 and 0, and the exponents about 1000, -4000 and 4000.
  settings = tiny.make_settings(beta_unit='raw', reward_scale=0.01, beta=0.01, clip=clip)
  weight = weigh(settings, 1.0)
  np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-30)
  drawn = measured_weights.draw(np.array([0, 1, 3]), weight, seed=0)
  assert len(drawn) == 3 * measured_weights.COPIES
  assert np.isin(drawn, np.array([0, 1, 3])[weight > 0.001]).all()


def test_nothing_believed_is_imitation():
  found = weigh(tiny.make_settings(), 0.0)
  np.testing.assert_allclose(found, 1, atol=1e-5)


def test_rows_are_drawn_as_often_as_they_weigh():
  rows, weight = np.array([3, 5, 8, 9]), np.float32([2.5, 0.5, 0.0, 1.0])
  for seed in range(20):
    values, counts = np.unique(measured_weights.draw(rows, weight, seed), return_counts=True)
    np.testing.assert_array_equal(values, [3, 5, 9])
    np.testing.assert_array_equal(counts, [10, 2, 4])


def test_what_is_left_of_a_whole_number_is_drawn_by_chance():
  rng = np.random.default_rng(0)
  rows, weight = np.arange(50), rng.exponential(size=50)
  weight /= weight.mean()
  counts = np.zeros(50)
  for seed in range(2000):
    drawn = measured_weights.draw(rows, weight, seed)
    assert len(drawn) == measured_weights.COPIES * 50
    once = np.bincount(drawn, minlength=50)
    assert (np.abs(once - measured_weights.COPIES * weight) < 1 + 1e-6).all()
    counts += once
  np.testing.assert_allclose(counts / 2000, measured_weights.COPIES * weight, atol=0.05)


@pytest.mark.parametrize('batch_size', [1, 4, 100])
def test_judging_is_the_agents_advantage_of_the_chunk_and_of_each_sample(batch_size):
  learner = tiny.make_learner()
  params = tiny.make_state(learner).critic
  buffer = chunk_weights_test.make_buffer()
  buffer.continue_ended()
  drawn, done = chunk_weights_test.make_bank(len(buffer)), []
  rows = buffer.starts[buffer.starts != 2]
  found = measured_weights.judge(
    learner, params, buffer, rows, drawn.at, batch_size=batch_size, progress=done.append
  )
  asked = dict(critic=learner.networks.critic, settings=learner.settings)
  for place, row in enumerate(rows):
    batch = buffer.actor_batch(np.array([row]))
    actions = drawn.action[[row]]
    advantage = learner.agent.advantage(params, batch, actions, **asked)
    np.testing.assert_allclose(found.advantage[place], advantage[0], rtol=1e-4, atol=1e-6)
    for sample in range(actions.shape[1]):
      whole = np.ones_like(batch.valid)
      of_sample = batch.replace(action=actions[:, sample], valid=whole, ended=np.zeros(1, bool))
      advantage = learner.agent.advantage(params, of_sample, actions, **asked)
      np.testing.assert_allclose(found.sampled[place, sample], advantage[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found.returns[place], batch.returns[0])
  assert done[-1] == len(rows)
  assert found.at(rows[2:]).row.tolist() == rows[2:].tolist()
