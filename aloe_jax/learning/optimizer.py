"""The optimisers of App. C: AdamW, gradient clipping, warm-up and cosine decay."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def warmup_cosine(
  count: jax.Array, *, peak: float, warmup: float, total: float, floor: float
) -> jax.Array:
  """Learning rate at an update: linear warm-up to `peak`, then half a cosine to `floor * peak`.

  Args:
    count: updates done so far in this phase.
    peak: highest learning rate.
    warmup: updates of warm-up.
    total: updates of the whole phase.
    floor: final learning rate over the peak.

  Returns:
    The learning rate, a scalar.
  """
  rise = (count + 1) / jnp.maximum(warmup, 1)
  progress = jnp.clip((count - warmup) / jnp.maximum(total - warmup, 1), 0.0, 1.0)
  fall = floor + (1 - floor) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
  return peak * jnp.minimum(rise, fall)


def adamw(
  *,
  peak: float,
  warmup: int,
  total: int,
  floor: float = 0.0,
  clip: float = 1.0,
  weight_decay: float = 1e-4,
) -> optax.GradientTransformation:
  """AdamW with betas (0.9, 0.95) behind a global-norm clip (App. C.2).

  Peak, warm-up, total and floor live in the optimiser's state, so that a phase of another
  length or rate only needs a fresh `init`, never another compilation. Moments and updates are
  float32, also where parameters are not.

  Args:
    peak, warmup, total, floor: of `warmup_cosine`.
    clip: global norm above which gradients are scaled down.
    weight_decay: of AdamW, decoupled.
  """

  def schedule(peak: Any, warmup: Any, total: Any, floor: Any) -> optax.GradientTransformation:
    def rate(count: jax.Array) -> jax.Array:
      return warmup_cosine(count, peak=peak, warmup=warmup, total=total, floor=floor)

    return optax.adamw(rate, b1=0.9, b2=0.95, weight_decay=weight_decay)

  scheduled = optax.inject_hyperparams(schedule)(
    peak=float(peak), warmup=float(warmup), total=float(total), floor=float(floor)
  )
  return _in_float32(optax.chain(optax.clip_by_global_norm(clip), scheduled))


def _in_float32(inner: optax.GradientTransformation) -> optax.GradientTransformation:
  """Moments and updates in float32, whatever the type of parameters and gradients."""

  def wide(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)

  def init(params: Any) -> optax.OptState:
    return inner.init(wide(params))

  def update(gradients: Any, state: Any, params: Any) -> Any:
    return inner.update(wide(gradients), state, wide(params))

  return optax.GradientTransformation(init, update)


def settings(state: Any) -> list[dict[str, Any]]:
  """The numbers of `adamw`'s schedules in an optimiser's state."""
  leaves = jax.tree.leaves(state, is_leaf=_is_scheduled)
  return [leaf.hyperparams for leaf in leaves if _is_scheduled(leaf)]


def with_settings(state: Any, numbers: list[dict[str, Any]]) -> Any:
  """An optimiser's state with the numbers of another one's schedules, and all else as it is."""
  remaining = iter(numbers)
  return jax.tree.map(
    lambda leaf: leaf._replace(hyperparams=next(remaining)) if _is_scheduled(leaf) else leaf,
    state,
    is_leaf=_is_scheduled,
  )


def _is_scheduled(leaf: Any) -> bool:
  return hasattr(leaf, 'hyperparams')
