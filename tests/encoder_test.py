"""A frozen encoder gives what its tower pools, of every camera that is there."""

import json
import pathlib

import jax
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.models import encoder
from aloe_jax.models import siglip
from aloe_jax.pretrained import big_vision

pytestmark = pytest.mark.usefixtures('quick_compilation')

GOLDEN = pathlib.Path(__file__).parent / 'golden'


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
