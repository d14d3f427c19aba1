"""The order of the data: passes over all rows, exact shares, nothing but (seed, position)."""

import re

import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import sampler

PLAIN = dict(demo=0.0, policy=0.0, human=0.0)
SOURCE = np.array([types.Source.DEMO] * 5 + [types.Source.POLICY] * 20 + [types.Source.HUMAN] * 3)
ROWS = np.arange(28)


def test_every_pass_visits_every_row_once_in_an_order_of_its_own():
  rows = np.array([2, 3, 5, 7, 11, 13, 17])
  passes = sampler.sample_rows(rows, seed=4, first=0, count=28).reshape(4, 7)
  for one in passes:
    np.testing.assert_array_equal(np.sort(one), rows)
  assert len({tuple(one) for one in passes}) == 4


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 16, 17, 1000, 100_003])
def test_a_pass_is_a_permutation_of_any_number_of_rows(size):
  for seed in range(3):
    order = sampler.sample_rows(np.arange(size), seed=seed, first=size, count=size)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_orders_are_as_good_as_drawn():
  """Every row comes at every place as often; rows that are neighbours do not stay together."""
  orders = np.stack(
    [sampler.sample_rows(np.arange(50), seed=seed, first=0, count=50) for seed in range(4000)]
  )
  counts = np.stack([np.bincount(at, minlength=50) for at in orders.T])
  chi_square = np.square(counts - 80).sum() / 80  # 49^2 degrees of freedom
  assert abs(chi_square - 2401) < 4 * np.sqrt(2 * 2401)
  followed = (np.diff(orders, axis=1) == 1).mean()
  assert abs(followed - 1 / 50) < 0.002


@pytest.mark.parametrize('first, count', [(0, 1), (3, 4), (6, 2), (7, 7), (13, 15), (20, 0)])
def test_samples_depend_on_seed_and_position_alone(first, count):
  rows = np.arange(100, 107)
  stream = sampler.sample_rows(rows, seed=4, first=0, count=40)
  part = sampler.sample_rows(rows, seed=4, first=first, count=count)
  np.testing.assert_array_equal(part, stream[first : first + count])


def test_another_seed_gives_another_order():
  rows = np.arange(50)
  streams = [sampler.sample_rows(rows, seed=seed, first=0, count=50) for seed in range(3)]
  assert (streams[0] != streams[1]).any()
  assert (streams[1] != streams[2]).any()


def test_sampling_from_no_rows_says_so():
  with pytest.raises(ValueError, match='there is no row to sample'):
    sampler.sample_rows(np.array([], int), seed=0, first=0, count=1)


def batches(ratios, first, count, size=10, rows=ROWS):
  return sampler.Sampler(rows, SOURCE, ratios).batches(3, first, count, size)


def test_without_ratios_batches_are_the_stream_cut_in_pieces():
  stream = sampler.sample_rows(ROWS, seed=3, first=20, count=30)
  np.testing.assert_array_equal(batches(PLAIN, 2, 3).reshape(-1), stream)


@pytest.mark.parametrize(
  'ratios, shares',
  [
    (dict(demo=1.0, policy=2.0, human=1.0), [0.25, 0.5, 0.25]),
    (dict(demo=1.0, policy=1.0, human=1.0), [1 / 3, 1 / 3, 1 / 3]),
    (dict(demo=0.3, policy=0.0, human=0.1), [0.75, 0.0, 0.25]),
  ],
)
def test_every_batch_has_its_sources_in_their_shares_and_the_sum_has_them_exactly(ratios, shares):
  drawn = SOURCE[batches(ratios, 0, 120)]
  counts = np.stack([(drawn == kind).sum(axis=1) for kind in types.Source], axis=1)
  expected = 10 * np.array(shares)
  assert (np.abs(counts - expected) < 2).all()
  np.testing.assert_allclose(
    np.cumsum(counts, axis=0)[11::12], 120 * np.outer(range(1, 11), shares)
  )


def test_with_ratios_each_source_is_passed_over_in_turn_and_any_range_is_a_slice():
  ratios = dict(demo=1.0, policy=2.0, human=1.0)
  whole = batches(ratios, 0, 40)
  np.testing.assert_array_equal(batches(ratios, 7, 5), whole[7:12])
  demos = whole[SOURCE[whole] == types.Source.DEMO]
  for start in range(0, 100, 5):
    np.testing.assert_array_equal(np.sort(demos[start : start + 5]), np.arange(5))


def test_a_source_without_rows_leaves_its_share_to_the_others():
  found = batches(dict(demo=1.0, policy=1.0, human=2.0), 0, 6, rows=ROWS[:25])
  assert ((SOURCE[found] == types.Source.DEMO).sum(axis=1) == 5).all()
  demos = ROWS[:5]
  only = batches(dict(demo=0.0, policy=1.0, human=1.0), 0, 2, size=5, rows=demos)
  np.testing.assert_array_equal(np.sort(only), [demos, demos])


@pytest.mark.parametrize('ratios', [PLAIN, dict(demo=1.0, policy=2.0, human=1.0)])
def test_visits_are_how_often_a_row_came_before_whatever_range_is_asked_for(ratios):
  drawn = batches(ratios, 0, 40)
  visits = sampler.Sampler(ROWS, SOURCE, ratios).visits(0, 40, 10)
  before = np.zeros(len(ROWS), int)
  for number in range(40):
    for row, visit in zip(drawn[number], visits[number], strict=True):
      assert visit == before[row]
      before[row] += 1
  assert before.min() > 3
  part = sampler.Sampler(ROWS, SOURCE, ratios).visits(7, 5, 10)
  np.testing.assert_array_equal(part, visits[7:12])


@pytest.mark.parametrize(
  'ratios, told',
  [
    (dict(demo=0.0, policy=0.0, human=0.0), ''),
    (dict(demo=1.0, policy=0.0, human=0.0), ''),
    (dict(demo=1.0, policy=1.0, human=3.0), 'a share to human, .* are 50% demo, 50% policy.'),
    (dict(demo=1.0, policy=0.0, human=3.0), 'a share to human, .* batches are 100% demo.'),
    (dict(demo=0.0, policy=0.0, human=3.0), 'to human, .* batches are of all chunks alike.'),
  ],
)
def test_a_share_of_what_is_not_there_is_told(ratios, told):
  source = np.int8([types.Source.DEMO] * 3 + [types.Source.POLICY] * 2 + [types.Source.HUMAN])
  found = sampler.tell_absent(np.arange(5), source, ratios)
  assert re.fullmatch(f'config.data.ratios gives .*{told}', found) if told else not found
