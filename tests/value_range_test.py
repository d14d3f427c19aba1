"""Ranges of numbers, worked out by hand."""

import numpy as np
import rich.console

from aloe_jax.data.tools import value_range


def test_extremes_are_found_where_they_are():
  reach = value_range.ValueRange(2)
  reach.update(np.array([[1.0, 5.0], [3.0, -2.0]]), episode=4)
  reach.update(np.array([[2.0, 5.0], [2.0, 0.0], [-1.0, 1.0]]), episode=7)
  np.testing.assert_array_equal(reach.low, [-1, -2])
  np.testing.assert_array_equal(reach.high, [3, 5])
  np.testing.assert_array_equal(reach.low_at, [[7, 2], [4, 1]])
  np.testing.assert_array_equal(reach.high_at, [[4, 1], [4, 0]])


def test_the_farthest_value_counts_in_the_units_of_the_network():
  reach = value_range.ValueRange(1)
  values = np.append(np.linspace(0, 1, 999), 51.0)  # q01 and q99 near 0.01 and 0.99
  reach.update(values[:, None], episode=0)
  np.testing.assert_allclose(np.ravel(reach.quantiles()), [0.01, 0.99], atol=0.02)
  np.testing.assert_allclose(reach.farthest(), (51 - 0.5) / 0.49, rtol=0.05)


def test_numbers_that_never_move_or_reach_too_far_are_remarked_on():
  reach = value_range.ValueRange(4)
  vectors = np.tile(np.linspace(-1, 1, 1000)[:, None], 4)
  vectors[:, 0] = 3
  vectors[500, 2] = -40
  vectors[:, 3] = np.arange(1000) == 250  # a button pressed once
  reach.update(vectors, episode=6)
  still, far, rare = reach.remarks('action')
  assert still == 'action: numbers [0] never move.'
  assert far.startswith('action: number 2 is -40 in episode 6, step 500, while 98 % of its values')
  assert rare == (
    'action: number 3 is 1 in episode 6, step 250, while 98 % of its values lie between 0 and 0; '
    'it is normalised by its extremes, 0 and 1.'
  )


def test_padding_is_one_row_and_nothing_is_infinite():
  reach = value_range.ValueRange(6)
  vectors = np.tile(np.linspace(-1, 1, 1000)[:, None], 6)
  vectors[:, 2:5] = 0
  vectors[:, 5] = np.arange(1000) == 250  # a button pressed once
  reach.update(vectors, episode=0)
  console = rich.console.Console(width=120, record=True)
  console.print(reach.table('state'))
  rows = [line.split() for line in console.export_text().splitlines() if line.startswith('│')]
  found = [[cell for cell in row if cell != '│'] for row in rows]
  assert [row[0] for row in found] == ['0', '1', '2-4', '5']
  assert found[2][1:] == ['0', '0', '0', '0', 'never', 'moves']
  assert found[3][-5:] == ['1', '(by', 'min', 'and', 'max)']


def test_ordinary_numbers_are_not_remarked_on():
  reach = value_range.ValueRange(3)
  reach.update(np.random.default_rng(0).normal(size=(1000, 3)), episode=0)
  assert not reach.remarks('state')
