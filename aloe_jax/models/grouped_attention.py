"""Gemma's attention without its weights: who sees whom, rotary positions, grouped queries.

Einsum legend: B batch, T query tokens, S key tokens, N heads, K key-value heads, H head width,
Q = T N / K queries of one key-value head.
"""

from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp

MASKED = -2.3819763e38  # Gemma's fill for logits that may not be attended to
MAX_PERIOD = 10_000  # of the rotary positions


def attention_mask(valid: jax.Array, autoregressive: jax.Array) -> jax.Array:
  """Which token sees which: blocks that are bidirectional inside and causal among each other.

  Args:
    valid: [B, S] bool, False on padding.
    autoregressive: [S] or [B, S] bool, True on the first token of each new block.

  Returns:
    [B, S, S] bool: the query may see the key if its block is the key's or a later one, and
    both are valid.
  """
  block = jnp.cumsum(jnp.broadcast_to(autoregressive, valid.shape), axis=1)
  sees = block[:, None, :] <= block[:, :, None]
  return sees & valid[:, None, :] & valid[:, :, None]


def turns(positions: jax.Array, width: int) -> jax.Array:
  """Sines and cosines of rotary positions: made once a call, as all layers have the same.

  Args:
    positions: [B, T] int.
    width: H.

  Returns:
    [2, B, T, 1, H / 2] float32.
  """
  half = width // 2
  period = MAX_PERIOD ** (jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions[:, :, None, None] / period[None, None, None, :]
  return jnp.stack([jnp.sin(angle), jnp.cos(angle)])


def rotate(x: jax.Array, by: jax.Array) -> jax.Array:
  """Rotary positions in float32, the two halves of a head rotated against each other.

  Args:
    x: [B, T, N, H].
    by: [2, B, T, 1, H / 2], of `turns`.

  Returns:
    [B, T, N, H] of the type of x.
  """
  sin, cos = by
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.astype(x.dtype)


def attend(
  query: jax.Array, keys_and_values: Sequence[tuple[jax.Array, jax.Array]], mask: jax.Array
) -> jax.Array:
  """Grouped-query attention with a float32 softmax.

  Keys come in parts that are never laid side by side in memory: under `jax.vmap` over samples, a
  cached prefix is read by all of them and copied for none. Heads that share keys are queries like
  other tokens, and what they read is divided by the softmax's sum afterwards, so that the
  logits, the largest arrays of all, are neither reordered nor gone through more than need be.

  Args:
    query: [B, T, N, H], scaled.
    keys_and_values: parts, each [B, S_i, K, H].
    mask: [B, T, S], S the sum of S_i.

  Returns:
    [B, T, N, H].
  """
  batch, size, heads, width = query.shape
  kv_heads = keys_and_values[0][0].shape[2]
  group = heads // kv_heads
  query = query.reshape(batch, size, kv_heads, group, width).swapaxes(1, 2)
  query = query.reshape(batch, kv_heads, size * group, width)
  logits, start = [], 0
  for key, _ in keys_and_values:
    found = jnp.einsum('BKQH,BSKH->BKQS', query, key, preferred_element_type=jnp.float32)
    seen = mask[:, :, None, start : start + key.shape[1]]
    seen = jnp.broadcast_to(seen, (batch, size, group, key.shape[1]))
    seen = seen.reshape(batch, 1, size * group, key.shape[1])
    logits.append(jnp.where(seen, found, MASKED))
    start += key.shape[1]
  top = functools.reduce(jnp.maximum, [jnp.max(x, axis=-1, keepdims=True) for x in logits])
  weights = [jnp.exp(x - jax.lax.stop_gradient(top)) for x in logits]
  reads = [
    jnp.einsum(
      'BKQS,BSKH->BKQH', weight.astype(value.dtype), value, preferred_element_type=jnp.float32
    )
    for weight, (_, value) in zip(weights, keys_and_values, strict=True)
  ]
  totals = [jnp.sum(weight, axis=-1, keepdims=True) for weight in weights]
  read, total = functools.reduce(jnp.add, reads), functools.reduce(jnp.add, totals)
  out = (read / total).astype(query.dtype)
  out = out.reshape(batch, kv_heads, size, group, width).swapaxes(1, 2)
  return out.reshape(batch, size, heads, width)
