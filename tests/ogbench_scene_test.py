"""OGBench's scene: what is asked for in it, what comes first, and who can help."""

import numpy as np
import pytest

from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import people

pytest.importorskip('ogbench')

LIMIT = 120


@pytest.fixture(scope='module')
def env():
  return gymnasium_task.Task('ogbench:scene-v0').environments(1)[0]


@pytest.fixture
def careful(env, monkeypatch):
  """Makes people of the careful kind, by the seed of an episode."""
  monkeypatch.setattr(people, 'CAREFUL_SHARE', 1.0)
  return lambda seed: env.make_human(np.random.default_rng(seed))


@pytest.fixture(scope='module')
def starts(env):
  """{what is asked for, and whether it is locked: a seed} of some episodes."""
  found = {}
  for seed in range(40):
    _, info = env.reset(seed=seed)
    asked = info['privileged/target_task']
    found.setdefault((asked, info['now'] != asked), seed)
  return found


def play(env, human, observation, info):
  """All that a person does comes first, in order, until it is over."""
  stages = []
  for _ in range(LIMIT):
    stages += [info['now']] if stages[-1:] != [info['now']] else []
    observation, _, terminated, _, info = env.step(human.act(observation, info))
    if terminated:
      return stages, info['success']
  return stages, False


def test_a_cube_a_drawer_or_a_window_is_asked_for_and_never_a_button_alone(starts):
  assert {asked for asked, _ in starts} == {'cube', 'drawer', 'window'}
  assert ('window', True) in starts
  assert ('cube', True) not in starts


def test_what_is_locked_is_unlocked_first(env, starts, careful):
  seed = starts['window', True]
  stages, success = play(env, careful(seed), *env.reset(seed=seed))
  assert stages == ['button', 'window']
  assert success


@pytest.mark.parametrize('asked', ['cube', 'drawer', 'window'])
def test_careful_people_do_what_is_asked_for(asked, env, starts, careful):
  seed = starts[asked, False]
  stages, success = play(env, careful(seed), *env.reset(seed=seed))
  assert stages == [asked]
  assert success


def test_the_way_to_what_comes_next_is_shown(env, starts):
  observation, info = env.reset(seed=starts['window', True])
  way = info['privileged/target_button_top_pos'] - info['proprio/effector_pos']
  np.testing.assert_allclose(observation['goal'][:3], np.clip(way / 0.2, -1, 1))
  np.testing.assert_array_equal(observation['goal'][-4:], [0, 1, 0, 0])
  assert info['privileged/target_button'] == 1


def test_pressing_the_button_again_locks_it_again(env, starts, careful):
  seed = starts['window', True]
  (observation, info), human = env.reset(seed=seed), careful(seed)
  seen = []
  for _ in range(60):
    seen.append(int(info['button_states'][1]))
    if len(seen) > 1 and seen[-1] != seen[-2]:
      break
    observation, _, _, _, info = env.step(human.act(observation, info))
  assert seen[-1] == 1
  up, down = np.array([[0, 0, 1.0, 0, 1], [0, 0, -1.0, 0, 1]])
  for action in [up] * 6 + [down] * 12:
    _, _, _, _, info = env.step(action)
    if info['now'] == 'button':
      break
  assert info['now'] == 'button'
