"""Sampling action chunks from any flow-matching actor with the door `prefix`, `velocity`."""

from collections.abc import Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

from aloe_jax import types

Velocity = Callable[[jax.Array, jax.Array], jax.Array]  # of x [B, h, A] and t [B]


def time_embedding(time: jax.Array, width: int) -> jax.Array:
  """Sines and cosines of the flow time at `width`/2 periods from 4e-3 to 4, as π0.5 has them.

  Args:
    time: [B], 1 is noise and 0 is data.
    width: even.

  Returns:
    [B, width].
  """
  periods = 4e-3 * (4.0 / 4e-3) ** jnp.linspace(0.0, 1.0, width // 2)
  angle = 2 * jnp.pi * time[:, None] / periods
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def sample(
  actor: nn.Module,
  params,
  observation: types.Observation,
  noise: jax.Array,
  num_steps: int,
) -> jax.Array:
  """Integrates the flow from noise to actions by Euler steps (π0.5's sampler).

  The prefix runs once and its cache serves all M samples. The velocity points from data to
  noise, so each step moves against it, from t = 1 down to 0.

  Args:
    actor: linen module with methods `prefix(observation)` and `velocity(cache, x, t)`.
    params: its variables.
    observation: batch of B.
    noise: [M, B, h, A], standard normal.
    num_steps: Euler steps.

  Returns:
    [M, B, h, A] actions; equal noise gives equal actions.
  """
  cache = actor.apply(params, observation, method='prefix')
  return denoise(actor, params, cache, noise, num_steps)


def denoise(actor: nn.Module, params, cache, noise: jax.Array, num_steps: int) -> jax.Array:
  """`sample` from the cache that the prefix of some observation left; noise [M, B, h, A]."""

  def velocity(x, time):
    return actor.apply(params, cache, x, time, method='velocity')

  return _integrate(velocity, noise, num_steps)


def sample_guided(
  actor: nn.Module,
  params,
  observation: types.Observation,
  unconditional: types.Observation,
  scale: float,
  noise: jax.Array,
  num_steps: int,
) -> jax.Array:
  """`sample` with classifier-free guidance: both velocities in every Euler step.

  Args:
    actor, params, noise, num_steps: as in `sample`.
    observation: batch of B that holds the condition.
    unconditional: the same without it.
    scale: see `guided_velocity`.

  Returns:
    [M, B, h, A] actions.
  """
  cache = actor.apply(params, observation, method='prefix')
  free_cache = actor.apply(params, unconditional, method='prefix')

  def velocity(x, time):
    conditional = actor.apply(params, cache, x, time, method='velocity')
    free = actor.apply(params, free_cache, x, time, method='velocity')
    return guided_velocity(conditional, free, scale)

  return _integrate(velocity, noise, num_steps)


def guided_velocity(conditional: jax.Array, unconditional: jax.Array, scale: float) -> jax.Array:
  """v_u + s (v_c - v_u): s = 1 is the condition alone, more goes beyond it."""
  return unconditional + scale * (conditional - unconditional)


def _integrate(velocity: Velocity, noise: jax.Array, num_steps: int) -> jax.Array:
  """Euler steps from t = 1 to 0, [M, B, h, A]."""

  def euler(step: jax.Array, x: jax.Array) -> jax.Array:
    time = jnp.full(x.shape[0], 1.0 - step / num_steps)
    return x - velocity(x, time) / num_steps

  def integrate(x: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, num_steps, euler, x)

  return jax.vmap(integrate)(noise)
