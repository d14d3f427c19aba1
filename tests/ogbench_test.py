"""OGBench's cubes: what is shown of them, when an attempt has failed, and who can help."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax import types
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import people
from experiments import ogbench

pytest.importorskip('ogbench')

TASK = 'ogbench:cube-single-v0'
_, SUCCESS, _, _, TAKEOVER, _ = types.EndReason
OPEN = np.array([0.0, 0.0, 0.0, 0.0, -1.0])
LIMIT = 90


@flax.struct.dataclass
class Rising:
  """Lifts its empty gripper as high as it goes."""

  def act(self, sight, key):
    return jnp.tile(jnp.float32([0.0, 0.0, 1.0, 0.0, -1.0]), (len(sight.state), 4, 1))


@pytest.fixture(scope='module')
def world():
  return gymnasium_task.Task(TASK)


@pytest.fixture
def env(world):
  return world.environments(1)[0]


@pytest.fixture
def careful(env, monkeypatch):
  """Makes people of the careful kind, by the seed of an episode."""
  monkeypatch.setattr(people, 'CAREFUL_SHARE', 1.0)
  return lambda seed: env.make_human(np.random.default_rng(seed))


@pytest.fixture
def rise(world, careful):
  """Plays one episode of a policy that gets nowhere, somebody careful beside it."""
  setup = gymnasium_rollout.Setup(world, 4, LIMIT, 'watching')
  return lambda: setup.run(Rising(), key=jax.random.key(0), episodes=1)


@pytest.fixture
def rising(rise):
  return rise()


def carry(env, human, observation, info, height):
  """Has a human act until the cube is that high; returns what is seen then."""
  for _ in range(LIMIT):
    if info['privileged/block_0_pos'][2] > height:
      return observation, info
    observation, _, _, _, info = env.step(human.act(observation, info))
  raise AssertionError('the cube was never lifted')


def test_what_is_shown_can_be_worked_out_from_the_scene(env):
  observation, info = env.reset(seed=3)
  assert [len(observation[name]) for name in ('proprio', 'objects', 'goal')] == [19, 9, 18]
  gripper, cube = info['proprio/effector_pos'], info['privileged/block_0_pos']
  target = info['privileged/target_block_pos']
  np.testing.assert_allclose(observation['proprio'][12:15], 10 * (gripper - [0.425, 0, 0]))
  goal = observation['goal']
  np.testing.assert_allclose(goal[:3], np.clip((cube - gripper) / 0.2, -1, 1))
  np.testing.assert_allclose(goal[3:6], np.clip((target - cube) / 0.2, -1, 1))
  np.testing.assert_allclose(np.arctanh(goal[6:9]), (cube - gripper) / 0.02, rtol=1e-3)
  np.testing.assert_allclose(np.arctanh(goal[9:12]), (target - cube) / 0.02, rtol=1e-3)
  turn = info['privileged/block_0_yaw'] - info['proprio/effector_yaw']
  np.testing.assert_allclose(goal[[12, 14]], np.ravel([np.cos(4 * turn), np.sin(4 * turn)]))
  np.testing.assert_allclose(goal[16:], [np.tanh(cube[2] / 0.08), 1.0])


def test_no_episode_begins_at_its_target(env):
  for seed in range(20):
    _, info = env.reset(seed=seed)
    way = info['privileged/target_block_pos'] - info['privileged/block_0_pos']
    assert np.linalg.norm(way) >= 0.1


def test_careful_people_bring_the_cube_to_its_target(env, careful):
  for seed in range(3):
    (observation, info), human = env.reset(seed=seed), careful(seed)
    for _ in range(LIMIT):
      observation, _, terminated, _, info = env.step(human.act(observation, info))
      assert terminated == info['success']
      if terminated:
        break
    assert info['success']
    way = info['privileged/target_block_pos'] - info['privileged/block_0_pos']
    assert np.linalg.norm(way) <= 0.04


def test_a_dropped_cube_is_a_failure_that_somebody_can_put_right(env, careful):
  (observation, info), human = env.reset(seed=1), careful(1)
  carry(env, human, observation, info, 0.12)
  for _ in range(20):
    observation, _, terminated, _, info = env.step(OPEN)
    if terminated:
      break
  assert terminated
  assert not info['success']
  cube, gripper = info['privileged/block_0_pos'], info['proprio/effector_pos']
  assert cube[2] < 0.08
  assert np.linalg.norm(cube - gripper) > 0.06
  again, info = env.recover()
  np.testing.assert_array_equal(again['goal'], observation['goal'])
  observation, info = carry(env, human, again, info, 0.10)
  _, _, terminated, _, info = env.step(human.act(observation, info))
  assert not terminated


def test_an_operator_loses_patience_after_40_steps_without_a_centimetre(env, careful):
  (observation, info), human = env.reset(seed=2), careful(2)
  gripper = info['proprio/effector_pos']
  block = info['privileged/block_0_pos']
  assert [human.alarmed(observation, info) for _ in range(42)] == [False] * 40 + [True] * 2
  nearer = info | {'proprio/effector_pos': gripper + 0.1 * (block - gripper)}
  assert [human.alarmed(observation, nearer) for _ in range(41)] == [False] * 40 + [True]


def test_where_the_policy_gets_nowhere_somebody_takes_over(rising):
  end_reason, length = rising.end_reason[0], rising.lengths[0]
  assert np.flatnonzero(end_reason).tolist() == [40, length - 1]
  assert (end_reason[40], end_reason[length - 1]) == (TAKEOVER, SUCCESS)
  assert rising.source[0, 40:42].tolist() == [types.Source.POLICY, types.Source.HUMAN]


def test_equal_seeds_repeat_every_bit_of_the_physics(rising, rise):
  jax.tree.map(np.testing.assert_array_equal, rising, rise())


def test_tasks_without_a_solution_are_refused():
  with pytest.raises(ValueError, match="'ogbench:cube-simple-v0'; expected one of cube-single-v0"):
    gymnasium_task.Task('ogbench:cube-simple-v0')


@pytest.mark.parametrize('variant', ['cube_single', 'cube_double_debug'])
def test_every_variant_of_the_experiment_is_valid(variant):
  config = ogbench.get_config(variant)
  config_lib.validate(config)
  assert config.sim.task == f'ogbench:{variant.removesuffix("_debug").replace("_", "-")}-v0'


def test_an_unknown_variant_is_told_what_there_is():
  with pytest.raises(
    ValueError, match="unknown variant 'cubes'.*'cube_single' \\(cube-single-v0\\)"
  ):
    ogbench.get_config('cubes')
