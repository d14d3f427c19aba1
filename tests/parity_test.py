"""Held against big_vision itself, where `third_party/clone.sh` has brought it.

The recorded numbers in `tests/golden` are of one case each; here sizes and inputs are drawn anew.
"""

import importlib.util
import pathlib
import sys
import types

import jax
import numpy as np
import pytest

from aloe_jax.models import siglip
from aloe_jax.pretrained import big_vision

CLONE = pathlib.Path(__file__).parents[1] / 'third_party' / 'big_vision'

pytestmark = pytest.mark.skipif(
  not CLONE.is_dir(), reason='third_party/big_vision is not there; third_party/clone.sh brings it'
)

SIZES = dict(width=24, depth=3, mlp_dim=40, num_heads=3)  # an MLP that is not four times as wide


@pytest.fixture(scope='module')
def vit():
  """The file of big_vision's image tower.

  It needs the rest of big_vision, and TensorFlow with it, only to load checkpoints, which is not
  done here.
  """
  with pytest.MonkeyPatch.context() as patch:
    for name in ('big_vision', 'big_vision.models', 'big_vision.utils', 'big_vision.models.common'):
      module = types.ModuleType(name)
      patch.setitem(sys.modules, name, module)
      parent, _, child = name.rpartition('.')
      if parent:
        setattr(sys.modules[parent], child, module)
    spec = importlib.util.spec_from_file_location('vit', CLONE / 'big_vision' / 'models' / 'vit.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


@pytest.fixture(autouse=True)
def highest_precision():
  with jax.default_matmul_precision('highest'):
    yield


def random_like(params, seed=0):
  """Parameters none of which is zero or one, as a fresh network's biases and scales are."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: rng.normal(scale=0.3, size=x.shape).astype(np.float32), params)


def images(batch, size):
  return np.random.default_rng(1).uniform(-1, 1, (batch, size, size, 3)).astype(np.float32)


def theirs(vit, pictures, **options):
  """Their parameters, drawn at random, and what their tower makes of the pictures."""
  tower = vit.Model(patch_size=(7, 7), **SIZES, **options)
  params = random_like(tower.init(jax.random.key(0), pictures)['params'])
  return params, *jax.jit(tower.apply)({'params': params}, pictures)


def ours(params, pictures, **options):
  sizes = dict(width=SIZES['width'], depth=SIZES['depth'], mlp_dim=SIZES['mlp_dim'])
  tower = siglip.SigLip(**sizes, heads=SIZES['num_heads'], patch=7, **options)
  return jax.jit(tower.apply)({'params': params}, pictures)


@pytest.mark.parametrize('size', [14, 35])
@pytest.mark.parametrize('scan', [False, True])
def test_pooled_features_and_tokens_are_theirs(vit, size, scan):
  pictures = images(2, size)
  params, pooled, out = theirs(vit, pictures, pool_type='map', scan=scan)
  found, detail = ours(big_vision.stack_layers(params), pictures, pool='map')
  np.testing.assert_allclose(found, pooled, atol=2e-5)
  np.testing.assert_allclose(detail['tokens'], out['encoded'], atol=2e-5)


def test_the_projected_patches_of_paligemma_are_theirs(vit):
  pictures = images(2, 28)
  params, tokens, _ = theirs(vit, pictures, pool_type='none', num_classes=20, scan=True)
  found, _ = ours(params, pictures, pool='none', head=20)
  np.testing.assert_allclose(found, tokens, atol=2e-5)


def test_gradients_are_theirs(vit):
  pictures = images(2, 14)
  params, _, _ = theirs(vit, pictures, pool_type='map', scan=True)
  tower = vit.Model(patch_size=(7, 7), **SIZES, pool_type='map', scan=True)
  expected = jax.grad(lambda p: (tower.apply({'params': p}, pictures)[0] ** 2).mean())(params)
  found = jax.grad(lambda p: (ours(p, pictures, pool='map')[0] ** 2).mean())(params)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4, rtol=1e-4), found, expected)


def test_layers_are_stacked_and_parted_as_theirs(vit):
  params, _, _ = theirs(vit, images(1, 14), pool_type='map', scan=False)
  stacked = big_vision.stack_layers(params)
  jax.tree.map(np.testing.assert_array_equal, stacked, vit.pyloop_to_scan(params))
  assert jax.tree.structure(vit.scan_to_pyloop(stacked)) == jax.tree.structure(params)


@pytest.mark.parametrize('old, new', [(4, 7), (7, 4), (16, 16), (16, 24), (3, 1)])
def test_positions_are_resampled_as_theirs(vit, old, new):
  positions = np.random.default_rng(2).normal(size=(1, old * old, 5)).astype(np.float32)
  expected = vit.resample_posemb(positions, np.zeros((1, new * new, 5), np.float32))
  np.testing.assert_array_equal(big_vision.resample_positions(positions, new * new), expected)
