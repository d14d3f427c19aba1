"""gym-aloha: what is shown, when an attempt has failed, and who can help."""

import math

import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax.envs import gymnasium_success
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import people
from experiments import gym_aloha

LIMIT = 80


@pytest.fixture(scope='module')
def worlds():
  pytest.importorskip('gym_aloha')
  return {task: gymnasium_task.Task(f'gym_aloha:{task}') for task in ('transfer_cube', 'insertion')}


@pytest.fixture
def careful(monkeypatch):
  monkeypatch.setattr(people, 'CAREFUL_SHARE', 1.0)
  return lambda env, seed: env.make_human(np.random.default_rng(seed))


def act(env, human, observation, info, until):
  """Has a human act until something is so; returns what is seen then."""
  for _ in range(LIMIT):
    action = np.clip(human.act(observation, info), env.action_space.low, env.action_space.high)
    observation, _, terminated, _, info = env.step(action)
    if terminated or until(info):
      return observation, info
  raise AssertionError('it never came to that')


def test_joints_that_are_solved_for_bring_a_gripper_where_it_was_to_be(worlds):
  from aloe_jax.envs import gym_aloha_arms

  (env,) = worlds['transfer_cube'].environments(1)
  env.reset(seed=0)
  arms = gym_aloha_arms.Arms(env.unwrapped.physics)
  joints = np.array([0.2, -0.6, 0.9, 0.1, 0.5, -0.2])
  for side in ('left', 'right'):
    place, turn = arms.gripper(side, joints)
    wanted = gym_aloha_arms.turned(turn, (0, 1, 0), 0.1)
    there = place + np.array([0.01, -0.02, 0.02])
    found, turned = arms.gripper(side, arms.reach(side, joints, there, wanted))
    np.testing.assert_allclose(found, there, atol=1e-3)
    assert abs(turned @ wanted) > 1 - 1e-5


def test_an_aligned_wrist_does_not_spin(worlds):
  from aloe_jax.envs import gym_aloha_arms

  (env,) = worlds['transfer_cube'].environments(1)
  arms = gym_aloha_arms.Arms(env.unwrapped.physics)
  aligned = np.array([0.0, -0.96, 1.16, 0.0, 0.0, 0.0])  # both rolls are about one axis
  place, turn = arms.gripper('right', aligned)
  found = arms.reach('right', aligned, place, gym_aloha_arms.turned(turn, (0, 0, 1), 0.05))
  assert np.abs(found - aligned).max() < 0.2


def test_a_turn_goes_on_by_so_much_and_not_beyond_its_end():
  pytest.importorskip('gym_aloha')
  from aloe_jax.envs import gym_aloha_arms

  start = np.array([1.0, 0.0, 0.0, 0.0])
  end = gym_aloha_arms.turned(start, (0, 0, 1), 0.5)
  part = gym_aloha_arms.towards(start, end, 0.2)
  np.testing.assert_allclose(part, [math.cos(0.1), 0.0, 0.0, math.sin(0.1)], atol=1e-9)
  np.testing.assert_allclose(gym_aloha_arms.towards(start, end, 9.0), end, atol=1e-9)


@pytest.mark.parametrize('task', ['transfer_cube', 'insertion'])
def test_careful_people_do_both_tasks(task, worlds, careful):
  (env,) = worlds[task].environments(1)
  observation, info = env.reset(seed=3)
  things = np.array([thing[:3] for thing in info['things']])
  shown = observation['things'].reshape(-1, 7)
  np.testing.assert_array_equal(shown[:, :3], things)
  way = things[0] - info['grippers']['right']
  np.testing.assert_allclose(observation['ways'][:3], np.clip(way / 0.2, -1, 1))
  _, info = act(env, careful(env, 3), observation, info, lambda info: False)
  assert info['success']


def test_a_dropped_cube_is_a_failure_that_somebody_can_put_right(worlds, careful):
  (env,) = worlds['transfer_cube'].environments(1)
  (observation, info), human = env.reset(seed=1), careful(env, 1)
  observation, info = act(env, human, observation, info, lambda info: info['things'][0][2] > 0.12)
  let_go = np.zeros(14)
  let_go[13] = 1.0
  for _ in range(10):
    observation, _, terminated, _, info = env.step(let_go)
    if terminated:
      break
  assert terminated
  assert not gymnasium_success.succeeded(0.0, terminated, info)
  observation, info = env.recover()
  _, info = act(env, human, observation, info, lambda info: False)
  assert info['success']


def test_a_scene_follows_from_its_seed_and_from_nothing_before(worlds, careful):
  (env,) = worlds['insertion'].environments(1)
  first, info = env.reset(seed=5)
  for _ in range(3):
    env.step(careful(env, 5).act(first, info))
  again, _ = env.reset(seed=5)
  other, _ = env.reset(seed=6)
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])
  assert np.linalg.norm(first['things'] - other['things']) > 0.01


def test_a_task_that_is_not_there_is_told_with_those_that_are():
  pytest.importorskip('gym_aloha')
  with pytest.raises(ValueError, match="'gym_aloha:cube'; expected one of transfer_cube, insert"):
    gymnasium_task.Task('gym_aloha:cube')


@pytest.mark.parametrize('variant', ['transfer_cube', 'insertion', 'insertion_debug'])
def test_every_variant_is_a_config_of_its_task(variant):
  config = gym_aloha.get_config(variant)
  config_lib.validate(config)
  assert config.sim.task == f'gym_aloha:{variant.removesuffix("_debug")}'
