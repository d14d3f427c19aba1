"""The pre-norm Transformer block that the critic and the small actor share.

Einsum legend: B batch, T query tokens, S key tokens, N heads, H head width, D model width.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from aloe_jax.parallel import activations

MASKED = -1e9  # fill for logits that may not be attended to; finite, so no row becomes NaN


def attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
  """Scaled dot-product attention with a float32 softmax.

  Args:
    query: [B, T, N, H].
    key: [B, S, N, H].
    value: [B, S, N, H].
    mask: [B, S] bool, True where a key may be attended to.

  Returns:
    [B, T, N * H].
  """
  scale = query.shape[-1] ** -0.5
  logits = jnp.einsum('BTNH,BSNH->BNTS', query * scale, key).astype(jnp.float32)
  logits = jnp.where(mask[:, None, None, :], logits, MASKED)
  probabilities = jax.nn.softmax(logits, axis=-1).astype(value.dtype)
  out = jnp.einsum('BNTS,BSNH->BTNH', probabilities, value)
  return out.reshape(*out.shape[:2], -1)


class Mlp(nn.Module):
  """Two dense layers with a GELU between them, [..., D] -> [..., D]."""

  hidden: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width = x.shape[-1]
    hidden = activations.rows(nn.Dense(self.hidden, name='hidden')(x))
    return activations.rows(nn.Dense(width, name='out')(nn.gelu(hidden)))


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)).

  Attributes:
    heads: number of attention heads N; the width D must be a multiple of it.
    mlp_ratio: hidden width of the MLP over D.
  """

  heads: int
  mlp_ratio: int = 4

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array, queries: int | None = None) -> jax.Array:
    """Returns the new states of the first `queries` tokens (all of them by default).

    Args:
      x: [B, S, D].
      mask: [B, S] bool, True where a token may be attended to.
      queries: how many leading tokens to compute. In the last layer only the readout tokens
        are read, and the others need not be computed.

    Returns:
      [B, queries, D].
    """
    batch, size, width = x.shape
    queries = size if queries is None else queries
    shape = (self.heads, width // self.heads)
    x = activations.rows(x)
    y = activations.rows(nn.LayerNorm(name='attention_norm')(x))
    query = activations.rows(nn.Dense(width, name='query')(y[:, :queries]))
    query = query.reshape(batch, queries, *shape)
    key, value = (
      activations.rows(nn.Dense(width, name=name)(y)).reshape(batch, size, *shape)
      for name in ('key', 'value')
    )
    attended = activations.rows(attend(query, key, value, mask))
    x = activations.rows(x[:, :queries] + nn.Dense(width, name='out')(attended))
    y = activations.rows(nn.LayerNorm(name='mlp_norm')(x))
    return activations.rows(x + Mlp(self.mlp_ratio * width, name='mlp')(y))
