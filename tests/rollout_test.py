"""Rollouts of hand-made policies: who acts when, what ends a fragment, what is recorded."""

import dataclasses
import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.envs import human
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_rollout
from aloe_jax.envs import tabletop_sight
from aloe_jax.envs import tasks
from aloe_jax.parallel import sharding

pytestmark = pytest.mark.usefixtures('quick_compilation')

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, _ = types.EndReason
ENVIRONMENTS, LIMIT = 9, 280
STILL, FAILS, ALARMS = range(3)  # what the policy of each third of the environments does


@flax.struct.dataclass
class Scripted:
  """Plays chunks [E, h, A] again and again; their roll follows where the left arm is seen."""

  chunk: jax.Array
  follow: float = 0.0

  def act(self, sight, key):
    return self.chunk.at[:, :, 3].add(self.follow * sight.state[:, None, 0])


def setup(**settings):
  task = dataclasses.replace(tasks.TASKS['pack_phone'], max_steps=LIMIT)
  return tabletop_rollout.Setup(tabletop.Simulator(task), tabletop_sight.see, **settings)


def chunks(*rows):
  """[h, A] of both arms' (dz, grip) commands."""
  chunk = np.zeros((len(rows), 2, 7), np.float32)
  chunk[:, :, [2, 6]] = np.float32(rows)[:, None]
  return chunk.reshape(len(rows), 14)


def each(*kinds):
  return jnp.asarray(np.stack([kinds[index % len(kinds)] for index in range(ENVIRONMENTS)]))


@functools.cache
def watched():
  """A policy that stays still, grasps nothing at all, or is about to; a human is ready."""
  down, opened, closed = -1.0, 1.0, -1.0
  policy = Scripted(
    each(
      chunks(*[(0.0, opened)] * 6),
      # Home is 0.2 high and a step 0.05: closed at 0.05, within the one step that comes so low.
      chunks((down, opened), (down, closed), (down, closed), *[(0.0, opened)] * 3),
      # Begins to close at 0.05, where the gripper is not yet half closed.
      chunks((down, opened), (down, opened), (down, opened), (0.0, closed), *[(0.0, closed)] * 2),
    )
  )
  watching = setup(execute=6, human='watching', style='careful', mode='good')
  told = []
  trajectories = watching.run(
    policy,
    key=jax.random.key(0),
    episodes=ENVIRONMENTS,
    progress=lambda *numbers: told.append(numbers),
  )
  return trajectories, told


@functools.cache
def alone(execute, follow):
  """A policy on its own whose chunk's roll commands are numbered."""
  chunk = chunks(*[(0.0, 1.0)] * 8)
  chunk[:, 3] = 0.1 * np.arange(8)
  policy = Scripted(each(chunk), follow)
  return setup(execute=execute).run(policy, key=jax.random.key(1), episodes=ENVIRONMENTS)


def ends(trajectories, index):
  """[(step, reason)] of one environment's fragments."""
  reasons = trajectories.end_reason[index]
  return [(int(step), types.EndReason(reasons[step])) for step in np.flatnonzero(reasons)]


@pytest.mark.parametrize(
  'kind, step, reason',
  [(STILL, LIMIT - 1, TIMEOUT), (FAILS, 2, FAILURE), (ALARMS, 3, TAKEOVER)],
)
def test_the_policys_fragment_ends_by_what_it_did_and_a_human_goes_on(kind, step, reason):
  trajectories, _ = watched()
  for index in range(kind, ENVIRONMENTS, 3):
    first, last = ends(trajectories, index)
    assert first == (step, reason)
    assert trajectories.first_end[index] == reason
    length = trajectories.lengths[index]
    assert last[0] == length - 1
    sources = [types.Source.POLICY] * (step + 1) + [types.Source.HUMAN] * (length - step - 1)
    np.testing.assert_array_equal(trajectories.source[index, :length], sources)


def test_a_careful_human_mostly_finishes_what_the_policy_could_not():
  trajectories, _ = watched()
  last = [ends(trajectories, index)[-1][1] for index in range(ENVIRONMENTS)]
  assert last.count(SUCCESS) >= ENVIRONMENTS - 2


def test_after_a_failure_the_human_starts_with_opened_hands_and_after_an_alarm_from_right_there():
  trajectories, _ = watched()
  state = trajectories.simulator_state
  for index in range(FAILS, ENVIRONMENTS, 3):
    np.testing.assert_array_equal(state.gripper[index, 3], [1.0, 1.0])
    np.testing.assert_allclose(state.position[index, 3, :, 2], human.HOVER)
    np.testing.assert_allclose(state.gripper[index, 2], [0.7, 0.7], atol=1e-6)
  for index in range(ALARMS, ENVIRONMENTS, 3):
    np.testing.assert_allclose(state.gripper[index, 4], [0.7, 0.7], atol=1e-6)
    assert (state.position[index, 4, :, 2] < 0.07).all()
  for index, kind in enumerate([STILL, FAILS, ALARMS]):
    begins = (LIMIT, 3, 4)[kind]
    assert (state.t[index, begins - 1], state.t[index, begins]) == (begins - 1, 0)


def test_every_state_follows_from_the_one_before_and_its_action():
  for trajectories in (watched()[0], alone(3, 0.5)):
    state, action = (
      trajectories.simulator_state,
      trajectories.action.reshape(*trajectories.active.shape, 2, 7),
    )
    follows = trajectories.active[:, 1:] & (trajectories.end_reason[:, :-1] != FAILURE)
    follows &= trajectories.end_reason[:, :-1] != TIMEOUT  # where hands are opened as well
    assert follows.sum() > 9 * 60
    before, after = np.nonzero(follows), np.nonzero(np.pad(follows, ((0, 0), (1, 0))))
    roll = action[before][..., 3]
    tilt = state.tilt[before] + tabletop.TILT_RATE * (roll - state.tilt[before])
    np.testing.assert_allclose(state.tilt[after], tilt, atol=1e-6)
    opening = np.where(action[before][..., 6] > 0, 0.3, -0.3)
    gripper = np.clip(state.gripper[before] + opening, 0, 1)
    np.testing.assert_allclose(state.gripper[after], gripper, atol=1e-6)
    way = tabletop.STEP_LENGTH * action[before][..., :3]
    expected = np.clip(state.position[before] + way, tabletop.REACH_LOW, tabletop.REACH_HIGH)
    noise = 0.0006 + 0.06 * np.linalg.norm(way, axis=-1, keepdims=True)
    assert (np.abs(state.position[after] - expected) < 6 * noise).all()


def test_observations_are_of_the_state_that_the_action_was_chosen_in():
  trajectories, _ = watched()
  seen = jax.jit(jax.vmap(jax.vmap(tabletop_sight.see)))(trajectories.simulator_state)
  np.testing.assert_allclose(trajectories.state, seen.state, atol=1e-6)
  np.testing.assert_allclose(trajectories.features, seen.features, atol=1e-5)


@pytest.mark.parametrize('execute', [3, 8])
def test_the_first_actions_of_each_chunk_are_played_before_the_policy_sees_again(execute):
  trajectories = alone(execute, 0.5)
  for index, length in enumerate(trajectories.lengths):
    step = np.arange(length)
    asked = trajectories.state[index, step - step % execute, 0]
    expected = 0.1 * (step % execute) + 0.5 * asked
    np.testing.assert_allclose(trajectories.action[index, :length, 3], expected, atol=1e-6)


def test_without_a_human_each_episode_has_one_end_and_nothing_after_it():
  trajectories = alone(3, 0.5)
  assert (trajectories.source == types.Source.POLICY).all()
  for index, length in enumerate(trajectories.lengths):
    assert ends(trajectories, index) == [(length - 1, TIMEOUT)]
    assert trajectories.active[index, :length].all()
    assert not trajectories.active[index, length:].any()
  np.testing.assert_array_equal(trajectories.lengths, LIMIT)


def test_equal_keys_give_every_policy_the_same_scenes():
  one, other = alone(3, 0.5), alone(3, -0.5)
  assert (one.action != other.action).any()
  for name in ('item', 'target', 'size', 'hue', 'tolerance_scale', 'position'):
    first, second = (getattr(x.simulator_state, name) for x in (one, other))
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    assert name == 'position' or (first[0, 0] != first[1, 0]).any()


def test_equal_keys_and_policies_give_equal_bits():
  again = alone.__wrapped__(3, 0.5)
  jax.tree.map(np.testing.assert_array_equal, again, alone(3, 0.5))


def test_a_policy_on_the_devices_of_a_layout_plays_the_same_and_compiles_once():
  plain = Scripted(each(chunks((0.5, 1.0), (0.0, -1.0))))
  placed = sharding.Fsdp().fetch(sharding.Fsdp().place_state(plain))
  playing = setup(execute=2, style='careful')
  run = functools.partial(playing.run, key=jax.random.key(5), episodes=ENVIRONMENTS)
  expected, before = run(plain), tabletop_rollout._segment._cache_size()
  found = run(placed)
  assert expected.active.shape[1] > 2 * tabletop_rollout.SEGMENT  # more calls than one
  assert tabletop_rollout._segment._cache_size() == before + 1
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_progress_ends_with_all_environments_and_all_steps():
  trajectories, told = watched()
  finished = [numbers[0] for numbers in told]
  assert finished == sorted(finished)
  assert told[-1] == (ENVIRONMENTS, ENVIRONMENTS, trajectories.lengths.sum())


def test_a_demonstrating_human_needs_no_policy_and_carries_its_own_source():
  demonstrating = setup(execute=2, human='demonstrating', style='careful', mode='good')
  trajectories = demonstrating.run(None, key=jax.random.key(2), episodes=ENVIRONMENTS)
  assert (trajectories.source == types.Source.DEMO).all()
  for index, length in enumerate(trajectories.lengths):
    ((step, _),) = ends(trajectories, index)
    assert step == length - 1
  assert (trajectories.first_end == SUCCESS).sum() >= ENVIRONMENTS - 2


def test_what_is_recorded_is_what_was_done_of_commands_that_the_arms_cannot_follow():
  """The very episode that the commands within their reach give, step by step."""
  wild = chunks((-3.0, 1.0), (0.4, 7.0), (1.2, -1.5), (0.0, -9.0))
  found = [
    setup(execute=4, human='watching').run(
      Scripted(each(chunk)), key=jax.random.key(2), episodes=ENVIRONMENTS
    )
    for chunk in (wild, np.clip(wild, -1, 1))
  ]
  jax.tree.map(np.testing.assert_array_equal, *found)
  assert np.abs(found[0].action).max() == 1
  by_policy = found[0].active & (found[0].source == types.Source.POLICY)
  assert (np.abs(found[0].action[by_policy]) == 1).any()
