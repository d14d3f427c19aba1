"""A frozen image encoder for the simulator's cameras: random filters and where they fire.

It stands in for a pre-trained tower where none can be had: weights are fixed by a seed and never
trained, so that features of a frame can be computed once and kept. Spatial soft-argmax turns each
filter's response into the place of its strongest match, which is what manipulation needs to know.
"""

import dataclasses

import jax
import jax.numpy as jnp

FILTERS = 48
SHARPNESS = 12.0  # of the soft-argmax, over responses of unit variance


@dataclasses.dataclass(frozen=True)
class FrozenEncoder:
  """Maps images [..., H, W, 3] uint8 to features [..., 3 * 48] float32.

  Attributes:
    seed: of the filters; part of the key of anything cached.
    size: width and height of the filters in pixels.
    stride: of the convolution.
  """

  seed: int = 0
  size: int = 5
  stride: int = 2

  def __call__(self, images: jax.Array) -> jax.Array:
    """For each filter: x and y of its strongest response in [-1, 1], and that response."""
    batch = images.shape[:-3]
    x = images.reshape(-1, *images.shape[-3:]).astype(jnp.float32) / 127.5 - 1
    shape = (self.size, self.size, 3, FILTERS)
    filters = jax.random.normal(jax.random.key(self.seed), shape) / jnp.sqrt(shape[0] * shape[1])
    y = jax.lax.conv_general_dilated(
      x, filters, (self.stride, self.stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
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
