"""What there is on the table top, and what each arm has to do next.

Legend of shapes: 2 arms (left, right), I items of the task. Lengths in metres, angles in radians.
"""

import enum
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax.envs import tasks


class Failure(enum.IntEnum):
  """What went wrong, for people; learning only sees that the fragment failed."""

  NONE = 0
  EMPTY_GRASP = 1
  WRONG_ORDER = 2
  DROP = 3
  JAM = 4
  RELEASED_IN_AIR = 5
  MISPLACED = 6


@flax.struct.dataclass
class State:
  """All there is to know about one environment; `task` is static, the rest are arrays.

  Attributes:
    task: the table this state belongs to.
    position: [2, 3] grippers' x, y, z.
    yaw: [2] grippers' turn about the vertical.
    tilt: [2] grippers' tilt in [-1, 1].
    gripper: [2] opening in [0, 1]; below 0.5 it is closed.
    command: [2, 7] the last action, as a watching operator sees it move.
    held: [2] int32 item in each gripper, -1 for none.
    grasp_tilt: [2] tilt at the moment of the grasp.
    grasp_offset: [2, 3] held item's x, y, yaw minus its gripper's.
    item: [I, 3] items' x, y, yaw.
    target: [I, 3] where they belong.
    placed: [I] bool.
    size: [I] factor on the items' dimensions and on how easily they slip.
    hue: [I] colour in [0, 1).
    tolerance_scale: [] factor on all tolerances.
    t: [] int32 steps since the fragment began.
    done: [] bool; a state that is done no longer changes.
    end_reason: [] int32, `types.EndReason`.
    failure: [] int32, `Failure`.
  """

  task: tasks.Task = flax.struct.field(pytree_node=False)
  position: jax.Array
  yaw: jax.Array
  tilt: jax.Array
  gripper: jax.Array
  command: jax.Array
  held: jax.Array
  grasp_tilt: jax.Array
  grasp_offset: jax.Array
  item: jax.Array
  target: jax.Array
  placed: jax.Array
  size: jax.Array
  hue: jax.Array
  tolerance_scale: jax.Array
  t: jax.Array
  done: jax.Array
  end_reason: jax.Array
  failure: jax.Array


@flax.struct.dataclass
class Goal:
  """What each arm has to do next: reach its next item, or bring what it holds to its target.

  Attributes:
    item: [2] int32 the item in question.
    pose: [2, 3] x, y, yaw at which the gripper would be exactly right.
    tolerance: [2] metres within which it is right enough.
    yaw_tolerance: [2] radians within which it is right enough.
    holding: [2] bool whether the arm holds the item.
    ready: [2] bool whether all items that come first are placed.
    working: [2] bool, False where an arm has nothing left to do.
  """

  item: jax.Array
  pose: jax.Array
  tolerance: jax.Array
  yaw_tolerance: jax.Array
  holding: jax.Array
  ready: jax.Array
  working: jax.Array

  def error(self, state: State) -> jax.Array:
    """[2, 3] way to go on x, y and yaw; yaw is 0 where any yaw will do."""
    pose = jnp.concatenate([state.position[:, :2], state.yaw[:, None]], axis=1)
    error = self.pose - pose
    return error.at[:, 2].set(jnp.where(self.yaw_tolerance < math.pi, error[:, 2], 0.0))

  def within(self, state: State) -> jax.Array:
    """[2] bool, whether the gripper is right enough to grasp or to release."""
    error = self.error(state)
    near = jnp.linalg.norm(error[:, :2], axis=1) < self.tolerance
    return near & (jnp.abs(error[:, 2]) < self.yaw_tolerance)


def goal(state: State) -> Goal:
  """Each arm's next thing to do: what it holds, else its first item that is not placed."""
  todo = owned(state.task) & ~state.placed[None]
  holding = state.held >= 0
  item = jnp.where(holding, state.held, jnp.argmax(todo, axis=1))
  grasp, place = tolerances(state)
  tolerance = jnp.where(holding[:, None], place[item], grasp[item])
  pose = jnp.where(holding[:, None], state.target[item] - state.grasp_offset, state.item[item])
  return Goal(
    item=item,
    pose=pose,
    tolerance=tolerance[:, 0],
    yaw_tolerance=tolerance[:, 1],
    holding=holding,
    ready=prerequisites_met(state)[item],
    working=jnp.any(todo, axis=1),
  )


def tolerances(state: State) -> tuple[jax.Array, jax.Array]:
  """Grasp and place tolerances, each [I, 2] in metres and radians, of this episode."""
  grasp = jnp.float32([item.grasp_tolerance for item in state.task.items])
  place = jnp.float32([item.place_tolerance for item in state.task.items])
  return grasp * state.tolerance_scale, place * state.tolerance_scale


def prerequisites_met(state: State) -> jax.Array:
  """[I] bool, whether all that has to be placed before an item is placed."""
  first = np.array(
    [[other in item.after for other in range(len(state.task.items))] for item in state.task.items]
  )
  return (state.placed[None] | ~first).all(axis=1)


def owned(task: tasks.Task) -> np.ndarray:
  """[2, I] bool, which items each arm handles."""
  return np.arange(2)[:, None] == np.array([item.owner for item in task.items])
