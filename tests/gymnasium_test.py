"""Any Gymnasium environment as a world: what is seen, who acts, what ends a fragment."""

import functools
import re
import sys

import flax.struct
import gymnasium
from gymnasium import spaces
import jax
import jax.numpy as jnp
import line_world
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_spaces
from aloe_jax.envs import gymnasium_success
from aloe_jax.envs import gymnasium_task

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, _ = types.EndReason
DEMO, POLICY, HUMAN = types.Source
EPISODES, LIMIT = 11, 9  # more than there are places


@flax.struct.dataclass
class Scripted:
  """Plays the chunk [h, 1], each action plus `follow` times where x is seen."""

  chunk: jax.Array
  follow: float = 0.0

  def act(self, sight, key):
    return self.chunk[None] + self.follow * sight.state[:, None, :1]


@functools.cache
def world(kind):
  return gymnasium_task.Task(f'gymnasium:line_world:{kind}-v0')


def play(
  kind,
  chunk,
  *,
  follow=0.0,
  human='none',
  execute=2,
  key=0,
  episodes=EPISODES,
  told=None,
  processes=1,
):
  setup = gymnasium_rollout.Setup(world(kind), execute, LIMIT, human, processes)
  policy = None if chunk is None else Scripted(jnp.float32(chunk)[:, None], follow)
  progress = (lambda *numbers: None) if told is None else lambda *numbers: told.append(numbers)
  return setup.run(policy, key=jax.random.key(key), episodes=episodes, progress=progress)


def episode(trajectories, index):
  """Positions, actions, sources and end reasons of one episode."""
  steps = slice(0, trajectories.lengths[index])
  return (
    trajectories.state[index, steps, 0],
    trajectories.action[index, steps, 0],
    trajectories.source[index, steps].tolist(),
    trajectories.end_reason[index, steps].tolist(),
  )


class Stub:
  """The spaces of an environment, and nothing else."""

  def __init__(self, observation_space, action_space=None):
    self.observation_space = observation_space
    self.action_space = action_space or spaces.Box(-1.0, 1.0, (2,))


def test_a_dict_is_all_features_in_scale_and_what_it_calls_proprio_as_it_is():
  low, high = np.float32([0.0, -np.inf]), np.float32([4.0, np.inf])
  space = spaces.Dict(goal=spaces.Box(low, high), proprio=spaces.Box(-5.0, 5.0, (2,)))
  found = gymnasium_spaces.Spaces(Stub(space), 'stub')
  assert (found.proprio_size, found.feature_shape, found.action_size) == (2, (3, 2), 2)
  sight = found.sight({'goal': np.float32([3.0, -1.0]), 'proprio': np.float32([2.5, -5.0])})
  np.testing.assert_array_equal(sight.state, [2.5, -5.0])
  # 3 of 0 to 4 is half way up; -1 without bounds is -log(2).
  expected = [[0.5, -np.log(2.0)], [0.5, -1.0], [0.0, 0.0]]
  np.testing.assert_allclose(sight.features, expected, rtol=1e-6)


def test_of_a_plain_box_the_first_32_numbers_are_proprio():
  found = gymnasium_spaces.Spaces(Stub(spaces.Box(-1.0, 1.0, (40,), np.float64)), 'stub')
  numbers = np.linspace(-1.0, 1.0, 40)
  sight = found.sight(numbers)
  np.testing.assert_allclose(sight.state, numbers[:32], rtol=1e-6)
  assert found.feature_shape == (3, 14)
  np.testing.assert_allclose(sight.features.ravel(), [*numbers, 0.0, 0.0], rtol=1e-6)


def test_a_proprio_of_more_numbers_than_networks_take_is_not_cut():
  space = spaces.Dict(proprio=spaces.Box(-1.0, 1.0, (33,)), goal=spaces.Box(-1.0, 1.0, (2,)))
  with pytest.raises(ValueError, match="stub: .*'proprio' has 33 numbers, expected at most 32"):
    gymnasium_spaces.Spaces(Stub(space), 'stub')


def test_actions_are_brought_within_their_bounds():
  action = spaces.Box(np.float32([-1.0, 0.0]), np.float32([1.0, 0.5]))
  found = gymnasium_spaces.Spaces(Stub(spaces.Box(-1.0, 1.0, (1,)), action), 'stub')
  np.testing.assert_array_equal(found.action(np.array([-3.0, 0.25])), np.float32([-1.0, 0.25]))


@pytest.mark.parametrize(
  'observation, action, message',
  [
    (spaces.Box(-1.0, 1.0, (1,)), spaces.Discrete(3), r'actions are Discrete\(3\), expected a Box'),
    (spaces.Box(0, 255, (64, 64, 3), np.uint8), None, 'has 12288 numbers, at most 4096 are read'),
    (spaces.Sequence(spaces.Discrete(3)), None, 'expected a Box or Dict'),
  ],
)
def test_spaces_that_cannot_be_read_are_named(observation, action, message):
  with pytest.raises(ValueError, match=f'stub: .*{message}'):
    gymnasium_spaces.Spaces(Stub(observation, action), 'stub')


def test_every_step_is_recorded_as_it_was_seen_and_played():
  trajectories = play('Line', [-0.75, -0.5, -0.25])
  assert trajectories.lengths.min() < trajectories.lengths.max()
  for index in range(EPISODES):
    x, action, source, end_reason = episode(trajectories, index)
    length = len(x)
    np.testing.assert_array_equal(action, np.resize(np.float32([-0.75, -0.5]), length))
    np.testing.assert_allclose(x, x[0] + np.append(0, np.cumsum(action)[:-1]), atol=1e-5)
    room = trajectories.features[index, :length].reshape(length, 3)
    np.testing.assert_allclose(room[:, 0], np.log1p(x), atol=1e-6)
    np.testing.assert_allclose(room[:, 1], -x / 20.0, atol=1e-6)  # 10 - x of -10 to 30
    assert 4.0 <= x[0] < 8.0
    success = abs(x[-1] + action[-1]) < 1.0
    assert success or length == LIMIT
    assert end_reason == [NONE] * (length - 1) + [SUCCESS if success else TIMEOUT]
    assert source == [POLICY] * length
    assert not trajectories.active[index, length:].any()
  assert {SUCCESS, TIMEOUT} == set(trajectories.first_end)


def test_the_policy_is_asked_again_after_the_steps_that_are_played():
  trajectories = play('Line', [0.0, -0.1, -0.2, -0.3], follow=-0.1, execute=3)
  for index in range(EPISODES):
    x, action, _, _ = episode(trajectories, index)
    step = np.arange(len(x))
    expected = -0.1 * (step % 3) - 0.1 * x[step - step % 3]
    np.testing.assert_allclose(action, expected, atol=1e-6)


def test_actions_beyond_the_bounds_are_recorded_as_they_were_played():
  x, action, _, _ = episode(play('Line', [-5.0, -5.0], episodes=1), 0)
  np.testing.assert_array_equal(action, np.full(len(x), -2.0))


def test_a_demonstrating_human_acts_alone():
  trajectories = play('Watched', None, human='demonstrating')
  assert set(trajectories.first_end) == {SUCCESS}
  speeds = set()
  for index in range(EPISODES):
    x, action, source, _ = episode(trajectories, index)
    assert source == [DEMO] * len(x)
    np.testing.assert_allclose(action, np.clip(-x, action[0], None))
    speeds.add(-action[0])
  assert speeds == set(line_world.SPEEDS)


def test_an_alarmed_human_takes_over_from_right_there():
  trajectories = play('Watched', [1.0, 1.0], human='watching')
  assert set(trajectories.first_end) == {TAKEOVER}
  for index in range(EPISODES):
    x, action, source, end_reason = episode(trajectories, index)
    steps = source.index(HUMAN)
    assert x[steps - 1] <= 9.0 < x[steps] == x[steps - 1] + 1.0
    assert source == [POLICY] * steps + [HUMAN] * (len(x) - steps)
    assert end_reason[: steps - 1] == [NONE] * (steps - 1)
    # The slower ones need all of their 9 steps: from at most 10 to less than 1.
    assert end_reason[steps:] == [NONE] * (len(x) - steps - 1) + [SUCCESS]
    np.testing.assert_allclose(np.diff(x), action[:-1], atol=1e-5)


def test_after_a_timeout_the_human_goes_on_with_all_the_time_there_is():
  trajectories = play('Watched', [0.0, 0.0], human='watching')
  assert set(trajectories.first_end) == {TIMEOUT}
  for index in range(EPISODES):
    x, _, source, end_reason = episode(trajectories, index)
    assert source[:LIMIT] == [POLICY] * LIMIT
    assert x[LIMIT] == x[0]
    assert set(source[LIMIT:]) == {HUMAN}
    assert end_reason[LIMIT:] == [NONE] * (len(x) - LIMIT - 1) + [SUCCESS]


@pytest.mark.parametrize('kind, goes_on', [('Watched', False), ('Rescued', True)])
def test_after_a_failure_the_human_goes_on_where_hands_can_undo_it(kind, goes_on):
  # Two metres a step: beyond 10 before anybody has seen it beyond 9.
  trajectories = play(kind, [2.0, 2.0], human='watching')
  failed = np.flatnonzero(trajectories.first_end == FAILURE)
  assert len(failed) > 0
  for index in failed:
    x, action, source, end_reason = episode(trajectories, index)
    steps = end_reason.index(FAILURE) + 1
    assert x[steps - 1] + action[steps - 1] > 10.0
    assert (len(x) > steps) == goes_on
    if goes_on:
      assert (x[steps], source[steps], end_reason[-1]) == (8.0, HUMAN, SUCCESS)


def test_where_nobody_is_the_policy_is_not_watched():
  trajectories = play('Line', [1.0, 1.0], human='watching')
  assert set(trajectories.source[trajectories.active]) == {POLICY}
  assert set(trajectories.first_end) == {FAILURE}


def test_where_nobody_is_nobody_demonstrates():
  with pytest.raises(ValueError, match='line_world:Line-v0 has nobody to demonstrate'):
    play('Line', None, human='demonstrating')


def test_equal_keys_give_every_policy_the_same_scenes_and_people():
  one, other = (play('Rescued', [dx, dx], human='watching') for dx in (0.5, 2.0))
  np.testing.assert_array_equal(one.state[:, 0], other.state[:, 0])
  hands = [t.action[np.arange(EPISODES), np.argmax(t.source == HUMAN, 1)] for t in (one, other)]
  np.testing.assert_array_equal(*hands)
  different = play('Rescued', [0.5, 0.5], human='watching', key=1)
  assert (one.state[:, 0] != different.state[:, 0]).any()


def test_equal_keys_and_policies_give_equal_bits_and_more_episodes_the_same_ones_first():
  one, again = (play('Watched', [0.5, -0.5], human='watching') for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, one, again)
  fewer = play('Watched', [0.5, -0.5], human='watching', episodes=5)
  np.testing.assert_array_equal(fewer.state[:, 0], one.state[:5, 0])


def test_progress_ends_with_all_episodes_and_all_steps():
  told = []
  trajectories = play('Line', [-1.0, -1.0], told=told)
  finished = [numbers[0] for numbers in told]
  assert finished == sorted(finished)
  assert told[-1] == (EPISODES, EPISODES, trajectories.lengths.sum())


@pytest.mark.parametrize(
  'reward, terminated, info, expected',
  [
    (1.0, True, {}, True),
    (1.0, False, {}, False),
    (-1.0, True, {}, False),
    (1.0, True, {'success': False}, False),
    (0.0, False, {'is_success': np.float32(1.0)}, True),
  ],
)
def test_success_is_what_info_says_or_else_a_rewarded_end(reward, terminated, info, expected):
  assert gymnasium_success.succeeded(reward, terminated, info) is expected


def test_an_environment_that_is_not_there_is_told_with_the_nearest_one():
  with pytest.raises(ValueError, match="'gymnasium:Pendulun-v1'.*Did you mean: `Pendulum`"):
    gymnasium_task.Task('gymnasium:Pendulun-v1')
  with pytest.raises(ValueError, match="'gymnasium:no_such_module:A-v0': .*no_such_module"):
    gymnasium_task.Task('gymnasium:no_such_module:A-v0')


@pytest.mark.parametrize(
  'package, task, install',
  [
    ('gymnasium', 'ogbench:cube-single-v0', "constraints.txt -e '.[sim]'"),
    ('ogbench', 'ogbench:cube-single-v0', "constraints.txt -e '.[sim]'"),
    ('metaworld', 'metaworld:push-v3', "constraints_mujoco3.txt -e '.[metaworld]'"),
    ('gym_aloha', 'gym_aloha:insertion', "constraints_mujoco3.txt -e '.[gym-aloha]'"),
  ],
)
def test_what_is_not_installed_is_told_with_how_to_install_it(package, task, install, monkeypatch):
  for module in ('ogbench_tasks', 'ogbench_cube', 'metaworld_task', 'gym_aloha_task'):
    monkeypatch.delitem(sys.modules, f'aloe_jax.envs.{module}', raising=False)
  for name in [name for name in sys.modules if name.split('.')[0] == package]:
    monkeypatch.setitem(sys.modules, name, None)
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(ValueError, match=f'{package}.*pip install -c {re.escape(install)}'):
    gymnasium_task.Task(task)


def test_environments_of_gymnasium_itself_can_be_played():
  pendulum = gymnasium_task.Task('gymnasium:Pendulum-v1')
  assert (pendulum.spaces.action_size, pendulum.spaces.proprio_size) == (1, 3)
  setup = gymnasium_rollout.Setup(pendulum, execute=3, limit=7)
  trajectories = setup.run(Scripted(jnp.ones((4, 1))), key=jax.random.key(0), episodes=2)
  assert trajectories.first_end.tolist() == [TIMEOUT] * 2
  # Seven steps of its own equations, from the angle and speed that were seen first.
  assert gymnasium.spec('Pendulum-v1').max_episode_steps == 200
  for seen in trajectories.state[:, :, :3]:
    angle, speed = np.arctan2(seen[0, 1], seen[0, 0]), seen[0, 2]
    for step in range(6):
      speed = np.clip(speed + (15.0 * np.sin(angle) + 3.0 * 1.0) * 0.05, -8.0, 8.0)
      angle += speed * 0.05
      np.testing.assert_allclose(seen[step + 1], [np.cos(angle), np.sin(angle), speed], atol=1e-4)
