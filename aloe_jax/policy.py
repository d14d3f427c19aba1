"""The policy: one object for rollouts, the bank, evaluation and serving."""

import hashlib
from typing import Any

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.models import flow


def row_noise(key: jax.Array, row: types.Array, samples: int, chunk: tuple[int, ...]) -> jax.Array:
  """Noise that depends on (key, row) only, however rows are batched or split over devices.

  Args:
    key: of the draw.
    row: [B] int32, what identifies each row.
    samples: M.
    chunk: (h, A).

  Returns:
    [B, M, h, A], standard normal.
  """
  return jax.vmap(lambda r: jax.random.normal(jax.random.fold_in(key, r), (samples, *chunk)))(row)


def sample_actions(
  actor: nn.Module, params, observation: types.Observation, noise: jax.Array, flow_steps: int
) -> jax.Array:
  """Draws M chunks per state: noise [B, M, h, A] -> actions [B, M, h, A]."""
  return flow.sample(actor, params, observation, noise.swapaxes(0, 1), flow_steps).swapaxes(0, 1)


@flax.struct.dataclass
class Policy:
  """A flow-matching actor with its parameters and all that turns them into actions.

  A pytree: passed to a compiled function, new parameters do not compile it again.

  Attributes:
    params: variables of the actor (the moving average, where it acts on a robot).
    prompt_tokens: [L] int32 of the task's prompt.
    prompt_mask: [L] bool.
    actor: the module.
    flow_steps: Euler steps of the sampler.
  """

  params: Any
  prompt_tokens: jax.Array
  prompt_mask: jax.Array
  actor: nn.Module = flax.struct.field(pytree_node=False)
  flow_steps: int = flax.struct.field(pytree_node=False)

  @property
  def chunk_shape(self) -> tuple[int, int]:
    """(h, A)."""
    return self.actor.horizon, self.actor.action_size

  def observation(self, proprio: jax.Array, features: jax.Array) -> types.Observation:
    """Adds the prompt to what the environments show: proprio [B, 32], features [B, V, F]."""
    shape = (proprio.shape[0], *self.prompt_tokens.shape)
    return types.Observation(
      proprio=proprio,
      prompt_tokens=jnp.broadcast_to(self.prompt_tokens, shape),
      prompt_mask=jnp.broadcast_to(self.prompt_mask, shape),
      features=features,
    )

  def act(self, observation: types.Observation, key: jax.Array) -> jax.Array:
    """One chunk [B, h, A] per state; row b's noise depends on (key, b) only."""
    rows = jnp.arange(observation.proprio.shape[0])
    return self.sample(observation, row_noise(key, rows, 1, self.chunk_shape))[:, 0]

  def sample(self, observation: types.Observation, noise: jax.Array) -> jax.Array:
    """M chunks per state from given noise, [B, M, h, A] both."""
    return sample_actions(self.actor, self.params, observation, noise, self.flow_steps)


def fingerprint(params) -> str:
  """SHA-256 over the names, shapes and values of parameters, 16 hex digits."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    leaf = np.asarray(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'.encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()[:16]
