"""A bimanual table top in pure JAX: reset, step and see one environment; callers vmap.

What makes it worth learning in: an arm may grasp an item at any wrist tilt, nothing happens at
that moment, and only the carry that follows drops what was grasped badly. So actions
of different quality look alike until their consequence, which is what a critic is for.

Legend of shapes: 2 arms (left, right), I items of the task. Lengths in metres, angles in radians,
one control step per action.
"""

from collections.abc import Sequence
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import tabletop_sight
from aloe_jax.envs import tabletop_state
from aloe_jax.envs import tasks

ACTION_SIZE = 14  # two arms times (dx, dy, dz, roll, pitch, dyaw, grip), each in [-1, 1]
STEP_LENGTH = 0.05  # metres a full command moves the gripper on one axis
STEP_YAW = 0.25  # radians a full command turns it
TILT_RATE = 0.4  # share of the way to the commanded roll that the wrist tilts in a step
GRIPPER_STEP = 0.3  # opening gained or lost per step, whatever the size of the command
MOTION_NOISE = (0.0006, 0.06)  # standard deviation: at rest (m), and per metre moved
NOISE_SCALE = (1.0, 1.0, 0.5, 3.0)  # of that noise on x, y, z (m) and yaw (rad)

GRASP_HEIGHT = 0.06  # closing below it either grasps an item or is an empty grasp
RELEASE_HEIGHT = 0.075  # opening above it lets the item fall
RIM_HEIGHT, RIM_RADIUS = 0.07, 0.12  # a narrow item that enters this disc off its target jams
SAFE_TILT = 0.3  # tilt at the grasp from which on an item does not slip
OFFSET_SLIP = 0.025  # drop probability at full speed of an item held at the edge of its tolerance

HOME = np.array([[-0.35, -0.35, 0.2], [0.35, -0.35, 0.2]], np.float32)
REACH_LOW = np.array([[-0.7, -0.7, 0.0], [-0.3, -0.7, 0.0]], np.float32)
REACH_HIGH = np.array([[0.3, 0.7, 0.3], [0.7, 0.7, 0.3]], np.float32)
REACH_YAW = 1.5

# Drawn at reset, uniformly over the union of the intervals; what `unseen` draws never trains.
SIZES = {False: ((0.90, 1.10),), True: ((0.70, 0.85), (1.15, 1.30))}
HUES = {False: ((0.0, 0.60),), True: ((0.68, 0.92),)}
TOLERANCE_SCALES = {False: ((0.95, 1.05),), True: ((0.86, 0.93), (1.07, 1.14))}

PUSH_PROBABILITY = 0.01
PUSH_DISTANCE = (0.02, 0.05)
PUSH_YAW = 0.3


@dataclasses.dataclass(frozen=True)
class Simulator:
  """One task's environment: pure functions of state, action and key.

  Attributes:
    task: the table of items, from `tasks.TASKS`.
    unseen: draw sizes, colours and tolerances that training never draws (App. E).
    disturb: push free items about at random times (App. E).
  """

  task: tasks.Task
  unseen: bool = False
  disturb: bool = False

  def reset(self, key: jax.Array) -> tabletop_state.State:
    """A fresh episode: arms at home, items scattered."""
    key_item, key_target, key_size, key_hue, key_tolerance = jax.random.split(key, 5)
    items = self.task.items
    count = len(items)
    hues = 1 if self.task.scenery == 'shirt' else count  # a shirt has one colour
    start = jnp.float32([item.start for item in items])
    shift = jnp.float32([item.shift for item in items])
    target_shift = jnp.float32(self.task.target_shift)
    return tabletop_state.State(
      task=self.task,
      position=jnp.asarray(HOME),
      yaw=jnp.zeros(2),
      tilt=jnp.zeros(2),
      gripper=jnp.ones(2),
      command=jnp.zeros((2, 7)),
      held=jnp.full(2, -1, jnp.int32),
      grasp_tilt=jnp.zeros(2),
      grasp_offset=jnp.zeros((2, 3)),
      item=start + shift * jax.random.uniform(key_item, (count, 3), minval=-1.0),
      target=jnp.float32([item.target for item in items])
      + (target_shift * jax.random.uniform(key_target, (3,), minval=-1.0))[None],
      placed=jnp.zeros(count, bool),
      size=_draw(key_size, (count,), SIZES[self.unseen]),
      hue=jnp.broadcast_to(_draw(key_hue, (hues,), HUES[self.unseen]), (count,)),
      tolerance_scale=_draw(key_tolerance, (), TOLERANCE_SCALES[self.unseen]),
      t=jnp.int32(0),
      done=jnp.bool_(False),
      end_reason=jnp.int32(types.EndReason.NONE),
      failure=jnp.int32(tabletop_state.Failure.NONE),
    )

  def step(
    self, state: tabletop_state.State, action: jax.Array, key: jax.Array
  ) -> tabletop_state.State:
    """One control step; a state that is done is returned unchanged.

    Args:
      state: before the step.
      action: [14], left arm then right; `executed` of it is what happens.
      key: randomness of motion, drops and disturbances.
    """
    key_motion, key_drop, key_push = jax.random.split(key, 3)
    before = state
    state = _move(state, executed(action).reshape(2, 7), key_motion)
    drops = jax.random.uniform(key_drop, (2,)) < drop_probability(state)
    state = _contact(before, state, drops)
    if self.disturb:
      state = _push(state, key_push)
    state = _end(state)
    return jax.tree.map(lambda new, old: jnp.where(before.done, old, new), state, before)

  def see(self, state: tabletop_state.State) -> types.Sight:
    """What a policy sees; see `observation.see`."""
    return tabletop_sight.see(state)


def executed(action: jax.Array) -> jax.Array:
  """What the arms do of a command [14]: the nearest one within [-1, 1]."""
  return jnp.clip(action, -1.0, 1.0)


def drop_probability(state: tabletop_state.State) -> jax.Array:
  """[2] chance that each arm drops what it holds during the step of `state.command`.

  A held item slips with the speed of the carry, in proportion to its size, to how far the tilt
  of its grasp was from safe, and, with the speed squared, to how far from its middle it is held:
  slip * size * clip((0.3 - tilt) / 0.6, 0, 1) * speed + 0.025 * (offset / tolerance)^2 * speed^2.
  """
  held = jnp.maximum(state.held, 0)
  slip = jnp.float32([item.slip for item in state.task.items])[held] * state.size[held]
  speed = jnp.linalg.norm(state.command[:, :3], axis=1)
  unsafe = jnp.clip((SAFE_TILT - state.grasp_tilt) / (2 * SAFE_TILT), 0.0, 1.0)
  offset = (
    jnp.linalg.norm(state.grasp_offset[:, :2], axis=1)
    / tabletop_state.tolerances(state)[0][held, 0]
  )
  probability = slip * unsafe * speed + OFFSET_SLIP * jnp.square(offset * speed)
  return jnp.where(state.held >= 0, probability, 0.0)


def _move(state: tabletop_state.State, command: jax.Array, key: jax.Array) -> tabletop_state.State:
  """Moves arms and grippers, and with them what they hold."""
  noise = jax.random.normal(key, (2, 4)) * jnp.float32(NOISE_SCALE)[None]
  path = STEP_LENGTH * command[:, :3]
  noise *= MOTION_NOISE[0] + MOTION_NOISE[1] * jnp.linalg.norm(path, axis=1, keepdims=True)
  position = jnp.clip(state.position + path + noise[:, :3], REACH_LOW, REACH_HIGH)
  yaw = jnp.clip(state.yaw + STEP_YAW * command[:, 5] + noise[:, 3], -REACH_YAW, REACH_YAW)
  opening = jnp.where(command[:, 6] > 0, GRIPPER_STEP, -GRIPPER_STEP)
  in_hand = state.held[:, None] == jnp.arange(state.placed.size)[None]
  carried = jnp.concatenate([position[:, :2], yaw[:, None]], axis=1) + state.grasp_offset
  return dataclasses.replace(
    state,
    position=position,
    yaw=yaw,
    tilt=state.tilt + TILT_RATE * (command[:, 3] - state.tilt),
    gripper=jnp.clip(state.gripper + opening, 0.0, 1.0),
    command=command,
    item=jnp.where(in_hand.any(axis=0)[:, None], in_hand.T @ carried, state.item),
  )


def _contact(
  before: tabletop_state.State, state: tabletop_state.State, drops: jax.Array
) -> tabletop_state.State:
  """Grasps, releases, drops and jams, all decided by where the motion has led."""
  arms = jnp.arange(2)
  holding = state.held >= 0
  held = jnp.maximum(state.held, 0)
  height = state.position[:, 2]
  right_enough = tabletop_state.goal(state).within(state)
  closes = (before.gripper >= 0.5) & (state.gripper < 0.5)
  opens = (before.gripper < 0.5) & (state.gripper >= 0.5)

  pose = jnp.concatenate([state.position[:, :2], state.yaw[:, None]], axis=1)
  way = state.item[None] - pose[:, None]
  distance = jnp.linalg.norm(way[..., :2], axis=-1)
  tolerance = tabletop_state.tolerances(state)[0][None]
  in_reach = (distance < tolerance[..., 0]) & (jnp.abs(way[..., 2]) < tolerance[..., 1])
  in_reach &= tabletop_state.owned(state.task) & ~state.placed[None]
  nearest = jnp.argmin(jnp.where(in_reach, distance, jnp.inf), axis=1)
  ready = tabletop_state.prerequisites_met(state)[nearest]
  squeezes = ~holding & closes & (height < GRASP_HEIGHT)
  finds = squeezes & in_reach.any(axis=1)
  grasps = finds & ready

  releases = holding & opens
  in_air = height > RELEASE_HEIGHT
  places = releases & ~in_air & right_enough
  drops = holding & ~opens & drops
  narrow = jnp.asarray([item.narrow for item in state.task.items])[held]
  near_rim = jnp.linalg.norm(state.item[held, :2] - state.target[held, :2], axis=1) < RIM_RADIUS
  enters = (before.position[:, 2] >= RIM_HEIGHT) & (height < RIM_HEIGHT)
  jams = holding & narrow & enters & near_rim & ~right_enough

  failure = jnp.select(
    [squeezes & ~finds, finds & ~ready, drops, jams, releases & in_air, releases & ~places],
    [jnp.int32(code) for code in list(tabletop_state.Failure)[1:]],
    jnp.int32(tabletop_state.Failure.NONE),
  )
  return dataclasses.replace(
    state,
    held=jnp.where(grasps, nearest, jnp.where(releases | drops, -1, state.held)),
    grasp_tilt=jnp.where(grasps, state.tilt, state.grasp_tilt),
    grasp_offset=jnp.where(grasps[:, None], way[arms, nearest], state.grasp_offset),
    placed=state.placed.at[held].max(places),
    failure=failure.max(),
  )


def _push(state: tabletop_state.State, key: jax.Array) -> tabletop_state.State:
  """At times pushes one item that is neither placed nor held a few centimetres away."""
  key_item, key_push = jax.random.split(key)
  index = jnp.arange(state.placed.size)
  free = ~state.placed & (state.held[:, None] != index[None]).all(axis=0)
  chosen = jax.random.categorical(key_item, jnp.where(free, 0.0, -jnp.inf))
  low = jnp.float32([0.0, 0.0, PUSH_DISTANCE[0], -PUSH_YAW])
  high = jnp.float32([1.0, 2 * jnp.pi, PUSH_DISTANCE[1], PUSH_YAW])
  chance, angle, distance, turn = jax.random.uniform(key_push, (4,), minval=low, maxval=high)
  pushed = free & (index == chosen) & (chance < PUSH_PROBABILITY)
  push = jnp.stack([distance * jnp.cos(angle), distance * jnp.sin(angle), turn])
  item = state.item + push[None]
  owner = np.array([item.owner for item in state.task.items])
  item = item.at[:, :2].set(jnp.clip(item[:, :2], REACH_LOW[owner, :2], REACH_HIGH[owner, :2]))
  return dataclasses.replace(state, item=jnp.where(pushed[:, None], item, state.item))


def _end(state: tabletop_state.State) -> tabletop_state.State:
  """Advances the clock and says whether and why the fragment ends here."""
  t = state.t + 1
  end_reason = jnp.select(
    [state.failure != tabletop_state.Failure.NONE, state.placed.all(), t >= state.task.max_steps],
    [
      jnp.int32(r)
      for r in (types.EndReason.FAILURE, types.EndReason.SUCCESS, types.EndReason.TIMEOUT)
    ],
    jnp.int32(types.EndReason.NONE),
  )
  return dataclasses.replace(
    state, t=t, end_reason=end_reason, done=end_reason != types.EndReason.NONE
  )


def _draw(
  key: jax.Array, shape: tuple[int, ...], intervals: Sequence[tuple[float, float]]
) -> jax.Array:
  """Uniform over the union of `intervals`, each as likely as the others."""
  low, high = jnp.float32(intervals).T
  number = jax.random.uniform(key, shape, maxval=len(intervals))
  chosen = number.astype(jnp.int32)
  return low[chosen] + (high - low)[chosen] * (number - chosen)
