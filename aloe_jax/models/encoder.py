"""Frozen image encoders: one vector an image, which the critic reads.

They are trained no more, so that the features of a frame can be computed once and kept.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.models import conv_tower
from aloe_jax.models import siglip
from aloe_jax.preprocessing import images as images_lib


class Encoder(Protocol):
  """The door of an encoder.

  Attributes:
    image_size: edge in pixels that it fits images to.
    width: F.
  """

  @property
  def image_size(self) -> int: ...

  @property
  def width(self) -> int: ...

  def apply(self, params: Any, images: jax.Array) -> jax.Array:
    """Maps images [..., H, W, 3] uint8 to features [..., F] float32."""


def encode_cameras(
  encoder: Encoder,
  params: Any,
  images: Mapping[str, types.Array],
  masks: Mapping[str, types.Array] | None = None,
) -> jax.Array:
  """What the critic sees of all cameras.

  Args:
    encoder: of single images.
    params: of the encoder.
    images: {camera: [..., H, W, 3] uint8}.
    masks: {camera: [...] bool}, False where a camera is missing; those not named are there.

  Returns:
    [..., V, F] in the order of the views; zeros where a camera is missing.
  """
  return of_cameras(lambda stacked: encoder.apply(params, stacked), images, masks)


def of_cameras(
  encode: Callable[[jax.Array], jax.Array],
  images: Mapping[str, types.Array],
  masks: Mapping[str, types.Array] | None = None,
) -> jax.Array:
  """What `encode`, of images [..., H, W, 3] features [..., F], makes of all cameras.

  Arguments and result as of `encode_cameras`.
  """
  features = encode(jnp.stack([images[name] for name in types.CAMERAS], axis=-4))
  if masks is None:
    return features
  all_there = jnp.ones(features.shape[:-2], bool)
  present = jnp.stack([masks.get(name, all_there) for name in types.CAMERAS], axis=-1)
  return jnp.where(present[..., None], features, 0.0)


@dataclasses.dataclass(frozen=True)
class TowerEncoder:
  """A trained image tower, pooled: SigLIP by its MAP head where it has one, else the mean.

  Attributes:
    tower: its module; the parameters are the tower's.
    image_size: edge in pixels that it was trained at.
  """

  tower: siglip.SigLip | conv_tower.ConvTower
  image_size: int

  @property
  def width(self) -> int:
    return self.tower.width

  def apply(self, params: Any, images: jax.Array) -> jax.Array:
    fitted = images_lib.resize_with_pad_on_device(images, self.image_size)
    pixels = images_lib.to_model_range(fitted).reshape(-1, *fitted.shape[-3:])
    _, out = self.tower.apply({'params': params}, pixels)
    return out['pooled'].reshape(*images.shape[:-3], -1)


def of_weights(params: Mapping[str, Any]) -> TowerEncoder:
  """The encoder that a tower's weights belong to: their shapes say all but its computation."""
  pool = 'map' if 'MAPHead_0' in params else 'none'
  tower = siglip.SigLip(**siglip.sizes_of(params), pool=pool)
  return TowerEncoder(tower, siglip.image_size_of(params))
