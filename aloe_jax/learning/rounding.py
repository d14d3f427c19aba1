"""Small updates of parameters in half precision, rounded at random so that none is lost.

A bfloat16 has 8 significant bits: an update below a 512th of its parameter is rounded away every
time. Rounded up or down in proportion to what is left over, it comes about on average.
"""

from typing import Any

import jax
import jax.numpy as jnp


def add(params: Any, updates: Any, key: jax.Array) -> Any:
  """Parameters plus float32 updates, each leaf in its own type.

  Args:
    params: leaves float32, added to as they are, or bfloat16, rounded at random.
    updates: of the same structure, float32.
    key: of the roundings.
  """
  leaves, tree = jax.tree.flatten(params)
  moved = [
    _rounded(p.astype(jnp.float32) + u, jax.random.fold_in(key, i))
    if p.dtype == jnp.bfloat16
    else p + u
    for i, (p, u) in enumerate(zip(leaves, jax.tree.leaves(updates), strict=True))
  ]
  return jax.tree.unflatten(tree, moved)


def _rounded(x: jax.Array, key: jax.Array) -> jax.Array:
  """A float32 to one of its two neighbours in bfloat16, the mean being x."""
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  below = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
  up = (bits + below) & jnp.uint32(0xFFFF0000)
  rounded = jax.lax.bitcast_convert_type(up, jnp.float32)
  return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)
