"""Ranges of numbers, worked out by hand."""

import numpy as np

from aloe_jax.data.tools import spread as spread_lib


def test_extremes_are_found_where_they_are():
  spread = spread_lib.Spread(2)
  spread.update(np.array([[1.0, 5.0], [3.0, -2.0]]), episode=4)
  spread.update(np.array([[2.0, 5.0], [2.0, 0.0], [-1.0, 1.0]]), episode=7)
  np.testing.assert_array_equal(spread.low, [-1, -2])
  np.testing.assert_array_equal(spread.high, [3, 5])
  np.testing.assert_array_equal(spread.low_at, [[7, 2], [4, 1]])
  np.testing.assert_array_equal(spread.high_at, [[4, 1], [4, 0]])


def test_the_farthest_value_counts_in_the_units_of_the_network():
  spread = spread_lib.Spread(1)
  values = np.append(np.linspace(0, 1, 999), 51.0)  # q01 and q99 near 0.01 and 0.99
  spread.update(values[:, None], episode=0)
  np.testing.assert_allclose(np.ravel(spread.quantiles()), [0.01, 0.99], atol=0.02)
  np.testing.assert_allclose(spread.farthest(), (51 - 0.5) / 0.49, rtol=0.05)


def test_numbers_that_never_move_or_reach_too_far_are_remarked_on():
  spread = spread_lib.Spread(4)
  vectors = np.tile(np.linspace(-1, 1, 1000)[:, None], 4)
  vectors[:, 0] = 3
  vectors[500, 2] = -40
  vectors[:, 3] = np.arange(1000) == 250  # a button pressed once
  spread.update(vectors, episode=6)
  still, far, rare = spread.remarks('action')
  assert still == 'action: numbers [0] never move.'
  assert far.startswith('action: number 2 is -40 in episode 6, step 500, while 98 % of its values')
  assert rare.startswith('action: number 3 is 1 in episode 6, step 250, while 98 % of its values')


def test_ordinary_numbers_are_not_remarked_on():
  spread = spread_lib.Spread(3)
  spread.update(np.random.default_rng(0).normal(size=(1000, 3)), episode=0)
  assert not spread.remarks('state')
