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
  noise = tiny.normal(rng, SAMPLES, BATCH, tiny.HORIZON, tiny.ACTION)
  return flow.sample(KnownActor(formula), {}, observation, noise, steps), noise, observation


@pytest.mark.parametrize('steps', [1, 4])
def test_a_velocity_equal_to_x_shrinks_it_by_one_minus_one_over_n_each_step(steps):
  action, noise, _ = integrate('identity', steps)
  np.testing.assert_allclose(action, (1 - 1 / steps) ** steps * noise, rtol=1e-5)


def test_a_constant_velocity_is_subtracted_once_in_all():
  action, noise, observation = integrate('prefix', 5)
  expected = noise - observation.proprio[None, :, :1, None]
  np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)


def test_time_runs_from_one_to_one_nth():
  action, noise, _ = integrate('time', 4)
  # steps at t = 1, 3/4, 1/2, 1/4, each of length 1/4
  np.testing.assert_allclose(noise - action, np.full_like(noise, 0.625), rtol=1e-5)
  action, noise, _ = integrate('only_at_one', 4)
  np.testing.assert_allclose(noise - action, np.full_like(noise, 0.25), rtol=1e-5)


def test_samples_that_share_a_prefix_equal_samples_drawn_one_by_one():
  rng = np.random.default_rng(0)
  actor, observation = tiny.make_actor(), tiny.make_observation(rng, BATCH)
  noise = tiny.normal(rng, SAMPLES, BATCH, tiny.HORIZON, tiny.ACTION)
  time = np.ones(BATCH, np.float32)
  params = tiny.make_params(actor, observation, noise[0], time)
  sample = jax.jit(lambda noise: flow.sample(actor, params, observation, noise, 3))
  alone = np.concatenate([sample(noise[m : m + 1]) for m in range(SAMPLES)])
  np.testing.assert_allclose(sample(noise), alone, atol=1e-5)

  x = noise[0]
  for step in range(3):
    time = np.full(BATCH, 1 - step / 3, np.float32)
    x = x - jax.jit(actor.apply)(params, observation, x, time) / 3
  np.testing.assert_allclose(alone[0], x, atol=1e-5)
