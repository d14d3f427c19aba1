"""Euler integration of the flow, on velocities whose paths are known."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.models import flow

pytestmark = pytest.mark.usefixtures('quick_compilation')

SAMPLES, BATCH = 2, 3


class KnownActor(nn.Module):
  """An actor whose velocity is a formula of (x, t); its prefix is the proprio's first entry."""

  formula: str

  def prefix(self, observation: types.Observation):
    return observation.proprio[:, 0]

  def velocity(self, cache, x, time):
    formulas = {
      'identity': x,
      'prefix': jnp.broadcast_to(cache[:, None, None], x.shape),
      'time': jnp.broadcast_to(time[:, None, None], x.shape),
      'only_at_one': jnp.where(time == 1, 1.0, 0.0)[:, None, None] * jnp.ones_like(x),
    }
    return formulas[self.formula]


def integrate(formula, steps):
  rng = np.random.default_rng(0)
  observation = tiny.make_observation(rng, BATCH)
  noise = tiny.normal(rng, BATCH, SAMPLES, tiny.HORIZON, tiny.ACTION)
  return flow.sample_actions(KnownActor(formula), {}, observation, noise, steps), noise, observation


@pytest.mark.parametrize('steps', [1, 4])
def test_a_velocity_equal_to_x_shrinks_it_by_one_minus_one_over_n_each_step(steps):
  action, noise, _ = integrate('identity', steps)
  np.testing.assert_allclose(action, (1 - 1 / steps) ** steps * noise, rtol=1e-5)


def test_a_constant_velocity_is_subtracted_once_in_all():
  action, noise, observation = integrate('prefix', 5)
  expected = noise - observation.proprio[:, :1, None, None]
  np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)


def test_time_runs_from_one_to_one_nth():
  action, noise, _ = integrate('time', 4)
  # steps at t = 1, 3/4, 1/2, 1/4, each of length 1/4
  np.testing.assert_allclose(noise - action, np.full_like(noise, 0.625), rtol=1e-5)
  action, noise, _ = integrate('only_at_one', 4)
  np.testing.assert_allclose(noise - action, np.full_like(noise, 0.25), rtol=1e-5)


def test_guidance_starts_without_the_condition_and_goes_towards_and_beyond_it():
  conditional, free = np.float32([1, -2]), np.float32([3, 2])
  for scale, expected in ((0, [3, 2]), (1, [1, -2]), (0.5, [2, 0]), (1.5, [0, -4])):
    np.testing.assert_allclose(flow.guided_velocity(conditional, free, scale), expected)


@pytest.mark.parametrize('scale', [0.0, 1.0, 2.5])
def test_guided_samples_follow_both_prefixes_from_one_noise(scale):
  rng = np.random.default_rng(0)
  observation, free = tiny.make_observation(rng, BATCH), tiny.make_observation(rng, BATCH)
  noise = tiny.normal(rng, BATCH, SAMPLES, tiny.HORIZON, tiny.ACTION)
  found = flow.sample_guided(KnownActor('prefix'), {}, observation, free, scale, noise, 5)
  # The velocity of a prefix is its first number of proprio, whatever x and t.
  pull = free.proprio[:, 0] + scale * (observation.proprio[:, 0] - free.proprio[:, 0])
  np.testing.assert_allclose(found, noise - pull[:, None, None, None], rtol=1e-4, atol=1e-5)


def test_guidance_is_computed_anew_in_every_step():
  rng = np.random.default_rng(0)
  actor, seen = tiny.make_actor(), tiny.make_observation(rng, BATCH)
  free = seen.replace(prompt_tokens=(seen.prompt_tokens + 1) % tiny.VOCABULARY)
  noise = tiny.normal(rng, BATCH, 1, tiny.HORIZON, tiny.ACTION)
  params = tiny.make_params(actor, seen, noise[:, 0], np.ones(BATCH, np.float32))
  apply = jax.jit(actor.apply)
  x = noise[:, 0]
  for step in range(3):
    time = np.full(BATCH, 1 - step / 3, np.float32)
    conditional, unconditional = (apply(params, o, x, time) for o in (seen, free))
    assert np.abs(conditional - unconditional).max() > 1e-3
    x = x - (unconditional + 2 * (conditional - unconditional)) / 3
  found = flow.sample_guided(actor, params, seen, free, 2.0, noise, 3)
  np.testing.assert_allclose(found[:, 0], x, atol=1e-5)


def test_samples_that_share_a_prefix_equal_samples_drawn_one_by_one():
  rng = np.random.default_rng(0)
  actor, observation = tiny.make_actor(), tiny.make_observation(rng, BATCH)
  noise = tiny.normal(rng, BATCH, SAMPLES, tiny.HORIZON, tiny.ACTION)
  time = np.ones(BATCH, np.float32)
  params = tiny.make_params(actor, observation, noise[:, 0], time)
  sample = jax.jit(lambda noise: flow.sample_actions(actor, params, observation, noise, 3))
  alone = np.concatenate([sample(noise[:, m : m + 1]) for m in range(SAMPLES)], axis=1)
  np.testing.assert_allclose(sample(noise), alone, atol=1e-5)

  x = noise[:, 0]
  for step in range(3):
    time = np.full(BATCH, 1 - step / 3, np.float32)
    x = x - jax.jit(actor.apply)(params, observation, x, time) / 3
  np.testing.assert_allclose(alone[:, 0], x, atol=1e-5)
