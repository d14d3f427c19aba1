"""Which last actions are taken for fillers, and which a robot may have meant."""

import numpy as np
import pytest

from aloe_jax.data import last_action

SIZE, LENGTH, COUNT = 7, 30, 64


def relative(rng, length=LENGTH, size=SIZE):
  """Small moves around zero, as of an arm that is told differences."""
  return rng.normal(size=(length, size)).astype(np.float32)


def absolute(rng, length=LENGTH, size=SIZE):
  """A smooth path of joint angles from one place to another."""
  share = (1 - np.cos(np.linspace(0, np.pi, length)))[:, None] / 2
  start, stop = rng.normal(size=(2, size))
  return (start + share * (stop - start)).astype(np.float32)


def with_gripper(actions, rng):
  """The same with a gripper that is 1 until it opens on the way."""
  gripper = (np.arange(len(actions)) < rng.integers(5, len(actions) - 2)).astype(np.float32)
  return np.column_stack([actions, gripper])


def ending(make, value, count=COUNT, **options):
  """Episodes whose last action is replaced."""
  episodes = [make(np.random.default_rng(seed), **options) for seed in range(count)]
  for actions in episodes:
    actions[-1] = value
  return episodes


def held(number, steps, count=COUNT):
  """Relative moves with a rest of some steps at the end, and a gripper that is held."""
  episodes = [relative(np.random.default_rng(seed)) for seed in range(count)]
  for actions in episodes:
    actions[:, -1] = number
    actions[-steps:, :-1] = 0
  return episodes


@pytest.mark.parametrize('make', [relative, absolute])
@pytest.mark.parametrize('count', [1, 2, 5, COUNT])
def test_zeros_after_a_robot_that_moves_are_a_filler(make, count):
  many = f'all {count} episodes looked at' if count > 1 else 'the one episode there is to look at'
  assert last_action.filler(ending(make, 0, count)) == f'the same zeros in {many}'


def test_zeros_are_a_filler_with_a_gripper_and_a_rest_on_the_way():
  episodes = [with_gripper(relative(rng), rng) for rng in map(np.random.default_rng, range(COUNT))]
  for number, actions in enumerate(episodes):
    actions[-1] = 0
    actions[:1] = 0  # the first move is none
    actions[10 : 10 + number % 2, :-1] = 0
  assert last_action.filler(episodes).startswith('the same zeros in all 64')


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('count', [1, COUNT])
def test_nan_in_the_last_action_only_is_a_filler(value, count):
  assert last_action.filler(ending(absolute, value, count)).startswith('NaN in ')
  partly = ending(absolute, 0.5, count)
  for actions in partly:
    actions[-1, 3] = value
  assert last_action.filler(partly).startswith('NaN in ')


def test_a_constant_is_a_filler_where_several_episodes_agree():
  assert last_action.filler(ending(relative, -9)) == (
    'the same -9, -9, -9, -9, -9, -9, -9 in all 64 episodes looked at'
  )
  posture = np.linspace(-9, 9, SIZE).astype(np.float32)
  assert last_action.filler(ending(absolute, posture)).startswith('the same -9, -6, -3, 0, 3')
  assert not last_action.filler(ending(relative, -9, count=2))


@pytest.mark.parametrize('make', [relative, absolute])
def test_actions_that_differ_are_real(make):
  assert not last_action.filler([make(np.random.default_rng(seed)) for seed in range(COUNT)])
  assert not last_action.filler([make(np.random.default_rng(0))])
  assert not last_action.filler([make(np.random.default_rng(0))] * 16)  # one recording, copied


def test_a_robot_that_stands_still_at_the_end_means_it():
  assert not last_action.filler(held(0, steps=3))
  assert not last_action.filler(held(1, steps=2))
  assert not last_action.filler(held(0, steps=2, count=1))
  mixed = held(0, steps=1, count=8) + held(0, steps=4, count=8)
  assert not last_action.filler(mixed)
  pausing = ending(relative, 0)
  for actions in pausing:
    actions[4:8] = 0
  assert not last_action.filler(pausing)


def test_a_command_to_the_gripper_alone_is_meant():
  for closed in (0, 1):
    episodes = held(closed, steps=4)
    for actions in episodes:
      actions[-1, -1] = 1 - closed
    assert not last_action.filler(episodes)
  opening = ending(relative, [0] * (SIZE - 1) + [1])
  for actions in opening:
    actions[:-1, -1] = 0
  assert not last_action.filler(opening)


def test_a_planned_path_that_ends_at_its_goal_is_meant():
  def to(goal, count=COUNT):
    share = (1 - np.cos(np.linspace(0, np.pi, LENGTH)))[:, None] / 2
    starts = [np.random.default_rng(seed).normal(size=SIZE) for seed in range(count)]
    return [(start + share * (goal - start)).astype(np.float32) for start in starts]

  assert not last_action.filler(to(np.zeros(SIZE)))
  assert not last_action.filler(to(np.linspace(-1, 1, SIZE)))


def test_actions_that_are_clipped_to_their_bounds_are_meant():
  episodes = [np.clip(2 * relative(np.random.default_rng(seed)), -1, 1) for seed in range(COUNT)]
  for actions in episodes:
    actions[-1] = 1
  assert not last_action.filler(episodes)


def test_few_or_broken_episodes_say_nothing():
  assert not last_action.filler([])
  assert not last_action.filler([np.zeros((1, SIZE), np.float32)] * 3)
  assert not last_action.filler([np.zeros((9, SIZE), np.float32)] * 3)
  broken = ending(relative, np.nan)
  for actions in broken:
    actions[3] = np.nan
  assert not last_action.filler(broken)
  some = ending(relative, np.nan, count=8) + ending(relative, 0.5, count=8)
  assert not last_action.filler(some)
