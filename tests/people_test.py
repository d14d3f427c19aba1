"""What scripted people have in common, whatever the simulator."""

import numpy as np
import pytest

from aloe_jax.envs import drops
from aloe_jax.envs import people
from aloe_jax.envs import ways


def test_half_of_the_people_are_careful_and_who_is_follows_from_the_seed():
  kinds = [people.is_careful(np.random.default_rng(seed)) for seed in range(400)]
  assert set(kinds) == {0, 1}
  assert 160 < sum(kinds) < 240
  assert kinds == [people.is_careful(np.random.default_rng(seed)) for seed in range(400)]


def test_people_aim_beside_in_any_direction():
  rng = np.random.default_rng(0)
  aims = np.array([people.beside(rng, 0.02) for _ in range(200)])
  np.testing.assert_allclose(np.linalg.norm(aims, axis=1), 0.02)
  assert (aims.min(axis=0) < -0.019).all()
  assert (aims.max(axis=0) > 0.019).all()


def test_patience_begins_anew_with_progress_and_not_with_less():
  patience = people.Patience(steps=3, progress=0.1)
  told = [patience.is_lost(left) for left in (1.0, 0.95, 0.91, 0.8, 0.8, 0.8, 0.75)]
  assert told == [False, False, False, False, False, False, True]


def test_a_way_is_shown_coarsely_and_finely():
  found = ways.shown(np.array([0.1, -0.4, 0.0]), np.array([0.02, 0.0, 0.0]))
  np.testing.assert_allclose(found[:6], [0.5, -1.0, 0.0, 0.1, 0.0, 0.0])
  np.testing.assert_allclose(found[[6, 9]], np.tanh([5.0, 1.0]))


@pytest.mark.parametrize(
  'heights, hands, expected',
  [
    ((0.0, 0.1, 0.02), (0.0, 0.1, 0.2), [False, False, True]),  # lifted, and fallen
    ((0.0, 0.1, 0.02), (0.0, 0.1, 0.05), [False, False, False]),  # put down by a hand
    ((0.0, 0.02, 0.0), (0.3, 0.3, 0.3), [False, False, False]),  # never lifted
    ((0.0, 0.1, 0.1), (0.0, 0.1, 0.3), [False, False, False]),  # stays up there
  ],
)
def test_dropped_is_what_was_lifted_and_lies_away_from_the_hand(heights, hands, expected):
  carried = drops.Carried(height=0.05, away=0.06)
  places = [
    (np.array([0, 0, z]), np.array([0, 0, hand])) for z, hand in zip(heights, hands, strict=True)
  ]
  assert [carried.is_dropped(*place) for place in places] == expected
