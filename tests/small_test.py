"""The small actor: one door for training and sampling, and what it may not look at."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax.models import flow
from aloe_jax.models import small

pytestmark = pytest.mark.usefixtures('quick_compilation')

BATCH = 3


@pytest.fixture(scope='module')
def case():
  """An actor with random parameters (at first its modulation is zero) and its inputs."""
  rng = np.random.default_rng(0)
  actor, observation = tiny.make_actor(), tiny.make_observation(rng, BATCH)
  action = tiny.normal(rng, BATCH, tiny.HORIZON, tiny.ACTION)
  time = np.float32([0.1, 0.5, 1.0])
  params = tiny.make_params(actor, observation, action, time)
  return jax.jit(actor.apply, static_argnames='method'), params, observation, action, time


def test_a_call_is_the_velocity_after_the_prefix(case):
  apply, params, observation, action, time = case
  cache = apply(params, observation, method='prefix')
  np.testing.assert_allclose(
    apply(params, observation, action, time),
    apply(params, cache, action, time, method='velocity'),
    atol=1e-5,
  )


def test_padding_of_the_prompt_cannot_change_the_velocity(case):
  apply, params, observation, action, time = case
  tokens = np.where(observation.prompt_mask, observation.prompt_tokens, 7)
  other = dataclasses.replace(observation, prompt_tokens=tokens)
  assert (tokens != observation.prompt_tokens).any()
  np.testing.assert_array_equal(
    apply(params, observation, action, time), apply(params, other, action, time)
  )


@pytest.mark.parametrize('field', ['proprio', 'features', 'prompt_tokens'])
def test_each_part_of_the_observation_changes_the_velocity(case, field):
  apply, params, observation, action, time = case
  changed = (getattr(observation, field) + 1) % tiny.VOCABULARY
  other = dataclasses.replace(observation, **{field: changed})
  before, after = (apply(params, o, action, time) for o in (observation, other))
  assert np.abs(before - after).max(axis=(1, 2)).min() > 1e-4


def test_action_and_flow_time_change_the_velocity_at_every_step_of_the_chunk(case):
  apply, params, observation, action, time = case
  before = apply(params, observation, action, time)
  bumped = action.copy()
  bumped[:, 1] += 1
  for after in (
    apply(params, observation, bumped, time),
    apply(params, observation, action, time * 0.9),
  ):
    assert np.abs(before - after).max(axis=2).min() > 1e-4


def test_steps_per_token_joins_consecutive_actions_into_one_token():
  rng = np.random.default_rng(0)
  actor = tiny.make_actor(steps_per_token=tiny.HORIZON)
  observation = tiny.make_observation(rng, BATCH)
  action = tiny.normal(rng, BATCH, tiny.HORIZON, tiny.ACTION)
  shapes = jax.eval_shape(
    actor.init, jax.random.key(0), observation, action, np.ones(BATCH, np.float32)
  )['params']
  assert shapes['action_position'].shape == (1, 8)
  assert shapes['action_in']['kernel'].shape == (tiny.HORIZON * tiny.ACTION, 8)


def test_the_time_embedding_has_periods_from_0_004_to_4():
  embedding = flow.time_embedding(jnp.float32([1.0, 0.002]), 4)
  # periods 0.004 and 4: sines, then cosines, of 2 pi t / period
  np.testing.assert_allclose(embedding[0], [0, 1, 1, 0], atol=1e-3)
  np.testing.assert_allclose(
    embedding[1], [0, np.sin(np.pi / 1000), -1, np.cos(np.pi / 1000)], atol=1e-5
  )


def test_adaptive_norms_start_as_plain_norms_with_open_gates():
  module = small.AdaptiveNorm()
  x, condition = jnp.float32([[[3, 4]]]), jnp.float32([[0.5, -2]])
  (normed, gate), _ = module.init_with_output(jax.random.key(0), x, condition)
  np.testing.assert_allclose(normed[0, 0], np.array([3, 4]) / np.sqrt(12.5), rtol=1e-5)
  np.testing.assert_array_equal(gate, np.ones((1, 1, 2)))
