"""A prompt as one vector, for critics that serve several prompts."""

import jax
import jax.numpy as jnp

from aloe_jax import types

WIDTH = 256


def bag_of_tokens(observation: types.Observation) -> jax.Array:
  """Counts of the prompt's tokens, folded into 256 buckets and scaled to unit length.

  The paper's critic sees no language. Where one critic serves several tasks it has to tell
  their prompts apart, which this does for any tokenizer without a table to learn.

  Args:
    observation: `prompt_tokens` and `prompt_mask` [B, L].

  Returns:
    [B, 256] float32.
  """
  one_hot = jax.nn.one_hot(observation.prompt_tokens % WIDTH, WIDTH)
  counts = jnp.sum(one_hot * observation.prompt_mask[..., None], axis=1)
  return counts / jnp.maximum(jnp.linalg.norm(counts, axis=-1, keepdims=True), 1e-6)
