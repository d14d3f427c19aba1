"""Numbers of observations and actions: what counts as a range, and what whole numbers come to."""

import types

from gymnasium import spaces
import numpy as np
import pytest

from aloe_jax.envs import gymnasium_spaces

FLOAT32 = float(np.finfo(np.float32).max)
FLOAT64 = float(np.finfo(np.float64).max)


def spaces_of(observation, action=None):
  action = action or spaces.Box(-1.0, 1.0, (1,))
  env = types.SimpleNamespace(observation_space=observation, action_space=action)
  return gymnasium_spaces.Spaces(env, 'stub', is_quiet=True)


def features(found, observation):
  size = len(np.ravel(observation))
  return found.sight(observation).features.ravel()[:size]


@pytest.mark.parametrize(
  'bound, dtype',
  [
    (FLOAT32, np.float32),
    (0.6 * FLOAT32, np.float32),
    (1e10, np.float32),
    (1e10, np.float64),
    (FLOAT64, np.float64),
    (2e6, np.float32),
  ],
)
def test_bounds_that_are_far_off_are_none_and_said_once(bound, dtype):
  found = spaces_of(spaces.Box(-bound, bound, (2,), dtype))
  for _ in range(2):
    seen = features(found, np.array([3.0, -0.5], dtype))
    np.testing.assert_allclose(seen, [np.log(4.0), -np.log(1.5)], rtol=1e-6)
  (said,) = found.remarks.said.values()
  low, high = f'{-dtype(bound):.6g}', f'{dtype(bound):.6g}'
  assert said.startswith(
    f'stub: observation has numbers with bounds of {low} to {high}; expected none beyond 1e+06'
  )


def test_far_bounds_are_told_of_the_part_that_has_them_and_the_others_keep_their_scale():
  low, high = np.float64([-1e6, 0.0]), np.float64([1e6, 1e9])
  space = spaces.Dict(near=spaces.Box(-4.0, 4.0, (1,)), far=spaces.Box(low, high, dtype=np.float64))
  found = spaces_of(space)
  sight = found.sight({'near': np.float32([3.0]), 'far': np.array([5e5, 7.0])})
  # 3 of -4 to 4, 5e5 of -1e6 to 1e6, 7 of 0 to 1e9.
  np.testing.assert_allclose(sight.features.ravel(), [0.75, 0.5, np.log(8.0)], rtol=1e-6)
  (said,) = found.remarks.said.values()
  assert "observation['far'] has numbers with bounds of 0 to 1e+09;" in said


def test_infinite_bounds_are_not_spoken_of():
  found = spaces_of(spaces.Box(-np.inf, np.inf, (1,)))
  found.sight(np.float32([FLOAT32 / 2]))
  assert not found.remarks.said


def test_whole_numbers_are_seen_as_they_are_delivered_and_what_is_odd_is_said():
  found = spaces_of(spaces.Box(0, 255, (2,), np.uint8))
  np.testing.assert_allclose(features(found, np.uint8([255, 51])), [1.0, -0.6], rtol=1e-6)
  assert not found.remarks.said
  # 300 of 0 to 255 is (300 - 127.5) / 127.5; 102.51 is not cut.
  sight = found.sight([300, 102.51])
  np.testing.assert_allclose(sight.features.ravel()[:2], [172.5 / 127.5, -24.99 / 127.5], rtol=1e-5)
  np.testing.assert_allclose(sight.state, [300.0, 102.51], rtol=1e-6)
  outside, part = found.remarks.said.values()
  assert outside.startswith('stub: observation holds 300, outside of its bounds 0 to 255.')
  assert part.startswith('stub: observation holds 102.51; expected whole numbers, as its space is')


def test_numbers_that_a_narrow_float_cannot_hold_are_not_made_infinite():
  found = spaces_of(spaces.Box(-np.inf, np.inf, (1,), np.float16))
  sight = found.sight(np.float32([1e5]))
  np.testing.assert_allclose(sight.state, [1e5])


def test_parts_that_are_no_boxes_are_flattened_as_ever():
  space = spaces.Dict(
    choice=spaces.Discrete(3), pair=spaces.Tuple([spaces.MultiBinary(2), spaces.Box(0, 4, (1,))])
  )
  sight = spaces_of(space).sight({'choice': 1, 'pair': (np.int8([1, 0]), np.float32([3.0]))})
  np.testing.assert_array_equal(sight.state, [0, 1, 0, 1, 0, 3])
  # Of -1 to 1: what is 0 to 1, and 3 of 0 to 4.
  np.testing.assert_array_equal(sight.features.ravel(), [-1, 1, -1, 1, -1, 0.5])


def test_whole_actions_are_the_nearest_ones():
  found = spaces_of(spaces.Box(-1.0, 1.0, (1,)), spaces.Box(-3, 3, (5,), np.int32))
  action = found.action(np.float32([0.37, 0.63, -0.9, 9.0, -2.4]))
  np.testing.assert_array_equal(action, [0, 1, -1, 3, -2])
  assert action.dtype == np.int32
