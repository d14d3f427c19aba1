"""Images: sizes and margins as in openpi, on either path, and the range of the network."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.preprocessing import images

GOLDEN = pathlib.Path(__file__).parent / 'golden'
SIZES = ('480x640', '200x150', '224x300', '225x223')

resize_compiled = jax.jit(images.resize_with_pad_on_device, static_argnums=1)


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN / 'pi05_io_golden.npz') as arrays:
    return {name: array for name, array in arrays.items() if name.startswith('resize/')}


def grey_levels_apart(a, b):
  return np.abs(np.asarray(a, int) - np.asarray(b, int)).max()


@pytest.mark.parametrize('size', SIZES)
def test_a_recorded_image_is_resized_as_in_openpis_pipeline(size, golden):
  resized = images.resize_with_pad(golden[f'resize/in/{size}'], 224)
  assert resized.dtype == np.uint8
  assert grey_levels_apart(resized, golden[f'resize/client_pil_uint8/{size}']) <= 1


@pytest.mark.parametrize('size', SIZES)
def test_images_on_device_are_resized_as_in_openpis_model(size, golden):
  image = golden[f'resize/in/{size}']
  resized = resize_compiled(image, 224)
  assert resized.dtype == np.uint8
  expected = golden[f'resize/jax_uint8/{size}']
  assert grey_levels_apart(resized, expected) <= 1
  assert (resized != expected).mean() < 0.001
  floats = resize_compiled(np.float32(image) / 127.5 - 1, 224)
  for name, line in (('row', floats[112]), ('col', floats[:, 112])):
    expected = golden[f'resize/jax_float32_{name}112/{size}']
    np.testing.assert_allclose(line, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('shape', [(40, 80), (80, 40), (72, 100)])
def test_both_paths_put_the_image_in_the_middle_and_agree_to_a_grey_level(shape):
  image = np.random.default_rng(0).integers(1, 256, (*shape, 3), np.uint8)
  recorded = images.resize_with_pad(image, 56)
  on_device = resize_compiled(np.stack([image, image[::-1]]), 56)
  assert grey_levels_apart(recorded, on_device[0]) <= 1
  black = {(40, 80): (14, 0), (80, 40): (0, 14), (72, 100): (8, 0)}[shape]
  rows, columns = ((recorded == 0).all((axis, 2)).sum() for axis in (1, 0))
  assert (rows, columns) == (2 * black[0], 2 * black[1])
  assert (recorded[: black[0]] == 0).all() and (recorded[:, : black[1]] == 0).all()


def test_the_odd_row_of_a_margin_comes_last():
  resized = images.resize_with_pad(np.full((3, 4, 3), 9, np.uint8), 4)
  np.testing.assert_array_equal(resized[:, 0, 0], [9, 9, 9, 0])


def test_margins_of_float_images_are_black_too():
  resized = images.resize_with_pad_on_device(np.ones((2, 2, 4, 3), np.float32), 4)
  np.testing.assert_array_equal(resized[1, :, 2, 0], [-1, 1, 1, -1])


def test_an_image_of_the_right_size_is_left_alone():
  image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
  assert images.resize_with_pad(image, 8) is image
  np.testing.assert_array_equal(images.resize_with_pad_on_device(image, 8), image)


@pytest.mark.parametrize('kind', [np.asarray, jnp.asarray])
def test_bytes_span_minus_one_to_one_and_floats_pass(kind):
  scaled = images.to_model_range(kind(np.array([0, 51, 255], np.uint8)))
  assert scaled.dtype == np.float32
  np.testing.assert_allclose(scaled, [-1, -0.6, 1], rtol=1e-6)
  floats = kind(np.float32([-1, 0.3]))
  assert images.to_model_range(floats) is floats
