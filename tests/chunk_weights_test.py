"""Weights of a whole buffer: one sweep, whatever its batches, and what is said about them."""

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.learning import action_bank
from aloe_jax.learning import chunk_weights
from aloe_jax.learning import learner as learner_lib

pytestmark = pytest.mark.usefixtures('quick_compilation')

NONE, SUCCESS, FAILURE = types.EndReason.NONE, types.EndReason.SUCCESS, types.EndReason.FAILURE


def make_buffer():
  rng = np.random.default_rng(0)
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, discount=0.9, fail_cost=5.0)
  episodes = [
    tiny.make_episode(rng, [NONE] * 6 + [SUCCESS]),
    tiny.make_episode(rng, [NONE] * 3 + [FAILURE], source=types.Source.POLICY),
  ]
  return replay.Replay(tiny.make_steps(episodes), tiny.INPUTS, chunking)


IN_FOURS = dict(batch_size=4, progress=lambda done: None)


def make_bank(rows):
  action = tiny.normal(np.random.default_rng(1), rows, 3, tiny.HORIZON, tiny.ACTION)
  return action_bank.Bank(action, key=None)


def make_weights(weight, advantage, source):
  """Weights of a buffer whose rows are all weighed, and of that buffer only the sources."""
  buffer = object.__new__(replay.Replay)
  buffer.source = np.array(source)
  rows = np.arange(len(weight))
  return chunk_weights.Weights(np.float32(weight), np.float32(advantage), rows), buffer


def settings(**changes):
  return tiny.make_settings(**changes)


@pytest.mark.parametrize('batch_size', [1, 4, 100])
def test_a_sweep_weighs_each_chunk_as_if_it_were_alone(batch_size):
  learner = tiny.make_learner()
  params = tiny.make_state(learner).critic
  buffer = make_buffer()
  buffer.continue_ended()
  drawn = make_bank(len(buffer))
  rows, done = buffer.starts[buffer.starts != 2], []
  found = chunk_weights.sweep(
    learner, params, buffer, rows, drawn.at, batch_size=batch_size, progress=done.append
  )
  expected = [
    learner.agent.advantage(
      params,
      buffer.actor_batch(np.array([row])),
      drawn.action[[row]],
      critic=learner.networks.critic,
      settings=learner.settings,
    )[0]
    for row in rows
  ]
  np.testing.assert_allclose(found.advantage[rows], expected, rtol=1e-4, atol=1e-6)
  expected = learner_lib.advantage_weights(np.array(expected), learner.settings)
  np.testing.assert_allclose(found.weight[rows], expected, rtol=1e-3)
  assert done[-1] == len(rows)
  assert found.weight[rows].mean() == pytest.approx(1, abs=1e-5)
  others = np.setdiff1d(np.arange(len(buffer)), rows)
  np.testing.assert_array_equal(found.weight[others], 0)
  np.testing.assert_array_equal(found.advantage[others], 0)


def test_awr_weighs_without_a_bank():
  learner = tiny.make_learner('awr')
  buffer = make_buffer()
  params = tiny.make_state(learner).critic
  found = chunk_weights.sweep(learner, params, buffer, buffer.starts, None, **IN_FOURS)
  assert np.ptp(found.weight[buffer.starts]) > 0


def test_imitation_has_no_advantage_to_sweep():
  buffer = make_buffer()
  with pytest.raises(ValueError, match='bc has no advantage: all its chunks weigh the same'):
    chunk_weights.sweep(tiny.make_learner('bc'), {}, buffer, buffer.starts, None, **IN_FOURS)


@pytest.mark.parametrize(
  'weight, expected',
  [
    ([1, 1, 1, 1], 1.0),
    ([5, 5], 1.0),
    ([1, 0, 0, 0], 0.25),
    ([2, 1, 1], 16 / 18),
  ],
)
def test_effective_sample_size_by_hand(weight, expected):
  assert chunk_weights.effective_sample_size(np.float32(weight)) == pytest.approx(expected)


def test_diagnostics_by_hand():
  # Advantages have the mean 0.1 and the standard deviation 0.2; 0.1 a step.
  found, buffer = make_weights(
    weight=[3.0, 0.5, 0.5, 0.0],
    advantage=[0.1, 0.5, -0.1, -0.1],
    source=[types.Source.DEMO, types.Source.POLICY, types.Source.POLICY, types.Source.DEMO],
  )
  deviation = np.sqrt(np.mean(np.square([0.0, 0.4, -0.2, -0.2])))
  numbers = chunk_weights.diagnostics(found, buffer, settings(reward_scale=0.1, clip=1.0))
  assert numbers == {
    'effective_sample_size': pytest.approx(16 / (4 * 9.5)),
    'clipped_high': 0.25,  # 0.5 is 2 deviations above zero, clipped at 1
    'clipped_low': 0.0,
    'advantage_std': pytest.approx(deviation / 0.1, rel=1e-5),
    'advantage_mean': pytest.approx(1.0, rel=1e-5),
    'weight_demo': 1.5,
    'weight_policy': 0.5,
  }


def test_clipping_in_raw_units_is_counted_in_environment_steps():
  found, buffer = make_weights([1, 1, 1, 1], [0.45, 0.2, -0.35, -0.5], [types.Source.HUMAN] * 4)
  numbers = chunk_weights.diagnostics(
    found, buffer, settings(beta_unit='raw', reward_scale=0.1, beta=2.0, clip=2.0)
  )
  assert (numbers['clipped_high'], numbers['clipped_low']) == (0.25, 0.25)  # 4.5 and -5 steps
  assert numbers['weight_human'] == 1.0


def test_advantages_that_do_not_differ_are_no_division_by_zero():
  found, buffer = make_weights([1, 1], [0.0, 0.0], [types.Source.DEMO] * 2)
  numbers = chunk_weights.diagnostics(found, buffer, settings())
  assert (numbers['clipped_high'], numbers['advantage_std']) == (0.0, 0.0)
  assert all(np.isfinite(x) for x in jax.tree.leaves(numbers))
