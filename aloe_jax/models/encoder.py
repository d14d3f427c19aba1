"""Frozen image encoders: one vector an image, which the critic reads.

They are never trained, so that the features of a frame can be computed once and kept.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.models import siglip
from aloe_jax.preprocessing import images as images_lib

FILTERS = 48
SHARPNESS = 12.0  # of the soft-argmax, over responses of unit variance


class Encoder(Protocol):
  """The door of both encoders.

  Attributes:
    image_size: edge in pixels that it fits images to; 0 where it leaves them as they are.
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
  features = encoder.apply(params, jnp.stack([images[name] for name in types.CAMERAS], axis=-4))
  if masks is None:
    return features
  all_there = jnp.ones(features.shape[:-2], bool)
  present = jnp.stack([masks.get(name, all_there) for name in types.CAMERAS], axis=-1)
  return jnp.where(present[..., None], features, 0.0)


@dataclasses.dataclass(frozen=True)
class TowerEncoder:
  """A pre-trained image tower, pooled: by its MAP head where it has one, else the mean.

  Attributes:
    tower: its module; the parameters are the tower's.
    image_size: edge in pixels that it was trained at.
  """

  tower: siglip.SigLip
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


@dataclasses.dataclass(frozen=True)
class RandomEncoder:
  """Random filters and where they fire: it stands in where no pre-trained tower can be had.

  Spatial soft-argmax turns each filter's response into the place of its strongest match, which
  is what manipulation needs to know.

  Attributes:
    seed: of the filters.
    size: width and height of the filters in pixels.
    stride: of the convolution.
  """

  seed: int = 0
  size: int = 5
  stride: int = 2

  @property
  def image_size(self) -> int:
    return 0

  @property
  def width(self) -> int:
    return 3 * FILTERS

  def init(self) -> dict[str, jax.Array]:
    """The filters, [size, size, 3, 48]."""
    shape = (self.size, self.size, 3, FILTERS)
    drawn = jax.random.normal(jax.random.key(self.seed), shape)
    return {'filters': drawn / jnp.sqrt(shape[0] * shape[1])}

  def apply(self, params: Any, images: jax.Array) -> jax.Array:
    """For each filter: x and y of its strongest response in [-1, 1], and that response."""
    batch = images.shape[:-3]
    x = images.reshape(-1, *images.shape[-3:]).astype(jnp.float32) / 127.5 - 1
    y = jax.lax.conv_general_dilated(
      x,
      params['filters'],
      (self.stride, self.stride),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    y = (y - y.mean((1, 2), keepdims=True)) / (y.std((1, 2), keepdims=True) + 1e-3)
    where = jax.nn.softmax(SHARPNESS * y.reshape(len(y), -1, FILTERS), axis=1)
    where = where.reshape(y.shape)
    rows, columns = (jnp.linspace(-1.0, 1.0, n) for n in y.shape[1:3])
    at_row = jnp.einsum('BHWF,H->BF', where, rows)
    at_column = jnp.einsum('BHWF,W->BF', where, columns)
    strength = jnp.sum(where * y, axis=(1, 2)) / 4
    features = jnp.concatenate([at_row, at_column, strength], axis=-1)
    return features.reshape(*batch, features.shape[-1])
