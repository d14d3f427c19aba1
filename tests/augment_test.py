"""Augmentation: random, the same for a row in any batch, and gentle to wrist cameras."""

import functools

import jax
import numpy as np
import pytest

from aloe_jax.preprocessing import augment

pytestmark = pytest.mark.usefixtures('quick_compilation')

SIZE = 20
ROWS = 24
KEY = jax.random.key(3)

apply = jax.jit(augment.augment)


@functools.cache
def camera_images():
  """Blocks of a few colours, [24, 20, 20, 3]."""
  blocks = np.random.default_rng(0).integers(30, 220, (ROWS, 5, 5, 3), np.uint8)
  return blocks.repeat(4, axis=1).repeat(4, axis=2)


@functools.cache
def augmented():
  """The same images from four cameras."""
  cameras = ('head', 'side', 'left_wrist', 'wrist_0')
  return jax.device_get(apply(KEY, {name: camera_images() for name in cameras}, np.arange(ROWS)))


def in_model_range(images):
  return np.float32(images) / 127.5 - 1


def test_values_stay_in_the_networks_range_and_float_images_do_as_bytes_do():
  for images in augmented().values():
    assert images.dtype == np.float32
    assert images.min() >= -1 and images.max() <= 1
  floats = apply(KEY, {'head': in_model_range(camera_images())}, np.arange(ROWS))
  np.testing.assert_allclose(floats['head'], augmented()['head'], atol=1e-5)


def test_a_row_is_changed_alike_in_any_batch_and_anew_under_another_key():
  rows = np.array([7, 2])
  again = apply(KEY, {'head': camera_images()[rows], 'left_wrist': camera_images()[rows]}, rows)
  for camera, images in again.items():
    np.testing.assert_allclose(images, augmented()[camera][rows], atol=1e-5)
  other = apply(jax.random.key(4), {'head': camera_images()}, np.arange(ROWS))
  assert (np.abs(other['head'] - augmented()['head']).max((1, 2, 3)) > 0.1).all()


def test_equal_images_of_other_rows_are_changed_differently():
  same = np.tile(camera_images()[:1], (ROWS, 1, 1, 1))
  images = np.asarray(apply(KEY, {'head': same}, np.arange(ROWS))['head'])
  apart = np.abs(images[:, None] - images[None]).max((2, 3, 4))
  assert (apart[~np.eye(ROWS, dtype=bool)] > 0.1).all()


def test_cameras_of_a_row_share_their_random_numbers():
  np.testing.assert_array_equal(augmented()['head'], augmented()['side'])
  np.testing.assert_array_equal(augmented()['left_wrist'], augmented()['wrist_0'])


def test_a_wrist_camera_keeps_every_edge_in_its_place():
  contrast = {
    camera: np.ptp(images.reshape(ROWS, 5, 4, 5, 4, 3), axis=(2, 4)).max((1, 2, 3))
    for camera, images in augmented().items()
  }
  assert (contrast['left_wrist'] < 1e-5).all()  # each block is of one colour still
  assert (contrast['head'] > 0.1).all()


def test_images_of_one_colour_such_as_those_of_a_missing_camera_stay_of_one_colour():
  grey = np.array([0, 128, 255], np.uint8).repeat(ROWS // 3)[:, None, None, None]
  plain = np.broadcast_to(grey, camera_images().shape)
  images = np.asarray(apply(KEY, {'left_wrist': plain}, np.arange(ROWS))['left_wrist'])
  assert (np.ptp(images, axis=(1, 2, 3)) < 1e-6).all()


def test_colours_change_in_about_half_of_the_rows():
  apart = np.abs(augmented()['left_wrist'] - in_model_range(camera_images())).max((1, 2, 3))
  changed = apart > 0.02
  assert (apart[~changed] < 1e-5).all()
  assert 6 <= changed.sum() <= 18


def test_the_middle_of_an_image_stays_close_to_where_it_was():
  plain = np.zeros((ROWS, 40, 40, 3), np.uint8)
  plain[:, 16:24, 16:24] = 255
  images = np.asarray(apply(KEY, {'head': plain}, np.arange(ROWS))['head'])
  light = images.mean(-1) > 0
  for axis in (1, 2):
    position = (light.any(3 - axis) * np.arange(40)).sum(1) / light.any(3 - axis).sum(1)
    assert (np.abs(position - 19.5) <= 2).all()  # at most half of 5% of 40 pixels, magnified
    assert len(np.unique(position)) > 1
