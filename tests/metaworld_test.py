"""Meta-World: what is shown, when an attempt has failed, and who can help."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax import types
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_success
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import people
from experiments import metaworld

LIMIT = 80
OPEN = np.array([0.0, 0.0, 0.3, -1.0])
ENDS = ('', '_debug')


@flax.struct.dataclass
class Idle:
  """Does nothing at all."""

  def act(self, sight, key):
    return jnp.zeros((len(sight.state), 4, 4))


@pytest.fixture(scope='module')
def world():
  pytest.importorskip('metaworld')
  return gymnasium_task.Task('metaworld:pick-place-v3')


@pytest.fixture
def env(world):
  return world.environments(1)[0]


@pytest.fixture
def careful(env, monkeypatch):
  monkeypatch.setattr(people, 'CAREFUL_SHARE', 1.0)
  return lambda seed: env.make_human(np.random.default_rng(seed))


def carry(env, human, observation, info):
  """Has a human act until the puck is well above the table; returns what is seen then."""
  for _ in range(LIMIT):
    if info['seen'][6] > 0.09:
      return observation, info
    observation, _, _, _, info = env.step(human.act(observation, info))
  raise AssertionError('the puck was never lifted')


def test_what_is_shown_is_hand_things_goal_and_the_ways_between_them(env):
  observation, info = env.reset(seed=3)
  seen = info['seen']
  np.testing.assert_array_equal(observation['proprio'], seen[:4])
  np.testing.assert_array_equal(observation['goal'], env.unwrapped._target_pos)
  puck = env.unwrapped.get_body_com('obj')
  np.testing.assert_allclose(observation['things'][:3], puck)
  way = observation['goal'] - puck
  np.testing.assert_allclose(observation['ways'][3:6], np.clip(way / 0.2, -1, 1))


def test_a_scene_follows_from_its_seed_and_from_nothing_before(env, careful):
  first, _ = env.reset(seed=5)
  (observation, info), human = env.reset(seed=1), careful(1)
  carry(env, human, observation, info)
  again, _ = env.reset(seed=5)
  other, _ = env.reset(seed=6)
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])
  assert np.linalg.norm(first['goal'] - other['goal']) > 0.01


def test_a_dropped_puck_is_a_failure_that_somebody_can_put_right(env, careful):
  (observation, info), human = env.reset(seed=1), careful(1)
  carry(env, human, observation, info)
  for _ in range(40):
    _, _, terminated, _, info = env.step(OPEN)
    if terminated:
      break
  assert terminated
  assert not gymnasium_success.succeeded(0.0, terminated, info)
  assert info['seen'][6] < 0.05
  observation, info = env.recover()
  for _ in range(2 * LIMIT):
    observation, _, terminated, _, info = env.step(human.act(observation, info))
    if terminated:
      break
  assert gymnasium_success.succeeded(0.0, terminated, info)


def test_somebody_takes_over_from_a_policy_that_gets_nowhere_and_succeeds(world, careful):
  setup = gymnasium_rollout.Setup(world, 4, LIMIT, 'watching')
  found = setup.run(Idle(), key=jax.random.key(0), episodes=2)
  assert found.first_end.tolist() == [types.EndReason.TAKEOVER] * 2
  for index, length in enumerate(found.lengths):
    takeover = np.argmax(found.source[index] == types.Source.HUMAN)
    assert 50 <= takeover < LIMIT
    assert found.end_reason[index, length - 1] == types.EndReason.SUCCESS


CLOSING = {  # what was done before: in the air, or down on the thing
  'in the air': lambda seen: np.array([0.0, 0.0, 0.0, 1.0]),
  'on the thing': lambda seen: np.clip(np.append(10 * (seen[4:7] - seen[:3]), 1.0), -1, 1),
}


@pytest.mark.parametrize('task', ['push', 'pick-place-wall', 'shelf-place'])
@pytest.mark.parametrize('how', CLOSING)
def test_whoever_takes_over_with_closed_fingers_opens_them_first(task, how, monkeypatch):
  pytest.importorskip('metaworld')
  monkeypatch.setattr(people, 'CAREFUL_SHARE', 1.0)
  (env,) = gymnasium_task.Task(f'metaworld:{task}-v3').environments(1)
  observation, info = env.reset(seed=0)
  for _ in range(60):
    observation, _, _, _, info = env.step(CLOSING[how](info['seen']))
  assert info['seen'][3] < 0.4  # closed
  human = env.make_human(np.random.default_rng(0))
  for _ in range(2 * LIMIT):
    observation, _, terminated, _, info = env.step(human.act(observation, info))
    if terminated:
      break
  assert info['success']


def test_who_pushes_with_a_fist_keeps_it(monkeypatch):
  pytest.importorskip('metaworld')
  (env,) = gymnasium_task.Task('metaworld:window-open-v3').environments(1)
  observation, info = env.reset(seed=0)
  for _ in range(30):
    observation, _, _, _, info = env.step(np.array([0.0, 0.0, 0.0, 1.0]))
  human = env.make_human(np.random.default_rng(0))
  assert human.act(observation, info)[3] > 0


def test_a_task_that_is_not_there_is_told_with_those_that_are():
  pytest.importorskip('metaworld')
  with pytest.raises(ValueError, match="'metaworld:pick-v3'; expected one of assembly-v3, "):
    gymnasium_task.Task('metaworld:pick-v3')


@pytest.mark.parametrize(
  'variant', [task + end for task in metaworld.TASKS for end in ('', '_debug')]
)
def test_every_variant_is_a_config_of_its_task(variant):
  config = metaworld.get_config(variant)
  config_lib.validate(config)
  task, steps, prompt = metaworld.TASKS[variant.removesuffix('_debug')]
  assert (config.sim.task, config.task.max_steps) == (f'metaworld:{task}', steps)
  assert config.task.prompt == prompt


def test_an_unknown_variant_is_told_with_those_that_there_are():
  with pytest.raises(ValueError, match="unknown variant 'push_v3'.*'pick_place'"):
    metaworld.get_config('push_v3')
