"""The small actor's image tower: a few convolutions that are trained from nothing.

It stands at the same door as `siglip.SigLip`, so that one encoder serves both.
"""

from typing import Any

from flax import linen as nn
import jax

PATCH = 4  # pixels, edge of what the first stage reads at a time


class ConvTower(nn.Module):
  """Patches of the image, convolutions over them, and one vector of what there is and where.

  The last map is read place by place and not averaged, as manipulation needs to know where things
  are. So a tower is of one size of image.

  Attributes:
    channels: of the map after each stage: the first has a place for every patch, and each later one
      halves its edges.
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
      x = nn.relu(nn.Conv(channels, (size, size), stride, name=f'stage_{stage}')(x))
    flat = x.reshape(len(x), -1)
    return x, {'pooled': nn.LayerNorm(name='norm')(nn.Dense(self.width, name='head')(flat))}
