"""Episodes of one robot are not held for those of another, and those of another are."""

import numpy as np
import pytest

from aloe_jax.run import episode_share
from aloe_jax.run import statistics_fit

LENGTH, SIZE, KNOWN = 100, 14, 20


def walk(rng):
  return np.cumsum(0.05 * rng.normal(size=(LENGTH, SIZE)), 0)


def sinusoids(rng):
  times, number = np.linspace(0, 2 * np.pi, LENGTH)[:, None], np.arange(SIZE)
  return rng.uniform(0.7, 1, SIZE) * np.sin(times * (number % 3 + 1) + rng.uniform(0, 6) + number)


def picks(rng):
  """From home to a place, to a goal and back: joints, and grippers that close between."""
  places = np.array([0 * rng.uniform(size=3), rng.uniform(-1, 1, 3), rng.uniform(-0.2, 0.2, 3)])
  way, at = places[[0, 1, 1, 2, 2, 0]], [0, 35, 45, 75, 85, LENGTH]
  point = np.stack([np.interp(np.arange(LENGTH), at, way[:, i]) for i in range(3)], 1)
  joints = np.tanh(point @ np.random.default_rng(0).normal(size=(3, 12)))
  closed = (np.arange(LENGTH) >= 40) & (np.arange(LENGTH) < 80)
  return np.column_stack([joints + 0.01 * rng.normal(size=joints.shape), closed, ~closed])


def judged(known, found):
  """What is said of some episodes by the quantiles of others."""
  low, high = np.quantile(np.concatenate(known), [0.01, 0.99], axis=0)
  x, episode = np.concatenate(found), np.repeat(np.arange(len(found)), LENGTH)
  return episode_share.exceeds((x < low) | (x > high), episode, statistics_fit.SHARE)


@pytest.mark.parametrize('episode', [walk, sinusoids, picks])
@pytest.mark.parametrize('count', [1, 2, 3, 5, 20])
def test_new_episodes_of_the_same_robot_pass(episode, count):
  false, tries = 0, 100
  for seed in range(tries):
    rng = np.random.default_rng([seed, count])
    known, found = ([episode(rng) for _ in range(n)] for n in (KNOWN, count))
    false += judged(known, found).any()
  assert false <= 1


@pytest.mark.parametrize('episode', [walk, sinusoids, picks])
@pytest.mark.parametrize('count', [4, 20])
def test_a_joint_that_is_a_range_away_is_found(episode, count):
  rng = np.random.default_rng(count)
  known, found = ([episode(rng) for _ in range(n)] for n in (KNOWN, count))
  low, high = np.quantile(np.concatenate(known), [0.01, 0.99], axis=0)
  for x in found:
    x[:, 3] += (high - low)[3]
  np.testing.assert_array_equal(np.flatnonzero(judged(known, found)), [3])


@pytest.mark.parametrize('count', [1, 2])
def test_of_few_episodes_all_numbers_together_tell(count):
  rng = np.random.default_rng(count)
  known, found = ([sinusoids(rng) for _ in range(n)] for n in (KNOWN, count))
  assert not judged(known, found).any()
  assert judged(known, [2 + x for x in found]).all()


def test_a_share_is_of_steps_and_its_chance_of_episodes():
  outside = np.zeros((4 * LENGTH, 1), bool)
  outside[:LENGTH] = True  # a quarter, all in one of four
  episode = np.repeat(np.arange(4), LENGTH)
  assert not episode_share.exceeds(outside, episode, 0.1)[0]
  outside[:] = np.arange(4 * LENGTH)[:, None] % 4 == 0  # a quarter of each
  assert episode_share.exceeds(outside, episode, 0.1)[0]
  assert not episode_share.exceeds(outside, episode, 0.25)[0]
