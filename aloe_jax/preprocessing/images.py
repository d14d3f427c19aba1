"""Camera images at the size and in the range that a network takes."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from aloe_jax import types


def resize_with_pad(image: np.ndarray, size: int) -> np.ndarray:
  """Fits an image into a square without distorting it; the rest is black, equal on both sides.

  What openpi's data pipeline and robots' clients do; `resize_with_pad_on_device` differs from it
  by a grey level at most.

  Args:
    image: [H, W, 3] uint8.
    size: edge of the square in pixels.

  Returns:
    [size, size, 3] uint8.
  """
  rows, columns, _ = image.shape
  if rows == columns == size:
    return image
  height, width = _fitted(rows, columns, size)
  resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
  return np.pad(np.asarray(resized), _margins(height, width, size))


def resize_with_pad_on_device(images: types.Array, size: int) -> jax.Array:
  """`resize_with_pad` of many images inside a compiled function.

  Args:
    images: [..., H, W, 3], uint8 or floats in [-1, 1].
    size: edge of the square in pixels.

  Returns:
    [..., size, size, 3] of the same type.
  """
  *batch, rows, columns, channels = images.shape
  if rows == columns == size:
    return jnp.asarray(images)
  height, width = _fitted(rows, columns, size)
  shape = (*batch, height, width, channels)
  if images.dtype == jnp.uint8:
    resized = jax.image.resize(jnp.float32(images), shape, 'linear').round().clip(0, 255)
    black = 0
  else:
    resized = jax.image.resize(images, shape, 'linear').clip(-1, 1)
    black = -1
  margins = [(0, 0)] * len(batch) + _margins(height, width, size)
  return jnp.pad(resized.astype(images.dtype), margins, constant_values=black)


def to_model_range(images: types.Array) -> types.Array:
  """uint8 to float32 in [-1, 1]; floats are taken to be in that range and pass."""
  if images.dtype != np.uint8:
    return images
  return images.astype(np.float32) / 255 * 2 - 1


def _fitted(height: int, width: int, size: int) -> tuple[int, int]:
  """Height and width inside the square, rounded down as openpi does.

  Its division in floating point leaves some longer edges a pixel short of the square (72 rows
  become 55 of 56). Models were trained on that.
  """
  ratio = max(height / size, width / size)
  return int(height / ratio), int(width / ratio)


def _margins(height: int, width: int, size: int) -> list[tuple[int, int]]:
  """Rows and columns before and after; the odd one comes after."""
  top, left = (size - height) // 2, (size - width) // 2
  return [(top, size - height - top), (left, size - width - left), (0, 0)]
