"""A batch in several pieces, one after the other: the memory of a piece, the gradient of the whole.

A piece takes every n-th row. So each device that holds a run of the batch's rows holds its share of
every piece, and no row moves.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def split(rows: Any, count: int) -> Any:
  """Rows [B, ...] as pieces [count, B / count, ...]; piece i has the rows i, i + count, ...

  Raises:
    ValueError: B does not divide by `count`.
  """

  def one(x: Any) -> jax.Array:
    if x.shape[0] % count:
      raise ValueError(f'{x.shape[0]} rows do not divide by {count} pieces.')
    return jnp.swapaxes(jnp.reshape(x, (x.shape[0] // count, count, *x.shape[1:])), 0, 1)

  return jax.tree.map(one, rows)


def mean(function: Callable[[Any], Any], rows: Any, count: int) -> Any:
  """Mean over the pieces of what `function` makes of each, in float32.

  Of a mean over rows it is the mean over all rows, as pieces are of one size: each row keeps its
  weight, however many of its steps are masked.

  Args:
    function: pieces [B / count, ...] to a tree of numbers or gradients.
    rows: [B, ...].
    count: pieces.
  """
  pieces = split(rows, count)
  shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], pieces))
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes)

  def add(total: Any, piece: Any) -> tuple[Any, None]:
    return jax.tree.map(lambda t, x: t + x / count, total, function(piece)), None

  return jax.lax.scan(add, zeros, pieces)[0]


def each(function: Callable[[Any], jax.Array], rows: Any, count: int) -> jax.Array:
  """What `function` makes of rows [B, ...], piece by piece, in the order of the rows."""
  made = jax.lax.map(function, split(rows, count))
  return jnp.reshape(jnp.swapaxes(made, 0, 1), (-1, *made.shape[2:]))
