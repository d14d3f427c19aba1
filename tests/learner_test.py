"""A train step is a function of its state and batches, and each algorithm has its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import updates

from aloe_jax import types
from aloe_jax.agents import AGENTS

pytestmark = pytest.mark.usefixtures('quick_compilation')


def test_equal_states_and_batches_give_equal_bits():
  learner = updates.LEARNER
  state = tiny.make_state(learner)
  batches = updates.critic_batches(2, samples=None), updates.actor_batches(2, weighted=False)
  updates.assert_trees_equal(
    updates.step(learner, state, *batches), updates.step(learner, state, *batches)
  )


def test_one_call_equals_a_call_of_each_update():
  learner = updates.LEARNER
  whole = state = tiny.make_state(learner)
  critics, actors = (
    updates.critic_batches(2, samples=None),
    updates.actor_batches(2, weighted=False),
  )
  whole, metrics = updates.step(learner, whole, critics, actors)
  series = []
  for batches, phase in ((critics, 0), (actors, 1)):
    for number in range(2):
      one = jax.tree.map(lambda x, n=number: x[n : n + 1], batches)
      state, numbers = updates.step(learner, state, *((one, None) if phase == 0 else (None, one)))
      series.append(numbers)
  assert whole.step == state.step == 4
  updates.assert_trees_close(whole, state)
  for name in ('critic', 'actor'):
    losses = [numbers[name]['loss'] for numbers in series if name in numbers]
    np.testing.assert_allclose(metrics[name]['loss'], np.mean(losses), rtol=1e-5)


def test_another_seed_draws_other_flow_noise():
  learner = updates.make_linear()
  first = tiny.make_state(learner)
  second = dataclasses.replace(first, seed=jnp.uint32(1))
  losses = [
    updates.step(learner, s, None, updates.actor_batches())[1]['actor']['loss']
    for s in (first, second)
  ]
  assert losses[0] != losses[1]


def test_the_value_critic_of_awr_learns_the_distribution_of_returns():
  learner = tiny.make_learner('awr')
  state, batches = tiny.make_state(learner), updates.critic_batches(samples=None)
  _, metrics = updates.step(learner, state, batches)
  batch = jax.tree.map(lambda x: x[0], batches)
  logits = jax.jit(learner.networks.critic.apply)(
    state.critic, batch.observation.features, batch.observation.proprio
  )
  probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  support, losses = np.linspace(-1, 0, 5), []
  for p, value in zip(probability, batch.returns, strict=True):
    low = min(int((value + 1) / 0.25), 3)
    upper = (value - support[low]) / 0.25
    losses.append(-(1 - upper) * np.log(p[low]) - upper * np.log(p[low + 1]))
  np.testing.assert_allclose(metrics['critic']['loss'], np.mean(losses), rtol=1e-5)

  actor_batch = jax.tree.map(lambda x: x[0], updates.actor_batches())
  advantage = jax.jit(
    lambda params: learner.agent.advantage(
      params, actor_batch, None, critic=learner.networks.critic, settings=learner.settings
    )
  )(state.critic)
  logits = jax.jit(learner.networks.critic.apply)(
    state.critic, actor_batch.observation.features, actor_batch.observation.proprio
  )
  value = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)) @ support
  np.testing.assert_allclose(advantage, actor_batch.returns - value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  'name, expected',
  [
    ('aloe', [True, True, True, True, True, True]),
    ('awr', [True, True, True, True, True, True]),
    ('bc', [True, True, False, False, False, False]),
    ('dagger', [True, True, False, False, True, True]),
    ('filtered_bc', [False, True, False, True, False, True]),
    ('filtered_policy_bc', [True, True, False, True, True, True]),
  ],
)
def test_each_algorithm_imitates_its_own_rows(name, expected):
  kinds = types.Source
  source = np.repeat([kinds.DEMO, kinds.POLICY, kinds.HUMAN], 2)
  succeeded = np.array([False, True] * 3)
  np.testing.assert_array_equal(AGENTS[name].imitates(source, succeeded), expected)


def test_imitation_has_no_critic_to_update():
  learner = updates.make_linear('bc')
  state = tiny.make_state(learner)
  assert state.critic == {}
  with pytest.raises(ValueError, match='bc has no critic to update; give it no critic batches'):
    learner.train_step(state, updates.critic_batches(), None)
