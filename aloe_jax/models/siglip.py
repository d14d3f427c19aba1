"""SigLIP's image tower: a Vision Transformer under the parameter names of its published weights.

One module serves SigLIP files (`pool='map'`), PaliGemma files and π0.5 (`pool='none'` and a head).
Blocks are stacked along axis 0 of their parameters and scanned.

Legend: B batch, T patches, D width.
"""

from collections.abc import Mapping
import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from aloe_jax.models import remat as remat_lib
from aloe_jax.parallel import activations


def sizes_of(params: Mapping[str, Any]) -> dict[str, int]:
  """What shapes of a tower's scanned parameters say: width, depth, mlp_dim, heads and patch."""
  block = params['Transformer']['encoderblock']
  depth, heads, _, width = block['MultiHeadDotProductAttention_0']['out']['kernel'].shape
  return dict(
    width=width,
    depth=depth,
    mlp_dim=block['MlpBlock_0']['Dense_0']['bias'].shape[1],
    heads=heads,
    patch=params['embedding']['kernel'].shape[0],
  )


def image_size_of(params: Mapping[str, Any]) -> int:
  """Edge in pixels of the square images that a tower's positions are for."""
  return math.isqrt(params['pos_embedding'].shape[1]) * params['embedding']['kernel'].shape[0]


def _attend(query: jax.Array, key: jax.Array, value: jax.Array, **how: Any) -> jax.Array:
  """Flax's attention of [B, T, N, H], each row on its device."""
  query, key, value = (activations.rows(x) for x in (query, key, value))
  return activations.rows(nn.dot_product_attention(query, key, value, **how))


class MlpBlock(nn.Module):
  """Two dense layers with the tanh GELU between them, [B, T, D] -> [B, T, D]."""

  mlp_dim: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    xavier, small = nn.initializers.xavier_uniform(), nn.initializers.normal(1e-6)
    dense = dict(dtype=self.dtype, kernel_init=xavier, bias_init=small)
    hidden = activations.rows(nn.Dense(self.mlp_dim, **dense)(x))
    return activations.rows(nn.Dense(x.shape[-1], **dense)(nn.gelu(hidden, approximate=True)))


class EncoderBlock(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)); [B, T, D] both."""

  mlp_dim: int
  heads: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
    """The step of a scan over the depth: nothing besides x goes in or out."""
    x = activations.rows(x)
    y = activations.rows(nn.LayerNorm(dtype=self.dtype)(x))
    attention = nn.MultiHeadDotProductAttention(
      self.heads,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),
      attention_fn=_attend,
    )
    x = activations.rows(x + attention(y, y))
    y = activations.rows(nn.LayerNorm(dtype=self.dtype)(x))
    x = activations.rows(x + MlpBlock(self.mlp_dim, self.dtype)(y))
    self.sow('intermediates', 'block', x)
    return x, None


class Encoder(nn.Module):
  """`depth` blocks and a norm, [B, T, D] -> [B, T, D]."""

  depth: int
  mlp_dim: int
  heads: int
  dtype: Any = jnp.float32
  remat: str = 'none'
  unroll: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    blocks = nn.scan(
      remat_lib.apply(EncoderBlock, self.remat),
      variable_axes={'params': 0, 'intermediates': 0},
      split_rngs={'params': True},
      length=self.depth,
      unroll=self.depth if self.unroll else 1,
    )
    x, _ = blocks(self.mlp_dim, self.heads, self.dtype, name='encoderblock')(x, None)
    return nn.LayerNorm(dtype=self.dtype, name='encoder_norm')(x)


class MapHead(nn.Module):
  """Multi-head attention pooling by one learned query, [B, T, D] -> [B, D]."""

  mlp_dim: int
  heads: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    xavier = nn.initializers.xavier_uniform()
    probe = self.param('probe', xavier, (1, 1, x.shape[-1]))
    probe = jnp.tile(probe, (x.shape[0], 1, 1))
    y = nn.MultiHeadDotProductAttention(self.heads, kernel_init=xavier)(probe, x)
    return (y + MlpBlock(self.mlp_dim)(nn.LayerNorm()(y)))[:, 0]


class SigLip(nn.Module):
  """The tower.

  Attributes:
    width: D.
    depth: number of blocks.
    mlp_dim: hidden width of the MLPs.
    heads: of the attention.
    patch: edge of a patch in pixels.
    pool: 'none' gives one vector a patch, 'mean' and 'map' one an image.
    head: width that the result is projected to; 0 for no projection.
    dtype: of the blocks' computation. Patches and positions are embedded in float32, and the
      blocks' softmax is in `dtype` (openpi's choice).
    remat: see `remat.apply`.
    unroll: lay the blocks out one after another, for counting FLOPs.
  """

  width: int
  depth: int
  mlp_dim: int
  heads: int
  patch: int
  pool: str = 'none'
  head: int = 0
  dtype: Any = jnp.float32
  remat: str = 'none'
  unroll: bool = False

  @nn.compact
  def __call__(self, images: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Encodes images [B, H, W, 3] in [-1, 1].

    Returns:
      [B, T, head or D] for `pool='none'`, else [B, head or D]; and what there was on the way:
      `patch_embedding` and `tokens` [B, T, D], before and after the blocks, and `pooled` [B, D],
      always before the head: the mean over patches where there is no MAP head.
    """
    x = nn.Conv(
      self.width, (self.patch, self.patch), self.patch, padding='VALID', name='embedding'
    )(images.astype(jnp.float32))
    x = activations.rows(x.reshape(x.shape[0], -1, self.width))
    normal = nn.initializers.normal(self.width**-0.5)
    x = x + self.param('pos_embedding', normal, (1, *x.shape[1:]))
    out = {'patch_embedding': x}
    x = Encoder(
      self.depth, self.mlp_dim, self.heads, self.dtype, self.remat, self.unroll, name='Transformer'
    )(x.astype(self.dtype))
    out['tokens'] = x
    if self.pool == 'map':
      out['pooled'] = MapHead(self.mlp_dim, self.heads, name='MAPHead_0')(x.astype(jnp.float32))
    else:
      out['pooled'] = jnp.mean(x.astype(jnp.float32), axis=1)
    if self.pool != 'none':
      x = out['pooled']
    if self.head:
      zeros = nn.initializers.zeros
      x = nn.Dense(self.head, dtype=self.dtype, kernel_init=zeros, name='head')(x)
    return x, out
