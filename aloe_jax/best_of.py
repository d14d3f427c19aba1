"""Best-of-N sampling: of several chunks of the policy, the one that the critic values most."""

from typing import Any

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.models import encoder as encoder_lib


@flax.struct.dataclass
class Chooser:
  """The critic of a policy.

  Attributes:
    params: of the critic.
    encoder_params: of the frozen encoder.
    critic: the module, of Q(s, a_{t:t+h}).
    encoder: makes the critic's features of the images; None where features are what is seen.
    samples: N, chunks to choose among.
    reads_prompt: whether the critic sees the prompt.
    pessimism: how Eq. (9) reads the ensemble, 'min' or 'mean'.
  """

  params: Any
  encoder_params: Any
  critic: nn.Module = flax.struct.field(pytree_node=False)
  encoder: encoder_lib.Encoder | None = flax.struct.field(pytree_node=False)
  samples: int = flax.struct.field(pytree_node=False)
  reads_prompt: bool = flax.struct.field(pytree_node=False)
  pessimism: str = flax.struct.field(pytree_node=False)

  def pick(self, observation: types.Observation, chunks: jax.Array) -> jax.Array:
    """Of chunks [B, N, h, A], those [B, h, A] of the highest Q, as Eq. (9) reads it."""
    if observation.features is None:
      features = encoder_lib.encode_cameras(
        self.encoder, self.encoder_params, observation.images, observation.image_masks
      )
      observation = observation.replace(features=features)
    q = action_critic.evaluate_samples(
      self.critic, self.params, observation, chunks, reads_prompt=self.reads_prompt
    )
    best = jnp.argmax(losses.pessimistic_q(q, self.pessimism), axis=0)
    return jnp.take_along_axis(chunks, best[:, None, None, None], axis=1)[:, 0]
