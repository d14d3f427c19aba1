"""The frozen encoder tells where things are, the same in every batch and every process."""

import json
import pathlib

import jax
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.models import encoder
from aloe_jax.models import siglip
from aloe_jax.pretrained import big_vision
from aloe_jax.run import experiment
from experiments import laundry

pytestmark = pytest.mark.usefixtures('quick_compilation')

GOLDEN = pathlib.Path(__file__).parent / 'golden'
ENCODE = jax.jit(lambda encode, images: encode.apply(encode.init(), images), static_argnums=0)
FILTERS = encoder.FILTERS


def blob(row, column, size=32):
  """A bright disc on grey, [H, W, 3]: grey is zero to the filters, as is what lies outside."""
  rows, columns = np.mgrid[:size, :size]
  image = np.full((size, size, 3), 127, np.uint8)
  image[(rows - row) ** 2 + (columns - column) ** 2 <= 9] = (255, 40, 200)
  return image


def assert_nearly_all_close(found, expected):
  """But for the few filters that a disc does not excite."""
  assert np.isclose(found, expected, atol=0.03).mean() > 0.9


def test_coordinates_move_with_what_moves():
  images = np.stack([blob(9, 9), blob(9, 21), blob(21, 9), blob(21, 21)])
  features = np.asarray(ENCODE(encoder.RandomEncoder(), images))
  row, column, strength = np.split(features, 3, axis=1)
  moved = 12 / 2 * 2 / 15  # 12 pixels are 6 of the 15 steps from -1 to 1
  for left, right in ((0, 1), (2, 3)):
    assert_nearly_all_close(column[right] - column[left], moved)
    assert_nearly_all_close(row[right], row[left])
  for upper, lower in ((0, 2), (1, 3)):
    assert_nearly_all_close(row[lower] - row[upper], moved)
    assert_nearly_all_close(column[lower], column[upper])
  assert_nearly_all_close(strength, strength[0])


def test_coordinates_are_near_the_thing_itself():
  features = np.asarray(ENCODE(encoder.RandomEncoder(), blob(9, 21)[None]))[0]
  row, column, _ = np.split(features, 3)
  assert np.median(row) == pytest.approx(9 / 15.5 - 1, abs=0.1)
  assert np.median(column) == pytest.approx(21 / 15.5 - 1, abs=0.1)


def test_features_are_frozen_and_belong_to_the_seed():
  images = blob(9, 21)[None]
  first = ENCODE(encoder.RandomEncoder(), images)
  np.testing.assert_array_equal(first, ENCODE(encoder.RandomEncoder(), images))
  other = np.asarray(ENCODE(encoder.RandomEncoder(seed=1), images))
  assert np.abs(other - first).max() > 0.1
  assert first.shape == (1, 3 * FILTERS)


def test_images_of_all_cameras_are_encoded_and_missing_ones_are_zero():
  pixels = experiment.Experiment(laundry.get_config('pixels'))
  rng = np.random.default_rng(0)
  cameras = ('head', 'left_wrist', 'right_wrist')
  images = {camera: rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8) for camera in cameras}
  masks = {camera: np.ones(5, bool) for camera in cameras} | {'head': np.arange(5) != 3}
  features = pixels.encode(pixels.encoder.init(), images, masks)
  assert features.shape == (5, 3, 3 * FILTERS)
  for t in range(5):
    frames = np.stack([images[camera][t] for camera in cameras])
    expected = np.array(ENCODE(pixels.encoder, frames))
    expected[0] *= t != 3
    np.testing.assert_allclose(features[t], expected, atol=1e-4)


# Towers


def read(name):
  """The tower's weights, and the case that they were recorded with."""
  with np.load(GOLDEN / f'{name}.npz') as file:
    return big_vision.load(f'{GOLDEN}/{name}.npz:img'), dict(file)


def pooled(params, images):
  with jax.default_matmul_precision('highest'):
    return jax.jit(encoder.of_weights(params).apply)(params, images)


def test_a_tower_with_a_map_head_pools_by_it():
  params, case = read('siglip_case_a')
  found = pooled(params, case['inputs/image'])
  np.testing.assert_allclose(found, case['outputs/pooled'], atol=2e-5)
  in_batches = pooled(params, case['inputs/image'].reshape(1, 2, 1, 16, 16, 3))
  np.testing.assert_allclose(in_batches, found.reshape(1, 2, 1, 32), atol=1e-5)


def test_a_tower_without_one_averages_its_tokens():
  params, case = read('siglip_case_a')
  del params['MAPHead_0']
  found = pooled(params, case['inputs/image'])
  np.testing.assert_allclose(found, case['outputs/tokens'].mean(axis=1), atol=2e-5)


def test_a_paligemma_tower_is_pooled_before_its_head():
  params, case = read('paligemma_case_a')
  head = params['head']
  found = pooled(params, case['inputs/image']) @ head['kernel'] + head['bias'][None]
  np.testing.assert_allclose(found, case['outputs/image_tokens'].mean(axis=1), atol=2e-5)


def test_bytes_are_brought_to_the_towers_range():
  params, _ = read('siglip_case_a')
  images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
  expected = pooled(params, np.float32(images / 255 * 2 - 1))
  np.testing.assert_allclose(pooled(params, images), expected, atol=1e-5)


@pytest.mark.parametrize('name, pool', [('siglip_case_a', 'map'), ('paligemma_case_a', 'none')])
def test_weights_tell_the_sizes_of_their_tower(name, pool):
  params, case = read(name)
  sizes = json.loads(str(case['config']))
  sizes = sizes.get('img', sizes)
  found = encoder.of_weights(params)
  assert found.tower == siglip.SigLip(
    width=sizes['width'],
    depth=sizes['depth'],
    mlp_dim=sizes['mlp_dim'],
    heads=sizes['num_heads'],
    patch=sizes['patch_size'],
    pool=pool,
  )
  assert (found.image_size, found.width) == (sizes['image_size'], sizes['width'])


def test_cameras_are_encoded_in_the_order_of_the_views_and_missing_ones_are_zero():
  params, _ = read('siglip_case_a')
  tower, rng = encoder.of_weights(params), np.random.default_rng(0)
  images = {name: rng.integers(0, 256, (2, 16, 16, 3), np.uint8) for name in types.CAMERAS}
  masks = {'right_wrist': np.array([True, False]), 'left_wrist': np.array([False, True])}
  masks['head'] = np.array([True, True])
  shuffled = dict(reversed(images.items()))
  encode = jax.jit(lambda *seen: encoder.encode_cameras(tower, params, *seen))
  features = encode(shuffled)
  apply = jax.jit(tower.apply)
  for view, name in enumerate(('head', 'left_wrist', 'right_wrist')):
    alone = apply(params, images[name])
    np.testing.assert_allclose(features[:, view], alone, atol=1e-4)
  expected = np.array(features)
  expected[0, 1] = expected[1, 2] = 0
  np.testing.assert_allclose(encode(shuffled, masks), expected, atol=1e-5)
