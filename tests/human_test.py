"""The scripted human: how well they do, why they fail, what they notice, how they go on."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import human
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_state
from aloe_jax.envs import tasks

EPISODES = 512
PHONE = 2  # of pack_phone's items


def simulator(name):
  return tabletop.Simulator(tasks.TASKS[name])


@functools.partial(jax.jit, static_argnums=0)
def play(sim, state, operator, key):
  """Batch of episodes from `state`: last states, and [count, steps] whether danger was seen."""

  def episode(state, operator, key):
    def body(state, key):
      key_act, key_step = jax.random.split(key)
      action, _ = human.act(state, operator, key_act)
      return sim.step(state, action, key_step), (human.danger(state), jnp.abs(action).max())

    return jax.lax.scan(body, state, jax.random.split(key, sim.task.max_steps))

  state, (danger, largest) = jax.vmap(episode)(state, operator, jax.random.split(key, EPISODES))
  return state, danger, largest.max()


@functools.partial(jax.jit, static_argnums=0)
def reset(sim, key):
  return jax.vmap(sim.reset)(jax.random.split(key, EPISODES))


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def operators(sim, key, style, mode):
  return jax.vmap(lambda key: human.init(key, sim, style, mode))(jax.random.split(key, EPISODES))


def draw(sim, key, style='mixture', mode='mixture'):
  """Batch of first states and operators."""
  return reset(sim, key), operators(sim, jax.random.fold_in(key, 1), style, mode)


def succeeded(state):
  return np.asarray(state.end_reason) == types.EndReason.SUCCESS


class SkillTest(parameterized.TestCase):
  @parameterized.parameters(
    ('pack_phone', 150, 180), ('sort_products', 130, 155), ('fold_laundry', 105, 130)
  )
  def test_careful_and_safe_nearly_always_succeeds_without_alarm(self, name, shortest, longest):
    sim = simulator(name)
    state, danger, largest = play(
      sim, *draw(sim, jax.random.key(0), 'careful', 'good'), jax.random.key(1)
    )
    self.assertGreater(succeeded(state).mean(), 0.95)
    self.assertBetween(float(state.t[succeeded(state)].mean()), shortest, longest)
    self.assertLess(danger.any(axis=1).mean(), 0.02)
    self.assertLessEqual(largest, 1.0)

  @parameterized.parameters(*tasks.TASKS)
  def test_demonstrators_fail_often_and_mostly_because_of_careless_grasps(self, name):
    sim = simulator(name)
    first, operator = draw(sim, jax.random.key(2))
    state, danger, _ = play(sim, first, operator, jax.random.key(3))
    success = succeeded(state)
    self.assertBetween(success.mean(), 0.15, 0.6)
    safe = np.asarray(operator.tilt) > 0
    np.testing.assert_allclose(safe.mean(), 0.4, atol=0.08)
    # Kept demonstrations hold both kinds of grasp; the failures held more careless ones.
    self.assertBetween(safe[success].mean(), 0.42, 0.60)
    self.assertLess(safe[~success].mean(), 0.38)
    drops = np.asarray(state.failure)[~success] == tabletop_state.Failure.DROP
    self.assertGreater(drops.mean(), 0.7)
    # An operator watching them is alarmed before some failures, seldom otherwise.
    self.assertBetween(danger[~success].any(axis=1).mean(), 0.05, 0.65)
    self.assertLess(danger[success].any(axis=1).mean(), 0.2)

  @parameterized.parameters(*tasks.TASKS)
  def test_an_item_grasped_carelessly_drops_in_a_quarter_to_half_of_its_carries(self, name):
    sim = simulator(name)
    first, operator = draw(sim, jax.random.key(4), 'careful', 'good')
    operator = dataclasses.replace(operator, tilt=jnp.full_like(operator.tilt, human.TILT[0]))
    state, _, _ = play(sim, first, operator, jax.random.key(5))
    drops = np.sum(state.failure == tabletop_state.Failure.DROP)
    self.assertBetween(float(drops / (drops + np.sum(state.placed))), 0.15, 0.5)

  def test_unknown_styles_are_refused(self):
    with self.assertRaisesRegex(ValueError, "'careful'"):
      human.init(jax.random.key(0), simulator('pack_phone'), style='tired')


class RecoveryTest(parameterized.TestCase):
  @parameterized.parameters(*tasks.TASKS)
  def test_a_careful_human_goes_on_from_any_failure(self, name):
    sim = simulator(name)
    state, _, _ = play(sim, *draw(sim, jax.random.key(6)), jax.random.key(7))
    failed = np.asarray(state.end_reason) == types.EndReason.FAILURE
    operator = operators(sim, jax.random.key(8), 'careful', 'good')
    end, _, _ = play(sim, jax.vmap(human.recover)(state), operator, jax.random.key(9))
    self.assertGreater(failed.sum(), 100)
    self.assertGreater(succeeded(end)[failed].mean(), 0.95)

  def test_recovery_opens_and_lifts_the_grippers_and_leaves_the_items(self):
    sim = simulator('pack_phone')
    state = sim.reset(jax.random.key(0))
    jammed = dataclasses.replace(
      state,
      position=jnp.float32([[-0.35, -0.35, 0.2], [0.05, 0.12, 0.06]]),
      gripper=jnp.float32([1.0, 0.0]),
      held=jnp.int32([-1, 0]),
      item=state.item.at[0].set(jnp.float32([0.05, 0.12, 0.1])),
      t=jnp.int32(40),
      done=jnp.bool_(True),
      end_reason=jnp.int32(types.EndReason.FAILURE),
      failure=jnp.int32(tabletop_state.Failure.JAM),
    )
    after = human.recover(jammed)
    np.testing.assert_allclose(after.position[:, 2], [0.2, 0.14])
    np.testing.assert_array_equal(after.gripper, 1.0)
    np.testing.assert_array_equal(after.held, -1)
    np.testing.assert_array_equal(after.item, jammed.item)
    self.assertEqual((int(after.t), bool(after.done)), (0, False))
    self.assertEqual((int(after.end_reason), int(after.failure)), (0, 0))

  def test_a_careful_human_takes_over_in_the_middle_of_a_poor_policy(self):
    sim = simulator('fold_laundry')

    def wander(state, key):
      def body(state, key):
        action = jax.random.uniform(key, (14,), minval=-1.0).at[jnp.array([6, 13])].set(1.0)
        return sim.step(state, action, key), None

      return jax.lax.scan(body, state, jax.random.split(key, 25))[0]

    first, operator = draw(sim, jax.random.key(10), 'careful', 'good')
    state = jax.jit(jax.vmap(wander))(first, jax.random.split(jax.random.key(11), EPISODES))
    end, _, _ = play(sim, state, operator, jax.random.key(12))
    self.assertGreater(succeeded(end).mean(), 0.95)


class DangerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    state = simulator('pack_phone').reset(jax.random.key(0))
    self.state = dataclasses.replace(
      state, tolerance_scale=jnp.float32(1.0), placed=jnp.arange(5) < PHONE
    )
    self.close = jnp.zeros((2, 7)).at[:, 6].set(-1.0)

  def at_phone(self, shift, height, gripper):
    x, y, yaw = self.state.item[PHONE]
    return dataclasses.replace(
      self.state,
      position=self.state.position.at[1].set(jnp.stack([x + shift, y, jnp.float32(height)])),
      yaw=self.state.yaw.at[1].set(yaw),
      gripper=self.state.gripper.at[1].set(gripper),
    )

  def test_closing_beside_an_item_alarms_and_closing_on_it_does_not(self):
    for shift, expected in ((0.10, True), (0.02, False)):
      state = dataclasses.replace(self.at_phone(shift, 0.03, 0.7), command=self.close)
      self.assertEqual(bool(human.danger(state)), expected)

  def test_going_to_an_item_or_waiting_does_not_alarm(self):
    self.assertFalse(human.danger(self.state))
    self.assertFalse(human.danger(self.at_phone(0.10, 0.14, 1.0)))

  def test_opening_beside_the_target_alarms_and_over_it_does_not(self):
    for shift, expected in ((0.05, True), (0.0, False)):
      state = self.carrying(shift, 0.02)
      state = dataclasses.replace(state, command=-self.close)
      self.assertEqual(bool(human.danger(state)), expected)

  def test_a_phone_coming_down_beside_the_box_alarms_and_over_it_does_not(self):
    for shift, expected in ((0.05, True), (0.0, False)):
      state = self.carrying(shift, 0.09)
      state = dataclasses.replace(state, command=self.close.at[1, 2].set(-0.5))
      self.assertEqual(bool(human.danger(state)), expected)

  def test_rushing_with_what_is_held_badly_alarms_and_going_slowly_does_not(self):
    for speed, expected in ((1.0, True), (0.5, False)):
      state = dataclasses.replace(
        self.carrying(0.3, 0.14),
        command=self.close.at[1, 0].set(-speed),
        grasp_tilt=jnp.float32([0.0, -0.4]),
        grasp_offset=jnp.float32([[0, 0, 0], [0.04, 0, 0]]),
      )
      self.assertEqual(bool(human.danger(state)), expected)

  def carrying(self, shift, height):
    x, y, yaw = self.state.target[PHONE]
    return dataclasses.replace(
      self.state,
      position=self.state.position.at[1].set(jnp.stack([x + shift, y, jnp.float32(height)])),
      yaw=self.state.yaw.at[1].set(yaw),
      gripper=self.state.gripper.at[1].set(0.3),
      held=jnp.int32([-1, PHONE]),
      grasp_tilt=jnp.float32([0.0, 0.6]),
    )


if __name__ == '__main__':
  absltest.main()
