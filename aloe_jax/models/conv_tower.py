"""The small actor's image tower: a few convolutions that are trained from nothing.

It stands at the same door as `siglip.SigLip`, so that one encoder serves both.

The convolutions are written as matrix products: inside a loop over updates XLA's own take twenty
times as long on a CPU.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

PATCH = 4  # pixels, edge of what the first stage reads at a time


class ConvTower(nn.Module):
  """Patches of the image, convolutions over them, and one vector of what there is and where.

  The last map is read place by place and not averaged, as manipulation needs to know where things
  are. So a tower is of one size of image.

  Attributes:
    channels: of the map after each stage: the first has a place for every patch, and each later one
      halves its edges, reading 3 x 3 places.
    width: F, of the vector.
  """

  channels: tuple[int, ...]
  width: int

  @nn.compact
  def __call__(self, pixels: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    """Maps pixels [B, H, W, 3] in [-1, 1] to the last map, and {'pooled': [B, F]} of order one."""
    x = pixels
    for stage, channels in enumerate(self.channels):
      size, stride = (3, 2) if stage else (PATCH, PATCH)
      x = nn.relu(nn.Dense(channels, name=f'stage_{stage}')(_windows(x, size, stride)))
    flat = x.reshape(len(x), -1)
    return x, {'pooled': nn.LayerNorm(name='norm')(nn.Dense(self.width, name='head')(flat))}


def _windows(x: jax.Array, size: int, stride: int) -> jax.Array:
  """What a convolution of a map [B, H, W, C] reads at each of its places.

  Returns:
    [B, ceil(H / stride), ceil(W / stride), size * size * C], zeros past the edges of the map.
  """
  edges = x.shape[1:3]
  places = [-(-edge // stride) for edge in edges]
  lacking = [max((n - 1) * stride + size - edge, 0) for n, edge in zip(places, edges, strict=True)]
  margins = [(n // 2, n - n // 2) for n in lacking]
  x = jnp.pad(x, [(0, 0), *margins, (0, 0)])
  rows, columns = ((n - 1) * stride + 1 for n in places)
  parts = [
    x[:, i : i + rows : stride, j : j + columns : stride] for i in range(size) for j in range(size)
  ]
  return jnp.concatenate(parts, axis=-1)
