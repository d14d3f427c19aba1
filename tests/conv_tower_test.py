"""The small actor's tower: its numbers by hand, and how the actor sees through it."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.models import conv_tower
from aloe_jax.models import encoder
from aloe_jax.models import small

pytestmark = pytest.mark.usefixtures('quick_compilation')

SIZE, BATCH = 8, 3


def by_hand(params, pixels):
  """The last map [B, 1, 1, C] and the vector [B, F] of images of 8 pixels, in NumPy."""
  first, second = (
    params[name] | {'kernel': params[name]['kernel'].reshape(size, size, -1, channels)}
    for name, size, channels in (('stage_0', 4, 4), ('stage_1', 3, 6))
  )
  places = np.zeros((len(pixels), 2, 2, first['bias'].size))
  for row, column in np.ndindex(2, 2):
    patch = pixels[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
    found = np.einsum('bijc,ijcd->bd', patch, first['kernel']) + first['bias']
    places[:, row, column] = np.maximum(found, 0)
  # Three places wide and two apart: of a map of two, all of it and zeros behind.
  seen = np.einsum('bijc,ijcd->bd', places, second['kernel'][:2, :2]) + second['bias']
  seen = np.maximum(seen, 0)
  vector = seen @ params['head']['kernel'] + params['head']['bias']
  normed = vector - vector.mean(axis=1, keepdims=True)
  normed /= np.sqrt(np.square(normed).mean(axis=1, keepdims=True) + 1e-6)
  return seen[:, None, None], normed * params['norm']['scale'] + params['norm']['bias']


def make_images(seed=0):
  rng = np.random.default_rng(seed)
  return {name: rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8) for name in types.CAMERAS}


def test_it_reads_patches_then_halves_the_map_and_tells_all_places_in_one_vector():
  found, params = tiny.make_encoder(SIZE)
  pixels = make_images()['head'] / 127.5 - 1
  last, out = jax.jit(found.tower.apply)({'params': params}, np.float32(pixels))
  expected_map, expected = by_hand(params, pixels)
  np.testing.assert_allclose(last, expected_map, atol=1e-4)
  np.testing.assert_allclose(out['pooled'], expected, atol=1e-3)
  np.testing.assert_allclose(
    jax.jit(found.apply)(params, make_images()['head']), expected, atol=1e-3
  )


@pytest.mark.parametrize('edge, size, stride', [(8, 4, 4), (8, 3, 2), (7, 3, 2), (5, 4, 4)])
def test_windows_are_what_a_convolution_reads(edge, size, stride):
  rng = np.random.default_rng(1)
  x, kernel = tiny.normal(rng, 2, edge, edge, 3), tiny.normal(rng, size, size, 3, 5)
  dimensions = ('NHWC', 'HWIO', 'NHWC')
  expected = jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), 'SAME', dimension_numbers=dimensions
  )
  found = conv_tower._windows(x, size, stride) @ kernel.reshape(-1, 5)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_actor_that_sees_images_does_what_it_does_with_the_features_of_its_tower():
  rng = np.random.default_rng(0)
  found, params = tiny.make_encoder(SIZE)
  actor = tiny.make_actor(tower=found.tower)
  features = tiny.make_observation(rng, BATCH)
  masks = {'left_wrist': np.array([True, False, True])}
  images = features.replace(features=None, images=make_images(), image_masks=masks)
  action, time = tiny.normal(rng, BATCH, tiny.HORIZON, tiny.ACTION), np.float32([0.1, 0.5, 1.0])
  whole = tiny.make_params(actor, images, action, time)
  whole['params'][small.TOWER] = params
  encoded = encoder.encode_cameras(found, params, images.images, masks)
  rest = {'params': {name: x for name, x in whole['params'].items() if name != small.TOWER}}
  velocity = jax.jit(actor.apply)
  np.testing.assert_allclose(
    velocity(whole, images, action, time),
    velocity(rest, features.replace(features=encoded), action, time),
    atol=1e-4,
  )
  slopes = jax.jit(jax.grad(lambda p: velocity(p, images, action, time).sum()))(whole)
  moved = jax.tree.map(lambda x: np.abs(x).max(), slopes['params'][small.TOWER])
  assert min(jax.tree.leaves(moved)) > 0


def test_an_actor_without_a_tower_needs_features():
  rng = np.random.default_rng(0)
  seen = tiny.make_observation(rng, BATCH)
  images = dataclasses.replace(seen, features=None, images=make_images())
  action, time = tiny.normal(rng, BATCH, tiny.HORIZON, tiny.ACTION), np.ones(BATCH, np.float32)
  with pytest.raises(ValueError, match='found images and no features; expected features'):
    tiny.make_actor().init(jax.random.key(0), images, action, time)
