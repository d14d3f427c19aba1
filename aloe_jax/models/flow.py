"""Sampling action chunks from any flow-matching actor with the door `prefix`, `velocity`.

Legend of shapes: B batch, M samples per state, h horizon, A action width of the network.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.models import first_use
from aloe_jax.parallel import activations

Velocity = Callable[[jax.Array, jax.Array], jax.Array]  # of x [B, h, A] and t [B]

PULL = 5.0  # the most that a plan in flight pulls at a new one, relative to the flow


@flax.struct.dataclass
class InFlight:
  """The rest of a chunk that is being carried out while the next one is made.

  Attributes:
    action: [B, h, A] normalised, as seen from where the new chunk begins; anything past its end.
    weight: [B, h, A] from 0 to 1, how far the new chunk is to agree with it: 1 where it will have
      been carried out before the new chunk is there, 0 past its end.
  """

  action: types.Array
  weight: types.Array


def time_embedding(time: jax.Array, width: int) -> jax.Array:
  """Sines and cosines of the flow time at `width`/2 periods from 4e-3 to 4, as π0.5 has them.

  Args:
    time: [B], 1 is noise and 0 is data.
    width: even.

  Returns:
    [B, width].
  """
  periods = 4e-3 * (4.0 / 4e-3) ** jnp.linspace(0.0, 1.0, width // 2)
  angle = 2 * jnp.pi * time[:, None] / periods[None, :]
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def chunk_noise(
  key: jax.Array, index: types.Array, samples: int, chunk: tuple[int, ...]
) -> jax.Array:
  """Noise that depends on (key, index) only, however a batch is made up or split over devices.

  Args:
    key: of the draw.
    index: [B] int32, what identifies each state: its row of the buffer, or its position in the
      global batch.
    samples: M.
    chunk: (h, A).

  Returns:
    [B, M, h, A], standard normal.
  """

  def one(i: jax.Array) -> jax.Array:
    return jax.random.normal(jax.random.fold_in(key, i), (samples, *chunk))

  return activations.rows(jax.vmap(one)(jnp.asarray(index)))


def sample_actions(
  actor: nn.Module,
  params: Any,
  observation: types.Observation,
  noise: jax.Array,
  flow_steps: int,
  in_flight: InFlight | None = None,
) -> jax.Array:
  """Integrates the flow from noise to actions by Euler steps (π0.5's sampler).

  The prefix runs once and its cache serves all M samples. The velocity points from data to
  noise, so each step moves against it, from t = 1 down to 0.

  Args:
    actor: linen module with methods `prefix(observation)` and `velocity(cache, x, t)`.
    params: its variables.
    observation: batch of B.
    noise: [B, M, h, A], standard normal.
    flow_steps: Euler steps.
    in_flight: what the chunk is to go on from, see `continuing`; None for a fresh one.

  Returns:
    [B, M, h, A] actions; equal noise gives equal actions.
  """
  cache = actor.apply(params, observation, method='prefix')
  return denoise(actor, params, cache, noise, flow_steps, in_flight)


def denoise(
  actor: nn.Module,
  params: Any,
  cache: Any,
  noise: jax.Array,
  flow_steps: int,
  in_flight: InFlight | None = None,
) -> jax.Array:
  """`sample_actions` from the cache that a prefix left: noise [B, M, h, A] to actions."""
  params = _at_hand(actor, params, cache, noise)

  def velocity(x: jax.Array, time: jax.Array) -> Any:
    return actor.apply(params, cache, x, time, method='velocity')

  return _integrate(continuing(velocity, in_flight), noise, flow_steps)


def sample_guided(
  actor: nn.Module,
  params: Any,
  observation: types.Observation,
  unconditional: types.Observation,
  scale: float,
  noise: jax.Array,
  flow_steps: int,
  in_flight: InFlight | None = None,
) -> jax.Array:
  """`sample_actions` with classifier-free guidance: both velocities in every Euler step.

  Args:
    actor, params, noise, flow_steps, in_flight: as in `sample_actions`.
    observation: batch of B that holds the condition.
    unconditional: the same without it.
    scale: see `guided_velocity`.

  Returns:
    [B, M, h, A] actions.
  """
  cache = actor.apply(params, observation, method='prefix')
  free_cache = actor.apply(params, unconditional, method='prefix')
  params = _at_hand(actor, params, cache, noise)

  def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
    conditional = actor.apply(params, cache, x, time, method='velocity')
    free = actor.apply(params, free_cache, x, time, method='velocity')
    return guided_velocity(conditional, free, scale)

  return _integrate(continuing(velocity, in_flight), noise, flow_steps)


def guided_velocity(conditional: jax.Array, unconditional: jax.Array, scale: float) -> jax.Array:
  """v_u + s (v_c - v_u): s = 1 is the condition alone, more goes beyond it."""
  return unconditional + scale * (conditional - unconditional)


def continuing(velocity: Velocity, in_flight: InFlight | None) -> Velocity:
  """A velocity that ends near a plan in flight: real-time chunking.

  At every step the chunk that the flow is heading for is compared with the plan, and what would
  bring it nearer is added, found through the network's own derivative. From "Real-Time Execution
  of Action Chunking Flow Policies" (Black et al. 2025), Eqs. (2) to (4), whose time runs the other
  way.

  Args:
    velocity: of the flow.
    in_flight: the plan; None leaves the velocity as it is.
  """
  if in_flight is None:
    return velocity
  plan, weight = in_flight.action, in_flight.weight

  def corrected(x: jax.Array, time: jax.Array) -> jax.Array:
    t = time[:, None, None]

    def heading(x: jax.Array) -> tuple[jax.Array, jax.Array]:
      flow = velocity(x, time)
      return x - t * flow, flow

    chunk, pull_back, flow = jax.vjp(heading, x, has_aux=True)
    (nearer,) = pull_back((weight * (plan - chunk)).astype(chunk.dtype))
    variance = t**2 / ((1 - t) ** 2 + t**2)
    strength = jnp.minimum(PULL, t / jnp.maximum((1 - t) * variance, 1e-6))
    return flow - strength * nearer

  return corrected


def agreement(steps: types.Array, delay: types.Array, horizon: int) -> jax.Array:
  """Weights [B, h] of plans in flight, Eq. (5) there.

  Args:
    steps: [B] of each plan, as seen from where the new chunk begins.
    delay: [B] of these that will have been carried out before the new chunk is there; <= `steps`.
    horizon: h.
  """
  step = jnp.arange(horizon)[None]
  steps, delay = (jnp.asarray(x)[:, None] for x in (steps, delay))
  left = jnp.clip((steps - step) / (steps - delay + 1), 0, 1)
  fading = left * jnp.expm1(left) / jnp.expm1(1.0)
  return jnp.where(step < delay, 1.0, jnp.where(step < steps, fading, 0.0))


def _at_hand(actor: nn.Module, params: Any, cache: Any, noise: jax.Array) -> Any:
  """Parameters as all Euler steps read them: what devices share is gathered once, before the loop.

  It is gathered in the type that the velocity reads it in. Nothing is done on one device.
  """
  if not activations.is_split():
    return params

  def velocity(params: Any, *arguments: Any) -> Any:
    return actor.apply(params, *arguments, method='velocity')

  x = jax.ShapeDtypeStruct((len(noise), *noise.shape[2:]), noise.dtype)
  time = jax.ShapeDtypeStruct((len(noise),), jnp.float32)
  kinds = first_use.types(velocity, params, cache, x, time)

  def gathered(weight: jax.Array, kind: Any) -> jax.Array:
    return weight if kind is None else activations.whole(weight.astype(kind))

  return jax.tree.map(gathered, params, kinds, is_leaf=lambda x: x is None)


def _integrate(velocity: Velocity, noise: jax.Array, flow_steps: int) -> jax.Array:
  """Euler steps from t = 1 to 0, [B, M, h, A]."""

  def euler(step: jax.Array, x: jax.Array) -> jax.Array:
    time = jnp.full(x.shape[0], 1.0 - step / flow_steps)
    return x - velocity(x, time) / flow_steps

  def integrate(x: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, flow_steps, euler, x)

  return activations.rows(jax.vmap(integrate)(noise.swapaxes(0, 1)).swapaxes(0, 1))
