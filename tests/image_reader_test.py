"""Memory of batches of images: used again, but never while anyone looks at it."""

import dataclasses

import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.data import image_reader

SIZE = 8


def make_reader():
  rng = np.random.default_rng(0)
  episode = tiny.make_episode(rng, [types.EndReason.NONE] * 3 + [types.EndReason.SUCCESS])
  frames = [np.full((SIZE, SIZE, 3), 10 + step, np.uint8) for step in range(4)]
  seen = dataclasses.replace(episode, images={'head': frames})
  return image_reader.ImageReader(tiny.make_steps([seen]), SIZE)


def test_a_batch_keeps_its_images_as_long_as_a_view_of_it_is_held():
  reader = make_reader()
  held = reader.read(np.array([0, 1]))[0]['head'].reshape(1, 2, -1)[:, 1:]
  for row in (2, 3, 2):
    reader.read(np.array([row, row]))
  np.testing.assert_array_equal(held, 11)


def test_memory_that_nobody_holds_is_used_again_and_blackened_where_an_image_is_missing():
  reader = make_reader()
  seen, _ = reader.read(np.array([0, 1]))
  for image in seen.values():
    image[:] = 255
  address = seen['head'].ctypes.data
  del seen, image
  seen, present = reader.read(np.array([2, 3]))
  assert seen['head'].ctypes.data == address
  np.testing.assert_array_equal(seen['head'][:, 0, 0, 0], [12, 13])
  assert not seen['left_wrist'].any()
  assert present['head'].all()
  assert not present['left_wrist'].any()


def test_batches_of_another_size_get_memory_of_their_own():
  reader = make_reader()
  for rows in ([0], [0, 1, 2], [3, 1]):
    seen, _ = reader.read(np.array(rows))
    np.testing.assert_array_equal(seen['head'][:, -1, -1, -1], 10 + np.array(rows))
