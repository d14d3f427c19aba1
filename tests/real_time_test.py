"""Real-time chunking: chunks that go on from one in flight, by hand on known velocities."""

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax.models import flow

pytestmark = pytest.mark.usefixtures('quick_compilation')

STEPS = 5


def correct(x, plan, weight, rate):
  """By hand: Euler steps of the velocity `rate` x, whose Jacobian is `rate` too."""
  x = np.float64(x)
  for step in range(STEPS):
    t = 1 - step / STEPS
    chunk, slope = x - t * rate * x, 1 - t * rate
    variance = t**2 / ((1 - t) ** 2 + t**2)
    strength = min(flow.PULL, t / max((1 - t) * variance, 1e-6))
    x = x - (rate * x - strength * slope * weight * (plan - chunk)) / STEPS
  return x


@pytest.mark.parametrize('rate', [0.0, 1.0, 0.3])
def test_each_step_adds_what_brings_the_chunk_nearer_to_the_plan(rate):
  rng = np.random.default_rng(0)
  noise, plan = tiny.normal(rng, 2, 2, 3, 2), tiny.normal(rng, 2, 3, 2)
  weight = np.float32(rng.random((2, 3, 2)))
  velocity = flow.continuing(lambda x, time: rate * x, flow.InFlight(plan, weight))
  found = flow._integrate(velocity, jnp.asarray(noise), STEPS)
  expected = correct(noise, plan[:, None], weight[:, None], rate)
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_without_weight_a_chunk_is_what_it_is_without_a_plan():
  rng = np.random.default_rng(0)
  noise = jnp.asarray(tiny.normal(rng, 2, 1, 3, 2))
  plan = flow.InFlight(np.full((2, 3, 2), 9.0, np.float32), np.zeros((2, 3, 2), np.float32))

  def velocity(x, time):
    return jnp.sin(x) + time[:, None, None]

  found = flow._integrate(flow.continuing(velocity, plan), noise, STEPS)
  np.testing.assert_array_equal(found, flow._integrate(velocity, noise, STEPS))


def test_agreement_is_whole_until_the_reply_fades_after_it_and_ends_with_the_plan():
  found = np.asarray(flow.agreement(np.array([4, 0]), np.array([2, 0]), 6))
  left = np.array([(4 - 2) / 3, (4 - 3) / 3])
  faded = left * np.expm1(left) / np.expm1(1)
  np.testing.assert_allclose(found[0], [1, 1, *faded, 0, 0], rtol=1e-6)
  np.testing.assert_array_equal(found[1], np.zeros(6))


def test_a_chunk_goes_on_smoothly_from_what_is_carried_out():
  """Chunks are random walks of small steps from anywhere, whose flow is linear."""
  horizon, steps = 8, 50
  walk = np.tril(np.ones((horizon, horizon))) * np.array([2.0] + [0.2] * (horizon - 1))
  covariance = walk @ walk.T
  eye = np.eye(horizon)

  def velocity(x, time):
    t = time[0]
    both = t**2 * eye + (1 - t) ** 2 * covariance
    flow_of = (t * eye - (1 - t) * covariance) @ jnp.linalg.inv(both)
    return jnp.einsum('ij,bjk->bik', flow_of, x)

  noise = jnp.asarray(tiny.normal(np.random.default_rng(0), 64, 1, horizon, 1))
  plan = np.full((64, horizon, 1), 3.0, np.float32)
  weight = np.asarray(flow.agreement(np.full(64, 5), np.full(64, 3), horizon))[..., None]
  fresh = np.asarray(flow._integrate(velocity, noise, steps))[:, 0, :, 0]
  corrected = flow.continuing(velocity, flow.InFlight(plan, weight))
  found = np.asarray(flow._integrate(corrected, noise, steps))[:, 0, :, 0]
  jump, fresh_jump = np.abs(found[:, 3] - 3.0).mean(), np.abs(fresh[:, 3] - 3.0).mean()
  assert fresh_jump > 2.5 and jump < 0.4  # 0.2 is a step of the walk
  assert 0.15 < np.abs(np.diff(found[:, 4:])).mean() < 0.25  # and it still walks as it does
