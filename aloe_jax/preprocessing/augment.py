"""Random crops, rotations and colours of training images, as π0.5 was trained with."""

import augmax
import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.preprocessing import images as images_lib

CROP = 0.95  # of the edges
ROTATION = 5.0  # degrees, either way


def augment(
  key: jax.Array, images: dict[str, types.Array], position: types.Array
) -> dict[str, jax.Array]:
  """Changes the images of each position by random numbers of (key, position), however batched.

  All cameras of a position share the random numbers. Cameras on a wrist, told by their name, keep
  their geometry, which the gripper is part of; of the others a crop is taken, resized back and
  rotated. Colours change in half of them.

  Args:
    key: of this step.
    images: {camera: [B, H, W, 3] uint8, or floats in [-1, 1]}.
    position: [B] int32, in the global batch.

  Returns:
    {camera: [B, H, W, 3] float32 in [-1, 1]}.
  """
  keys = jax.vmap(lambda p: jax.random.fold_in(key, p))(position)
  augmented = {}
  for camera, batch in images.items():
    height, width = batch.shape[1:3]
    transform = _transform(height, width, moves='wrist' not in camera)
    unit = jnp.float32(images_lib.to_model_range(batch)) / 2 + 0.5
    augmented[camera] = (jax.vmap(transform)(keys, unit) * 2 - 1).clip(-1, 1)
  return augmented


def _transform(height: int, width: int, moves: bool) -> augmax.Chain:
  """Of one image [H, W, 3] in [0, 1]."""
  # Left at augmax's defaults, as in openpi: hue 0.1, half of the images. augmax 0.4 draws the
  # saturation but does not apply it.
  colours = augmax.ColorJitter(brightness=0.3, contrast=0.4, saturation=0.5)
  if not moves:
    return augmax.Chain(colours)
  return augmax.Chain(
    augmax.RandomCrop(int(width * CROP), int(height * CROP)),
    augmax.Resize(width, height),
    augmax.Rotate((-ROTATION, ROTATION)),
    colours,
  )
