"""A π0.5-shaped actor at laptop size: a prefix tower, an action expert, one joint attention.

The prefix (one token per camera, one for proprio, one for the prompt) runs once and leaves
its keys and values; the expert's action tokens attend to them and to each other, conditioned
on the flow time through adaptive norms whose modulation starts at zero. Same door as the full
π0.5: `prefix`, `velocity`.

What it sees are features. Where it has a tower, images give them for as long as the tower is
trained; then it is taken out and frozen, and what it makes of a frame is computed once.

The norms are conditioned on the scene too, which π0.5 leaves to attention alone: at a few
thousand updates from scratch that is what lets the expert be exact about a few numbers.

Einsum legend: B batch, S prefix tokens, T action tokens, N heads, H head width, D widths.
"""

from collections.abc import Sequence

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.models import attention
from aloe_jax.models import conv_tower
from aloe_jax.models import encoder
from aloe_jax.models import flow
from aloe_jax.preprocessing import images as images_lib

TOWER = 'tower'  # name of the tower's parameters among the actor's


@flax.struct.dataclass
class Cache:
  """What the prefix leaves for the expert.

  Attributes:
    keys_and_values: per layer, each [B, S, N, H].
    scene: [B, expert_width], the condition's share of proprio and features.
  """

  keys_and_values: Sequence[tuple[jax.Array, jax.Array]]
  scene: jax.Array


class AdaptiveNorm(nn.Module):
  """RMS norm whose scale, shift and residual gate come from the condition (zero at first)."""

  @nn.compact
  def __call__(self, x: jax.Array, condition: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Maps x [B, T, D] and condition [B, C] to the normed x and the gate [B, 1, D]."""
    modulation = nn.Dense(3 * x.shape[-1], kernel_init=nn.initializers.zeros)(condition)
    scale, shift, gate = jnp.split(modulation[:, None], 3, axis=-1)
    normed = nn.RMSNorm(use_scale=False)(x)
    return normed * (1 + scale) + shift, 1 + gate


class PrefixBlock(nn.Module):
  """One layer of the prefix tower; also returns the keys and values the expert attends to."""

  heads: int
  head_width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Maps x [B, S, D] to the next x and its (keys, values), each [B, S, N, H]."""
    y = nn.LayerNorm(name='attention_norm')(x)
    query, key, value = (
      nn.DenseGeneral((self.heads, self.head_width), name=name)(y)
      for name in ('query', 'key', 'value')
    )
    mask = jnp.ones(x.shape[:2], bool)
    x = x + nn.Dense(x.shape[-1], name='out')(attention.attend(query, key, value, mask))
    y = nn.LayerNorm(name='mlp_norm')(x)
    return x + attention.Mlp(4 * x.shape[-1], name='mlp')(y), (key, value)


class ExpertBlock(nn.Module):
  """One layer of the action expert over [prefix | action tokens]."""

  heads: int
  head_width: int

  @nn.compact
  def __call__(
    self, x: jax.Array, condition: jax.Array, cache: tuple[jax.Array, jax.Array]
  ) -> jax.Array:
    """Maps x [B, T, D], condition [B, C] and this layer's cache to the next x."""
    y, gate = AdaptiveNorm(name='attention_norm')(x, condition)
    query, key, value = (
      nn.DenseGeneral((self.heads, self.head_width), name=name)(y)
      for name in ('query', 'key', 'value')
    )
    key, value = (jnp.concatenate(pair, axis=1) for pair in zip(cache, (key, value), strict=True))
    mask = jnp.ones(key.shape[:2], bool)
    x = x + gate * nn.Dense(x.shape[-1], name='out')(attention.attend(query, key, value, mask))
    y, gate = AdaptiveNorm(name='mlp_norm')(x, condition)
    return x + gate * attention.Mlp(4 * x.shape[-1], name='mlp')(y)


class SmallActor(nn.Module):
  """Flow-matching actor with the interface of π0.5.

  Attributes:
    horizon: h, steps of a chunk.
    action_size: A.
    vocab_size: of the prompt's tokenizer.
    width: of the prefix tower.
    expert_width: of the action expert.
    depth: layers of both.
    heads, head_width: of the attention that both share.
    steps_per_token: consecutive actions that make one action token (1 in π0.5).
    tower: that makes features of images; None where there are no images.
  """

  horizon: int
  action_size: int
  vocab_size: int
  width: int = 64
  expert_width: int = 128
  depth: int = 2
  heads: int = 4
  head_width: int = 16
  steps_per_token: int = 1
  tower: conv_tower.ConvTower | None = None

  def setup(self) -> None:
    self.features_in = nn.Dense(self.width)
    self.proprio_in = nn.Dense(self.width)
    self.prompt_in = nn.Embed(self.vocab_size, self.width)
    embed = nn.initializers.normal(0.02)
    self.prefix_position = self.param('prefix_position', embed, (2, self.width))
    self.prefix_blocks = [PrefixBlock(self.heads, self.head_width) for _ in range(self.depth)]
    tokens = self.horizon // self.steps_per_token
    self.action_in = nn.Dense(self.expert_width)
    self.action_position = self.param('action_position', embed, (tokens, self.expert_width))
    self.time_in = nn.Dense(self.expert_width)
    self.time_out = nn.Dense(self.expert_width)
    self.scene_in = nn.Dense(self.expert_width)
    self.scene_out = nn.Dense(self.expert_width)
    self.expert_blocks = [ExpertBlock(self.heads, self.head_width) for _ in range(self.depth)]
    self.final_norm = AdaptiveNorm()
    self.action_out = nn.Dense(self.steps_per_token * self.action_size)

  def prefix(self, observation: types.Observation) -> Cache:
    """Runs the prefix tower once; B any batch, with features [B, V, F], or images to be seen."""
    features = observation.features
    if features is None:
      masks = observation.image_masks
      features = encoder.of_cameras(self._pooled, observation.images or {}, masks)
    views = self.features_in(features)
    mask = observation.prompt_mask[..., None]
    words = jnp.sum(self.prompt_in(observation.prompt_tokens) * mask, axis=1)
    prompt = words / jnp.maximum(mask.sum(axis=1), 1)
    pair = jnp.stack([self.proprio_in(observation.proprio), prompt], axis=1)
    x = jnp.concatenate([views, pair + self.prefix_position[None]], axis=1)
    cache = []
    for block in self.prefix_blocks:
      x, keys_and_values = block(x)
      cache.append(keys_and_values)
    batch = observation.proprio.shape[0]
    numbers = [observation.proprio, jnp.reshape(features, (batch, -1))]
    scene = nn.swish(self.scene_in(jnp.concatenate(numbers, axis=1)))
    return Cache(cache, self.scene_out(scene))

  def _pooled(self, images: jax.Array) -> jax.Array:
    """The tower's features [..., F] of images [..., H, W, 3]."""
    if self.tower is None:
      raise ValueError('found images and no features; expected features, as there is no tower.')
    pixels = images_lib.to_model_range(images).reshape(-1, *images.shape[-3:])
    _, out = self.tower(pixels)
    return out['pooled'].reshape(*images.shape[:-3], -1)

  def velocity(self, cache: Cache, noisy_action: jax.Array, time: jax.Array) -> jax.Array:
    """The flow's velocity, which points from data to noise (Eq. 15).

    Args:
      cache: of `prefix`.
      noisy_action: [B, h, A].
      time: [B], t = 1 - eta: 1 is noise.

    Returns:
      [B, h, A].
    """
    batch = noisy_action.shape[0]
    x = noisy_action.reshape(batch, self.horizon // self.steps_per_token, -1)
    x = self.action_in(x) + self.action_position[None]
    condition = self.time_in(flow.time_embedding(time, self.expert_width))
    condition = nn.swish(self.time_out(nn.swish(condition)) + cache.scene)
    for block, keys_and_values in zip(self.expert_blocks, cache.keys_and_values, strict=True):
      x = block(x, condition, keys_and_values)
    x, _ = self.final_norm(x, condition)
    return self.action_out(x).reshape(noisy_action.shape)

  def __call__(
    self, observation: types.Observation, noisy_action: jax.Array, time: jax.Array
  ) -> jax.Array:
    """`velocity` of `prefix`: what one training step evaluates, [B, h, A]."""
    return self.velocity(self.prefix(observation), noisy_action, time)
