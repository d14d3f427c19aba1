"""Which last actions are taken for fillers, and which a robot may have meant."""

import numpy as np
import pytest

from aloe_jax.data import last_action

SIZE, LENGTH, COUNT = 7, 30, 64


def filler(episodes):
  """What stands in for the last actions, or nothing."""
  judged = last_action.judge(episodes)
  return judged.seen if judged.is_filler else ''


def suspicion(episodes):
  """What makes last actions suspect that are kept, or nothing."""
  judged = last_action.judge(episodes)
  assert not judged.is_filler
  return judged.seen


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
  assert filler(ending(make, 0, count)) == f'the same zeros in {many}'


def test_zeros_are_a_filler_with_a_gripper_and_a_rest_on_the_way():
  episodes = [with_gripper(relative(rng), rng) for rng in map(np.random.default_rng, range(COUNT))]
  for number, actions in enumerate(episodes):
    actions[-1] = 0
    actions[:1] = 0  # the first move is none
    actions[10 : 10 + number % 2, :-1] = 0
  assert filler(episodes).startswith('the same zeros in all 64')


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('count', [1, COUNT])
def test_nan_in_the_last_action_only_is_a_filler(value, count):
  assert filler(ending(absolute, value, count)).startswith('NaN in ')
  partly = ending(absolute, 0.5, count)
  for actions in partly:
    actions[-1, 3] = value
  assert filler(partly).startswith('NaN in ')


def test_a_constant_is_a_filler_where_several_episodes_agree():
  assert filler(ending(relative, -9)) == (
    'the same -9, -9, -9, -9, -9, -9, -9 in all 64 episodes looked at'
  )
  posture = np.linspace(-9, 9, SIZE).astype(np.float32)
  assert filler(ending(absolute, posture)).startswith('the same -9, -6, -3, 0, 3')
  assert not filler(ending(relative, -9, count=2))


@pytest.mark.parametrize('make', [relative, absolute])
def test_actions_that_differ_are_real(make):
  assert not filler([make(np.random.default_rng(seed)) for seed in range(COUNT)])
  assert not filler([make(np.random.default_rng(0))])
  assert not filler([make(np.random.default_rng(0))] * 16)  # one recording, copied


def test_a_robot_that_stands_still_at_the_end_means_it():
  assert not filler(held(0, steps=3))
  assert not filler(held(1, steps=2))
  assert not filler(held(0, steps=2, count=1))
  mixed = held(0, steps=1, count=8) + held(0, steps=4, count=8)
  assert not filler(mixed)
  pausing = ending(relative, 0)
  for actions in pausing:
    actions[4:8] = 0
  assert not filler(pausing)


def test_a_command_to_the_gripper_alone_is_meant():
  for closed in (0, 1):
    episodes = held(closed, steps=4)
    for actions in episodes:
      actions[-1, -1] = 1 - closed
    assert not filler(episodes)
  opening = ending(relative, [0] * (SIZE - 1) + [1])
  for actions in opening:
    actions[:-1, -1] = 0
  assert not filler(opening)


def test_a_planned_path_that_ends_at_its_goal_is_meant():
  def to(goal, count=COUNT):
    share = (1 - np.cos(np.linspace(0, np.pi, LENGTH)))[:, None] / 2
    starts = [np.random.default_rng(seed).normal(size=SIZE) for seed in range(count)]
    return [(start + share * (goal - start)).astype(np.float32) for start in starts]

  assert not filler(to(np.zeros(SIZE)))
  assert not filler(to(np.linspace(-1, 1, SIZE)))


def test_actions_that_are_clipped_to_their_bounds_are_meant():
  episodes = [np.clip(2 * relative(np.random.default_rng(seed)), -1, 1) for seed in range(COUNT)]
  for actions in episodes:
    actions[-1] = 1
  assert not filler(episodes)


def test_few_or_broken_episodes_say_nothing():
  assert not filler([])
  assert not filler([np.zeros((1, SIZE), np.float32)] * 3)
  assert not filler([np.zeros((9, SIZE), np.float32)] * 3)
  broken = ending(relative, np.nan)
  for actions in broken:
    actions[3] = np.nan
  assert not filler(broken)
  some = ending(relative, np.nan, count=8) + ending(relative, 0.5, count=8)
  assert not filler(some)


@pytest.mark.parametrize('make', [relative, absolute])
@pytest.mark.parametrize('value, text', [(0, 'zeros'), (-9, '-9, -9, -9, -9, -9, -9, -9')])
def test_an_episode_that_was_aborted_hides_no_filler(make, value, text):
  episodes = ending(make, value)
  episodes[3] = make(np.random.default_rng(3))
  assert filler(episodes) == f'the same {text} in 63 of 64 episodes looked at'
  episodes[5][-1] = np.nan
  assert filler(episodes) == f'the same {text} in 62 of 64 episodes looked at'


def test_fillers_that_are_not_certain_are_told():
  half = ending(relative, 0, 32) + [relative(np.random.default_rng(seed)) for seed in range(30)]
  assert suspicion(half) == 'the same zeros in 32 of 62 episodes looked at'
  two = ending(absolute, 0, 32) + ending(absolute, -9, 32)
  assert ' in 32 of 64 episodes looked at' in suspicion(two)
  assert suspicion(ending(absolute, -9, 2)).endswith(' in all 2 episodes looked at')
  kept = [with_gripper(absolute(rng), rng) for rng in map(np.random.default_rng, range(8))]
  for number, actions in enumerate(kept):
    actions[:, -1] = 1 - actions[:, -1] if number % 2 else actions[:, -1]
    actions[-1, :-1] = 0
  told = 'zeros in all numbers but those of a gripper in all'
  assert suspicion(kept[1::2]) == f'{told} 4 episodes looked at'
  assert suspicion(kept[1:]) == f'{told} 7 episodes looked at'


def healthy():
  """Data of which nothing is to be said, by name."""
  rngs = [np.random.default_rng(seed) for seed in range(COUNT)]
  ramp = np.linspace(1, 0, LENGTH)[:, None]
  share = (1 - np.cos(np.linspace(0, np.pi, LENGTH)))[:, None] / 2
  starts = [rng.normal(size=SIZE) for rng in rngs]
  yield 'random', [relative(rng) for rng in rngs]
  yield 'paths', [absolute(rng) for rng in rngs]
  yield 'with a gripper', [with_gripper(relative(rng), rng) for rng in rngs]
  yield 'clipped', [np.clip(2 * relative(rng), -1, 1) for rng in rngs]
  yield 'slowing down', [relative(rng) * ramp for rng in rngs]
  yield 'slowing down with a gripper', [with_gripper(relative(rng) * ramp, rng) for rng in rngs]
  for steps in (2, 3):
    yield f'resting for {steps} steps', held(1, steps)
  yield 'to one goal', [start * (1 - share) for start in starts]
  yield 'to one goal that is not zero', [start + share * (1 - start) for start in starts]
  yield 'of one number', [rng.integers(0, 4, (LENGTH, 1)) for rng in rngs]
  yield 'a gripper alone', [rng.integers(0, 2, (LENGTH, 1)) for rng in rngs]
  yield 'one recording, copied', [relative(np.random.default_rng(0))] * COUNT


@pytest.mark.parametrize('count', [1, 2, 5, COUNT])
@pytest.mark.parametrize('name, episodes', [pytest.param(*one, id=one[0]) for one in healthy()])
def test_nothing_is_said_of_what_a_robot_means(name, episodes, count):
  del name
  judged = last_action.judge([np.asarray(a, np.float32) for a in episodes[:count]])
  assert judged == last_action.Judgement()
