"""Tags: which rows are told their chunk's advantage, and that it depends on nothing else."""

import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import tags as tags_lib

NONE, POSITIVE, NEGATIVE = types.Tag
TAGS = np.array([POSITIVE, NEGATIVE, NEGATIVE, POSITIVE], np.int8)


def draw(position, seed=3, drop=0.3):
  position = np.asarray(position)
  return tags_lib.Tags(TAGS, drop).of(position % len(TAGS), seed, position)


def test_the_stated_share_is_dropped_and_the_rest_keep_the_tag_of_their_row():
  position = np.arange(100_000)
  found = draw(position)
  dropped = found == NONE
  assert dropped.mean() == pytest.approx(0.3, abs=0.005)  # 3.4 standard deviations
  np.testing.assert_array_equal(found[~dropped], TAGS[position % 4][~dropped])
  for row in range(4):  # whichever tag it is
    assert dropped[row::4].mean() == pytest.approx(0.3, abs=0.01)


def test_whether_a_tag_is_dropped_depends_on_the_position_and_not_on_its_neighbours():
  whole = draw(np.arange(1000, 1064))
  np.testing.assert_array_equal(draw(np.arange(1032, 1040)), whole[32:40])
  hosts = np.arange(1000, 1064).reshape(2, 2, 16)[:, 1]  # the second host's halves of two batches
  np.testing.assert_array_equal(draw(hosts.reshape(-1)), whole.reshape(2, 2, 16)[:, 1].reshape(-1))


def test_another_seed_or_a_later_pass_over_the_rows_drops_others():
  first = draw(np.arange(400)) == NONE
  for other in (draw(np.arange(400), seed=4), draw(np.arange(400, 800))):
    both = (first & (other == NONE)).mean()
    assert both == pytest.approx(0.09, abs=0.05)


def test_nothing_is_dropped_where_nothing_should_be():
  np.testing.assert_array_equal(draw(np.arange(400), drop=0.0), np.tile(TAGS, 100))
