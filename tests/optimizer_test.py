"""The learning rate at chosen updates, and AdamW's first steps by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.learning import optimizer


@pytest.mark.parametrize(
  'count, expected',
  [
    (0, 0.25),  # 1 of 4 updates of warm-up
    (3, 1.0),
    (4, 1.0),  # the top of the cosine
    (9, 0.1 + 0.9 * 0.5),  # half way down to a tenth
    (14, 0.1),
    (99, 0.1),
  ],
)
def test_the_rate_rises_in_a_line_and_falls_by_half_a_cosine(count, expected):
  rate = optimizer.warmup_cosine(jnp.int32(count), peak=2.0, warmup=4, total=14, floor=0.1)
  np.testing.assert_allclose(rate, 2 * expected, rtol=1e-6)


@pytest.mark.parametrize('warmup, total, expected', [(0, 10, 2.0), (0, 0, 2.0), (8, 4, 0.25)])
def test_a_phase_without_warm_up_or_shorter_than_it_has_a_rate(warmup, total, expected):
  rate = optimizer.warmup_cosine(jnp.int32(0), peak=2.0, warmup=warmup, total=total, floor=0.0)
  np.testing.assert_allclose(rate, expected, rtol=1e-6)


def first_update(gradient, **changes):
  """The first step from parameters (1, -2)."""
  settings = dict(peak=0.1, warmup=1, total=10, weight_decay=0.0) | changes
  adamw = optimizer.adamw(**settings)
  params = jnp.float32([1, -2])
  updates, _ = adamw.update(jnp.float32(gradient), adamw.init(params), params)
  return updates


def test_the_first_step_moves_each_parameter_by_the_rate_against_its_gradients_sign():
  np.testing.assert_allclose(first_update([0.3, -0.01]), [-0.1, 0.1], rtol=1e-5)


def test_weight_decay_is_decoupled_from_the_gradient():
  update = first_update([0.3, -0.01], weight_decay=0.5)
  np.testing.assert_allclose(update, [-0.1 - 0.1 * 0.5, 0.1 + 0.1 * 0.5 * 2], rtol=1e-5)


def second_moments(gradient):
  adamw = optimizer.adamw(peak=0.1, warmup=1, total=10)
  params = jnp.float32([1, -2])
  _, state = adamw.update(jnp.float32(gradient), adamw.init(params), params)
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return next(leaf for path, leaf in leaves if '.nu' in jax.tree_util.keystr(path))


def test_gradients_are_clipped_to_a_global_norm_of_one():
  np.testing.assert_allclose(second_moments([3, 4]), 0.05 * np.square([0.6, 0.8]), rtol=1e-5)
  np.testing.assert_allclose(second_moments([0.3, 0.4]), 0.05 * np.square([0.3, 0.4]), rtol=1e-5)


def test_a_phase_of_another_rate_and_length_runs_without_another_compilation():
  long = optimizer.adamw(peak=0.1, warmup=1, total=1000)
  short = optimizer.adamw(peak=0.4, warmup=2, total=10, floor=0.5)
  params = jnp.float32([1, -2])
  update = jax.jit(long.update)
  gradient = jnp.float32([0.3, -0.01])
  _, state = update(gradient, long.init(params), params)
  update(gradient, state, params)
  updates, _ = update(gradient, short.init(params), params)
  np.testing.assert_allclose(updates, short.update(gradient, short.init(params), params)[0])
  assert np.abs(updates[0]) > 0.19  # half of the new peak, at the first of two updates
  assert update._cache_size() == 1
