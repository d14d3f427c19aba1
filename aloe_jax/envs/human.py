"""A scripted human for the table top: demonstrates, watches a policy, takes over, recovers.

The human is skilled but not uniformly good: most are careful and some hasty, and item by item
they grasp at a safe or at a careless tilt. Demonstrations kept because they succeeded therefore
hold two modes whose value differs, which imitation cannot tell apart.

What the human does is a function of what can be seen: there is no hidden phase, so a policy
without memory can imitate it, and it can go on from any state.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_state

CAREFUL_SHARE = 0.8
SAFE_SHARE = 0.4  # of items grasped at the safe tilt
SPEED = (1.0, 0.6)  # hasty, careful: largest command
AIM = (0.40, 0.12)  # hasty, careful: standard deviation of the aim, in tolerances
TILT = (-0.4, 0.6)  # careless, safe
TILT_SPREAD = 0.06
ACTION_NOISE = 0.1  # standard deviation per unit of speed

HOVER = 0.14  # height above the table for going from place to place
TOUCH = 0.02  # height for grasping and releasing
GAIN = 0.6  # share of the remaining way commanded per step
ALIGNED = 0.35  # in tolerances: comes all the way down once the error is below it
DROP_ALARM = 0.036  # drop probability per step at which an operator reaches for the controls


@flax.struct.dataclass
class HumanState:
  """Who is at the controls; drawn once, at the start of a demonstration or a take-over.

  Attributes:
    speed: [] largest command.
    aim: [I, 2, 3] error of the aim at each item's grasp and placement, in tolerances.
    tilt: [I] roll commanded when grasping each item.
  """

  speed: jax.Array
  aim: jax.Array
  tilt: jax.Array


def init(
  key: jax.Array, sim: tabletop.Simulator, style: str = 'mixture', mode: str = 'mixture'
) -> HumanState:
  """Draws a human.

  Args:
    key: randomness of style, tilt and aim.
    sim: the simulator they will act in.
    style: 'careful', or 'mixture' for one human in five being hasty.
    mode: 'good' for the safe tilt at every item, or 'mixture' for both kinds.
  """
  if style not in ('mixture', 'careful') or mode not in ('mixture', 'good'):
    raise ValueError(f"style is 'mixture' or 'careful', mode 'mixture' or 'good': {style}, {mode}")
  key_style, key_aim, key_mode, key_tilt = jax.random.split(key, 4)
  count = len(sim.task.items)
  careful = jax.random.bernoulli(key_style, CAREFUL_SHARE if style == 'mixture' else 1.0)
  safe = jax.random.bernoulli(key_mode, SAFE_SHARE if mode == 'mixture' else 1.0, (count,))
  tilt = jnp.where(safe, TILT[1], TILT[0])
  return HumanState(
    speed=jnp.where(careful, SPEED[1], SPEED[0]),
    aim=jnp.where(careful, AIM[1], AIM[0]) * jax.random.normal(key_aim, (count, 2, 3)),
    tilt=tilt + TILT_SPREAD * jax.random.normal(key_tilt, (count,)),
  )


def act(
  state: tabletop_state.State, human: HumanState, key: jax.Array
) -> tuple[jax.Array, HumanState]:
  """The human's action [14] in this state.

  Each arm goes over its goal at `HOVER`, comes down as the error gets small, closes or opens at
  the bottom, and rises before it goes elsewhere; it hovers over an item whose turn has not come.
  """
  goal = tabletop_state.goal(state)
  holding = goal.holding
  aim = human.aim[goal.item, holding.astype(jnp.int32)]
  tolerance = jnp.stack([goal.tolerance, goal.tolerance, goal.yaw_tolerance], axis=1)
  error = goal.error(state)
  error += jnp.where(error != 0.0, aim, 0.0) * tolerance
  error = jnp.where(goal.working[:, None], error, _way_home(state))
  height = state.position[:, 2]

  distance = jnp.linalg.norm(error[:, :2], axis=1)
  misaligned = (
    jnp.maximum(distance / goal.tolerance, jnp.abs(error[:, 2]) / goal.yaw_tolerance) / ALIGNED
  )
  may_touch = goal.working & goal.ready & (holding | (state.gripper > 0.5))
  clearance = jnp.where(may_touch, jnp.clip(misaligned - 1.0, 0.0, 1.0), 1.0)
  rise = TOUCH + (HOVER - TOUCH) * clearance - height

  lifted = jnp.clip((height - 0.03) / 0.06, 0.0, 1.0)
  beside = jnp.exp(-jnp.square(distance / 0.03))
  way = jnp.concatenate([error[:, :2] * jnp.maximum(lifted, beside)[:, None], rise[:, None]], 1)
  command = GAIN * way / tabletop.STEP_LENGTH
  command *= jnp.minimum(
    1.0, human.speed / jnp.maximum(jnp.linalg.norm(command, axis=1, keepdims=True), 1e-6)
  )
  speed = jnp.linalg.norm(command, axis=1, keepdims=True)
  turn = jnp.clip(GAIN * error[:, 2] / tabletop.STEP_YAW, -human.speed, human.speed)
  noise = ACTION_NOISE * speed * jax.random.normal(key, (2, 4))

  grasping = goal.working & ~holding
  at_bottom = may_touch & (misaligned < 1.5) & (height < 2 * TOUCH)
  roll = jnp.where(grasping, human.tilt[goal.item], 0.0)
  grip = jnp.where(at_bottom == holding, 1.0, -1.0)
  action = jnp.concatenate(
    [
      command + noise[:, :3],
      roll[:, None],
      jnp.zeros((2, 1)),
      turn[:, None] + noise[:, 3:],
      grip[:, None],
    ],
    axis=1,
  )
  return jnp.clip(action, -1.0, 1.0).reshape(-1), human


def danger(state: tabletop_state.State) -> jax.Array:
  """Whether a watching operator would expect a failure in the next moments, [] bool."""
  goal = tabletop_state.goal(state)
  error = goal.error(state)
  distance = jnp.linalg.norm(error[:, :2], axis=1)
  height = state.position[:, 2]
  within = goal.within(state)
  closing = (state.command[:, 6] <= 0) & (state.gripper >= 0.5)
  opening = (state.command[:, 6] > 0) & (state.gripper < 0.5)
  low = height < tabletop.GRASP_HEIGHT
  beside = low & ~within & (distance < 3 * goal.tolerance)

  reaching = goal.working & ~goal.holding
  empty_grasp = reaching & ((closing & low & ~within) | (beside & (height < 2 * TOUCH)))
  wrong_order = reaching & ~goal.ready & closing & low
  release = goal.holding & opening & (~within | (height > tabletop.RELEASE_HEIGHT))
  drop = tabletop.drop_probability(state) > DROP_ALARM
  narrow = jnp.asarray([item.narrow for item in state.task.items])[goal.item]
  falling = (state.command[:, 2] < -0.2) & (height < tabletop.RIM_HEIGHT + 0.03)
  over_rim = distance < tabletop.RIM_RADIUS
  jam = goal.holding & narrow & falling & over_rim & ~within
  return jnp.any(empty_grasp | wrong_order | release | drop | jam) & ~state.done


def recover(state: tabletop_state.State) -> tabletop_state.State:
  """What the operator's hands do after a failure, before they go on from there.

  Grippers are opened and lifted, what they held lies where it was, a jammed phone lies beside
  its box, and a new fragment begins.
  """
  return dataclasses.replace(
    state,
    position=state.position.at[:, 2].max(HOVER),
    gripper=jnp.ones(2),
    tilt=jnp.zeros(2),
    command=jnp.zeros((2, 7)),
    held=jnp.full(2, -1, jnp.int32),
    t=jnp.int32(0),
    done=jnp.bool_(False),
    end_reason=jnp.int32(types.EndReason.NONE),
    failure=jnp.int32(tabletop_state.Failure.NONE),
  )


def _way_home(state: tabletop_state.State) -> jax.Array:
  """[2, 3] way on x, y and yaw to where an arm with nothing to do rests."""
  return jnp.concatenate(
    [tabletop.HOME[:, :2] - state.position[:, :2], -state.yaw[:, None]], axis=1
  )
