"""The image tower agrees with big_vision's on recorded random weights."""

import json
import pathlib

import jax
import numpy as np
import pytest

from aloe_jax.models import siglip
from aloe_jax.pretrained import big_vision

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture(scope='module', autouse=True)
def highest_precision():
  with jax.default_matmul_precision('highest'):
    yield


def read(name):
  with np.load(GOLDEN / name) as file:
    return dict(file), json.loads(str(file['config']))


def make_tower(sizes, pool, head=0):
  return siglip.SigLip(
    width=sizes['width'],
    depth=sizes['depth'],
    mlp_dim=sizes['mlp_dim'],
    heads=sizes['num_heads'],
    patch=sizes['patch_size'],
    pool=pool,
    head=head,
  )


def run(tower, params, images):
  apply = jax.jit(lambda p, x: tower.apply({'params': p}, x, mutable=['intermediates']))
  (result, out), sown = apply(params, images)
  (blocks,) = jax.tree.leaves(sown)
  return result, out, blocks


def test_a_siglip_file_with_separate_layers_gives_its_tokens_and_map_pooling():
  case, sizes = read('siglip_case_a.npz')
  params = big_vision.load(f'{GOLDEN}/siglip_case_a.npz:img')
  pooled, out, blocks = run(make_tower(sizes, 'map'), params, case['inputs/image'])
  tolerance = dict(atol=2e-5, rtol=0)
  np.testing.assert_allclose(out['patch_embedding'], case['outputs/patch_embedding'], **tolerance)
  for layer in range(sizes['depth']):
    expected = case[f'outputs/block_{layer:02}']
    np.testing.assert_allclose(blocks[layer], expected, **tolerance)
  np.testing.assert_allclose(out['tokens'], case['outputs/tokens'], **tolerance)
  np.testing.assert_allclose(pooled, case['outputs/pooled'], **tolerance)
  np.testing.assert_array_equal(out['pooled'], pooled)


def test_mean_pooling_averages_the_patches_and_needs_no_head():
  case, sizes = read('siglip_case_a.npz')
  params = big_vision.load(f'{GOLDEN}/siglip_case_a.npz:img')
  del params['MAPHead_0']
  pooled, _, _ = run(make_tower(sizes, 'mean'), params, case['inputs/image'])
  np.testing.assert_allclose(pooled, case['outputs/tokens'].mean(axis=1), atol=2e-5)


def test_a_paligemma_tower_projects_every_patch_and_pools_before_that():
  case, sizes = read('paligemma_case_a.npz')
  params = big_vision.load(f'{GOLDEN}/paligemma_case_a.npz:img')
  tower = make_tower(sizes['img'], 'none', sizes['img']['head'])
  tokens, out, _ = run(tower, params, case['inputs/image'])
  np.testing.assert_allclose(tokens, case['outputs/image_tokens'], atol=2e-5)
  np.testing.assert_allclose(out['pooled'], out['tokens'].mean(axis=1), atol=1e-6)
  projected = out['tokens'] @ params['head']['kernel'] + params['head']['bias'][None, None]
  np.testing.assert_allclose(tokens, projected, atol=2e-5)


def test_so400m_has_the_published_number_of_parameters():
  sizes = dict(width=1152, depth=27, mlp_dim=4304, num_heads=16, patch_size=14)
  count = {}
  for pool, head in (('map', 0), ('none', 2048)):
    tower = make_tower(sizes, pool, head)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    shapes = jax.eval_shape(lambda x, t=tower: t.init(jax.random.key(0), x), image)['params']
    count[pool] = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  assert round(count['map'] / 1e6, 1) == 427.7
  assert round(count['none'] / 1e6, 1) == 414.8
