"""One train step of linear or of dense networks, each compiled once."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import tiny

BATCH, RATE = 4, 0.1  # the rate of the tiny learner's SGD
SETTINGS = tiny.SETTINGS


class LinearCritic(nn.Module):
  """q_k = w_k . (sum of the valid actions) + b_k."""

  @nn.compact
  def __call__(self, features, proprio, action, valid, prompt=None):
    w = self.param('w', nn.initializers.normal(1.0), (2, tiny.ACTION))
    b = self.param('b', nn.initializers.normal(1.0), (2,))
    return w @ jnp.sum(action * valid[..., None], axis=1).T + b[:, None]


class LinearActor(nn.Module):
  """velocity = s x + c t, for every step of the chunk on its own."""

  horizon: int = tiny.HORIZON
  action_size: int = tiny.ACTION

  def setup(self):
    self.s = self.param('s', nn.initializers.constant(0.3), ())
    self.c = self.param('c', nn.initializers.constant(-0.2), ())

  def prefix(self, observation):
    return observation.proprio

  def velocity(self, cache, x, time):
    return self.s * x + self.c * time[:, None, None]

  def __call__(self, observation, x, time):
    return self.velocity(self.prefix(observation), x, time)


LEARNER = tiny.make_learner()  # one for all tests that change nothing about it


def make_linear(name='aloe', **changes):
  return tiny.make_learner(name, LinearActor(), LinearCritic(), **changes)


def critic_batches(count=1, samples=1, seed=0):
  return tiny.make_critic_batches(np.random.default_rng(seed), count, BATCH, samples)


def actor_batches(count=1, weighted=True, seed=0):
  return tiny.make_actor_batches(np.random.default_rng(seed), count, BATCH, weighted)


@functools.cache
def compiled(learner):
  return jax.jit(learner.train_step)


def step(learner, state, critic_batches=None, actor_batches=None):
  return compiled(learner)(state, critic_batches, actor_batches)


def assert_trees_close(found, expected, rtol=1e-5, atol=1e-6):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), found, expected)


def assert_trees_equal(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)
