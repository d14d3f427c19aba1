"""The table top: hand-made situations, one step, and the numbers they have to lead to."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_state
from aloe_jax.envs import tasks

LEFT, RIGHT = tasks.LEFT, tasks.RIGHT
OPEN, CLOSE = 1.0, -1.0
CHARGER, CABLE, PHONE, MANUAL, LID = range(5)  # of pack_phone
RESET = jax.jit(lambda sim, key: sim.reset(key), static_argnums=0)
STEP = jax.jit(lambda sim, state, action, key: sim.step(state, action, key), static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def many_steps(sim, state, action, key):
  """The same step 6000 times over, each with its own luck."""
  keys = jax.random.split(key, 6000)
  return jax.vmap(lambda key: sim.step(state, action, key))(keys)


def many_resets(sim, count):
  states = [RESET(sim, jax.random.key(seed)) for seed in range(count)]
  return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def simulator(name, **settings):
  return tabletop.Simulator(tasks.TASKS[name], **settings)


def fresh(name, seed=0):
  return RESET(simulator(name), jax.random.key(seed))


def still(**commands):
  """An action that keeps grippers as open as they are told and moves nothing else."""
  action = np.zeros((2, 7), np.float32)
  action[:, 6] = commands.pop('grip', OPEN)
  for name, value in commands.items():
    action[:, ('x', 'y', 'z', 'roll', 'pitch', 'yaw').index(name)] = value
  return jnp.asarray(action.reshape(-1))


def over(state, arm, item, height, gripper=0.6, shift=0.0):
  """The same state with one arm over an item, `shift` metres beside it."""
  x, y, yaw = state.item[item]
  return dataclasses.replace(
    state,
    position=state.position.at[arm].set(jnp.stack([x + shift, y, jnp.float32(height)])),
    yaw=state.yaw.at[arm].set(yaw),
    gripper=state.gripper.at[arm].set(gripper),
  )


def holding(state, arm, item, height, shift=0.0):
  """The same state with one arm holding an item at its target, `shift` metres beside it."""
  x, y, yaw = state.target[item]
  pose = jnp.stack([x + shift, y, yaw])
  return dataclasses.replace(
    state,
    position=state.position.at[arm].set(jnp.stack([pose[0], pose[1], jnp.float32(height)])),
    yaw=state.yaw.at[arm].set(yaw),
    gripper=state.gripper.at[arm].set(0.4),
    item=state.item.at[item].set(pose),
    held=state.held.at[arm].set(item),
    grasp_tilt=state.grasp_tilt.at[arm].set(0.6),
  )


class ResetTest(parameterized.TestCase):
  @parameterized.parameters(*tasks.TASKS)
  def test_the_same_key_gives_the_same_episode_and_another_key_another(self, name):
    same, again, other = fresh(name), fresh(name), fresh(name, seed=1)
    jax.tree.map(np.testing.assert_array_equal, same, again)
    self.assertGreater(float(jnp.abs(same.item - other.item).max()), 1e-3)

  def test_items_start_within_their_shift(self):
    state = many_resets(simulator('pack_phone'), 300)
    phone = np.asarray(state.item[:, PHONE])
    self.assertTrue(np.all(np.abs(phone - [0.40, -0.12, 0.0]) <= [0.0801, 0.1001, 0.5001]))
    np.testing.assert_allclose(phone.mean(0), [0.40, -0.12, 0.0], atol=0.05)
    np.testing.assert_array_equal(state.target[:, PHONE], state.target[:, LID])  # one box

  def test_what_is_unseen_is_never_drawn_in_training(self):
    seen = many_resets(simulator('sort_products'), 200)
    unseen = many_resets(simulator('sort_products', unseen=True), 200)
    for field in ('size', 'hue', 'tolerance_scale'):
      known, new = (np.ravel(getattr(state, field)) for state in (seen, unseen))
      inside = (new >= known.min() - 0.01) & (new <= known.max() + 0.01)
      self.assertFalse(inside.any(), field)
    self.assertLess(unseen.size.min(), 0.85)
    self.assertGreater(unseen.size.max(), 1.15)

  def test_a_shirt_has_one_colour(self):
    self.assertLen(np.unique(fresh('fold_laundry').hue), 1)
    self.assertLen(np.unique(fresh('sort_products').hue), 6)


class MotionTest(parameterized.TestCase):
  def test_a_full_command_moves_five_centimetres_turns_and_tilts(self):
    sim, state = simulator('pack_phone'), fresh('pack_phone')
    action = still(x=1.0, roll=0.5, yaw=-1.0)
    after = STEP(sim, state, action, jax.random.key(1))
    noise = 5 * (0.0006 + 0.06 * 0.05)  # five standard deviations
    np.testing.assert_allclose(after.position[:, 0], state.position[:, 0] + 0.05, atol=noise)
    np.testing.assert_allclose(after.yaw, -0.25, atol=3 * noise)
    np.testing.assert_allclose(after.tilt, 0.4 * 0.5, rtol=1e-6)
    np.testing.assert_allclose(
      STEP(sim, after, action, jax.random.key(2)).tilt, 0.2 + 0.4 * 0.3, rtol=1e-6
    )

  def test_commands_beyond_one_are_clipped(self):
    sim, state = simulator('pack_phone'), fresh('pack_phone')
    wild = STEP(sim, state, 100 * still(x=-1.0, z=1.0), jax.random.key(1))
    tame = STEP(sim, state, still(x=-1.0, z=1.0), jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, wild, tame)

  def test_noise_at_rest_has_the_documented_size(self):
    state = fresh('pack_phone')
    after = many_steps(simulator('pack_phone'), state, still(), jax.random.key(0))
    moved = np.asarray(after.position - state.position[None])
    np.testing.assert_allclose(moved.std((0, 1)), [6e-4, 6e-4, 3e-4], rtol=0.1)
    np.testing.assert_allclose(after.yaw.std(), 18e-4, rtol=0.1)

  def test_what_is_held_moves_and_turns_with_the_gripper(self):
    sim = simulator('sort_products')
    state = holding(fresh('sort_products'), RIGHT, 3, height=0.15)
    after = STEP(sim, state, still(x=-0.5, yaw=0.5, grip=CLOSE), jax.random.key(4))
    moved = after.item[3] - state.item[3]
    np.testing.assert_allclose(moved[:2], (after.position - state.position)[RIGHT, :2], atol=1e-6)
    np.testing.assert_allclose(moved[2], (after.yaw - state.yaw)[RIGHT], atol=1e-6)
    np.testing.assert_array_equal(after.item[:3], state.item[:3])


class ContactTest(parameterized.TestCase):
  def test_a_grasp_keeps_its_tilt_and_its_offset(self):
    state = over(fresh('sort_products'), LEFT, 1, height=0.03, shift=0.02)
    state = dataclasses.replace(state, tilt=state.tilt.at[LEFT].set(-0.4))
    after = STEP(simulator('sort_products'), state, still(grip=CLOSE), jax.random.key(0))
    np.testing.assert_array_equal(after.held, [1, -1])
    np.testing.assert_allclose(after.grasp_tilt[LEFT], 0.6 * -0.4, rtol=1e-6)
    np.testing.assert_allclose(after.grasp_offset[LEFT, 0], -0.02, atol=0.004)
    self.assertFalse(after.done)

  def test_a_placement_counts_and_the_last_one_succeeds(self):
    sim = simulator('pack_phone')
    state = fresh('pack_phone')
    state = dataclasses.replace(
      state, placed=state.placed.at[jnp.array([CHARGER, CABLE])].set(True)
    )
    for arm, item in ((RIGHT, PHONE), (LEFT, MANUAL)):
      state = STEP(sim, holding(state, arm, item, height=0.02), still(), jax.random.key(0))
      np.testing.assert_array_equal(state.placed, np.arange(5) <= item)
      np.testing.assert_array_equal(state.held, [-1, -1])
      self.assertEqual(state.end_reason, types.EndReason.NONE)
    state = holding(state, LEFT, LID, height=0.02)
    after = STEP(sim, state, still(), jax.random.key(1))
    self.assertEqual(after.end_reason, types.EndReason.SUCCESS)
    self.assertTrue(after.done)

  def fail(self, name, state, action):
    after = STEP(simulator(name), state, action, jax.random.key(0))
    self.assertEqual(after.end_reason, types.EndReason.FAILURE)
    self.assertTrue(after.done)
    return tabletop_state.Failure(int(after.failure))

  def test_closing_on_nothing_near_the_table_is_an_empty_grasp(self):
    state = over(fresh('pack_phone'), RIGHT, PHONE, height=0.03, shift=0.08)
    self.assertEqual(
      self.fail('pack_phone', state, still(grip=CLOSE)), tabletop_state.Failure.EMPTY_GRASP
    )

  def test_closing_on_nothing_in_the_air_is_harmless(self):
    state = over(fresh('pack_phone'), RIGHT, PHONE, height=0.09, shift=0.08)
    after = STEP(simulator('pack_phone'), state, still(grip=CLOSE), jax.random.key(0))
    self.assertFalse(after.done)
    self.assertLess(after.gripper[RIGHT], 0.5)

  def test_an_arm_cannot_grasp_what_the_other_arm_owns(self):
    state = over(fresh('pack_phone'), LEFT, PHONE, height=0.03)
    self.assertEqual(
      self.fail('pack_phone', state, still(grip=CLOSE)), tabletop_state.Failure.EMPTY_GRASP
    )

  def test_the_lid_before_the_phone_is_the_wrong_order(self):
    state = over(fresh('pack_phone'), LEFT, LID, height=0.03)
    self.assertEqual(
      self.fail('pack_phone', state, still(grip=CLOSE)), tabletop_state.Failure.WRONG_ORDER
    )

  def test_a_sleeve_waits_for_both_corners(self):
    state = over(fresh('fold_laundry'), LEFT, 2, height=0.03)
    one = dataclasses.replace(state, placed=state.placed.at[0].set(True))
    both = dataclasses.replace(one, placed=one.placed.at[1].set(True))
    self.assertEqual(
      self.fail('fold_laundry', one, still(grip=CLOSE)), tabletop_state.Failure.WRONG_ORDER
    )
    after = STEP(simulator('fold_laundry'), both, still(grip=CLOSE), jax.random.key(0))
    self.assertEqual(after.held[LEFT], 2)

  def test_a_phone_that_comes_down_on_the_rim_jams_and_one_over_the_box_goes_in(self):
    down = still(z=-1.0, grip=CLOSE)
    beside = holding(fresh('pack_phone'), RIGHT, PHONE, height=0.08, shift=0.06)
    self.assertEqual(self.fail('pack_phone', beside, down), tabletop_state.Failure.JAM)
    for shift in (0.0, 0.2):  # over the box, and far enough from it to miss its rim
      state = holding(fresh('pack_phone'), RIGHT, PHONE, height=0.08, shift=shift)
      after = STEP(simulator('pack_phone'), state, down, jax.random.key(0))
      self.assertEqual(after.failure, tabletop_state.Failure.NONE)

  def test_a_release_in_the_air_fails_even_over_the_target(self):
    state = holding(fresh('sort_products'), LEFT, 0, height=0.09)
    self.assertEqual(
      self.fail('sort_products', state, still()), tabletop_state.Failure.RELEASED_IN_AIR
    )

  def test_a_release_beside_the_target_is_misplaced(self):
    state = holding(fresh('sort_products'), LEFT, 0, height=0.03, shift=0.14)
    self.assertEqual(self.fail('sort_products', state, still()), tabletop_state.Failure.MISPLACED)

  def test_what_is_held_by_its_very_edge_drops_when_carried_fast(self):
    state = holding(fresh('sort_products'), LEFT, 0, height=0.15)
    state = dataclasses.replace(state, grasp_offset=state.grasp_offset.at[LEFT, 0].set(0.35))
    self.assertGreater(0.025 * (0.35 / 0.035 / 1.05) ** 2, 1.0)  # certain at full speed
    action = still(x=-1.0, grip=CLOSE)
    self.assertEqual(self.fail('sort_products', state, action), tabletop_state.Failure.DROP)


class DropProbabilityTest(parameterized.TestCase):
  @parameterized.parameters(
    # slip 0.042 * size 1.1 * unsafe * speed + 0.025 * (offset / tolerance * speed)^2
    (0.6, 0.0, 0.0),  # safe tilt, held in the middle
    (-0.4, 0.0, 0.042 * 1.1 * 1.0 * 0.5),  # the worst tilt and beyond
    (0.0, 0.0, 0.042 * 1.1 * 0.5 * 0.5),  # half way to safe
    (0.6, 0.024, 0.025 * (0.5 * 0.5) ** 2),  # half the tolerance of 0.048 off its middle
    (0.0, 0.024, 0.01155 + 0.0015625),
  )
  def test_is_the_documented_number(self, tilt, offset, expected):
    state = holding(fresh('pack_phone'), RIGHT, PHONE, height=0.15)
    state = dataclasses.replace(
      state,
      size=jnp.full(5, 1.1),
      tolerance_scale=jnp.float32(1.0),
      grasp_tilt=jnp.float32([0.0, tilt]),
      grasp_offset=jnp.float32([[0, 0, 0], [offset, 0, 0]]),
      command=jnp.float32([[1, 0, 0, 0, 0, 0, 0], [0.3, 0.4, 0, 0, 0, 0, -1]]),
    )
    np.testing.assert_allclose(
      tabletop.drop_probability(state), [0.0, expected], rtol=1e-5, atol=1e-9
    )

  def test_is_how_often_items_drop(self):
    state = holding(fresh('pack_phone'), RIGHT, PHONE, height=0.15)
    state = dataclasses.replace(state, grasp_tilt=jnp.float32([0.0, -0.4]), size=jnp.ones(5))
    action = still(x=-1.0, grip=CLOSE)
    after = many_steps(simulator('pack_phone'), state, action, jax.random.key(0))
    drops = np.mean(after.failure == tabletop_state.Failure.DROP)
    np.testing.assert_allclose(drops, 0.042, atol=3 * np.sqrt(0.042 * 0.958 / 6000))


class EpisodeTest(parameterized.TestCase):
  def test_the_last_step_of_the_time_limit_times_out(self):
    sim, state = simulator('pack_phone'), fresh('pack_phone')
    state = dataclasses.replace(state, t=jnp.int32(278))
    state = STEP(sim, state, still(), jax.random.key(0))
    self.assertEqual(state.end_reason, types.EndReason.NONE)
    state = STEP(sim, state, still(), jax.random.key(1))
    self.assertEqual(state.end_reason, types.EndReason.TIMEOUT)
    self.assertEqual(state.t, 280)

  def test_nothing_changes_after_the_end(self):
    sim = simulator('sort_products', disturb=True)
    state = holding(fresh('sort_products'), LEFT, 0, height=0.09)
    end = STEP(sim, state, still(), jax.random.key(0))
    self.assertTrue(end.done)
    after = STEP(sim, end, still(x=1.0, z=1.0, roll=1.0, grip=CLOSE), jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, after, end)

  def test_vmap_is_the_loop(self):
    sim = simulator('pack_phone')
    state = holding(fresh('pack_phone'), RIGHT, PHONE, height=0.15)
    action = still(x=-1.0, z=0.3, yaw=0.2, roll=-0.5, grip=CLOSE)
    together = many_steps(sim, state, action, jax.random.key(0))
    seen = jax.vmap(sim.see)(jax.tree.map(lambda leaf: leaf[:5], together))
    for i, key in enumerate(jax.random.split(jax.random.key(0), 6000)[:5]):
      alone = STEP(sim, state, action, key)
      for batch, single in ((together, alone), (seen, sim.see(alone))):
        jax.tree.map(
          lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-6), batch, single
        )


class DisturbanceTest(absltest.TestCase):
  def test_only_free_items_are_pushed_a_few_centimetres_once_in_a_hundred_steps(self):
    state = holding(fresh('sort_products'), LEFT, 0, height=0.15)
    state = dataclasses.replace(state, placed=state.placed.at[2].set(True))
    sim = simulator('sort_products', disturb=True)
    after = many_steps(sim, state, still(grip=CLOSE), jax.random.key(0))
    pushed = np.asarray(after.item - state.item[None])  # [6000, I, 3]
    distance = np.linalg.norm(pushed[..., :2], axis=-1)
    self.assertLess(distance[:, 0].max(), 0.01)  # held: only the hand's tremor
    self.assertEqual(distance[:, 2].max(), 0.0)  # placed
    free = distance[:, [1, 3, 4, 5]]
    self.assertTrue(np.all((free == 0) | ((free > 0.0199) & (free < 0.0501))))
    np.testing.assert_allclose((free > 0).any(-1).mean(), 0.01, atol=3 * np.sqrt(0.01 / 6000))
    self.assertTrue(np.all((free > 0).sum(0) > 10))
    self.assertGreater(np.abs(pushed[:, 1, 2]).max(), 0.1)

  def test_nothing_is_pushed_without_it(self):
    state = fresh('pack_phone')
    after = many_steps(simulator('pack_phone'), state, still(), jax.random.key(0))
    np.testing.assert_array_equal(after.item, np.broadcast_to(state.item, (6000, 5, 3)))


class ObservationTest(absltest.TestCase):
  def test_proprio_and_goal_are_the_documented_numbers(self):
    sim = simulator('pack_phone')
    state = dataclasses.replace(
      fresh('pack_phone'),
      position=jnp.float32([[-0.35, -0.35, 0.2], [0.37, -0.1, 0.05]]),
      tolerance_scale=jnp.float32(1.0),
    )
    state = state.replace(
      item=state.item.at[PHONE].set(jnp.float32([0.40, -0.16, 0.2])),
      placed=jnp.arange(5) == CABLE,
    )
    sight = sim.see(state)
    proprio, features = sight.state, sight.features
    np.testing.assert_allclose(proprio[:6], [-0.7, -0.7, 1.0, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(proprio[6:12], [0.74, -0.2, -0.5, 0, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(proprio[12:], 0.0)
    right = features[1]
    np.testing.assert_allclose(right[:2], [0.1, -0.2], atol=1e-6)  # 3 and -6 cm away
    np.testing.assert_allclose(right[2:4], np.tanh([0.75, -1.5]), atol=1e-6)
    np.testing.assert_allclose(right[4:6], [0.4, np.tanh(0.2 / 0.15)], atol=1e-6)
    np.testing.assert_allclose(right[6], np.tanh(np.hypot(0.03, 0.06) / 0.048 - 1), atol=1e-6)
    np.testing.assert_allclose(right[8], 0.048 / 0.05, rtol=1e-6)
    # The charger may be grasped, the phone has to wait for it.
    np.testing.assert_array_equal(features[:, 12], [1.0, 0.0, 0.0])

  def test_a_held_item_points_to_its_target_and_shows_how_it_is_held(self):
    state = holding(fresh('pack_phone'), RIGHT, PHONE, height=0.1, shift=0.03)
    state = dataclasses.replace(
      state,
      tolerance_scale=jnp.float32(1.0),
      grasp_tilt=jnp.float32([0.0, -0.35]),
      grasp_offset=jnp.float32([[0, 0, 0], [0.012, 0, 0]]),
    )
    right = simulator('pack_phone').see(state).features[1]
    np.testing.assert_allclose(right[0], (-0.03 - 0.012) / 0.3, atol=1e-5)
    np.testing.assert_allclose(right[9:12], [1.0, -0.35, 0.25], atol=1e-6)

  def test_an_arm_with_nothing_left_to_do_sees_nothing(self):
    state = fresh('pack_phone')
    state = dataclasses.replace(state, placed=jnp.arange(5) < LID)
    features = simulator('pack_phone').see(state).features
    np.testing.assert_array_equal(features[1], 0.0)
    self.assertEqual(features[0, 12], 1.0)  # the lid's turn has come
    np.testing.assert_allclose(features[2, :8], [1, 1, 1, 1, 0, 0, 0, 0.8])


if __name__ == '__main__':
  absltest.main()
