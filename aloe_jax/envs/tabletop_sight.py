"""What a policy sees of the table top: the robot's state and one feature vector per view.

The features stand in for a frozen vision tower. The left and the right arm's view are about that
arm's goal, the third is about the task. Together with the state they hold all that the dynamics
depend on, so a policy and a critic without memory are enough.
"""

import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.envs import tabletop_state

STATE_SIZE = 14  # as of an action: 6 numbers of each arm, and two that stay 0
FEATURE_SHAPE = (3, 16)


def see(state: tabletop_state.State) -> types.Sight:
  """State [14] and features [3, 16], all of order one, the features zero padded; no images."""
  arms = jnp.concatenate(
    [
      state.position[:, :2] / 0.5,
      state.position[:, 2:] / 0.1 - 1.0,
      state.yaw[:, None],
      state.tilt[:, None],
      2.0 * state.gripper[:, None] - 1.0,
    ],
    axis=1,
  ).reshape(-1)
  task = jnp.concatenate(
    [state.placed, state.held >= 0, jnp.mean(state.placed, keepdims=True)], dtype=jnp.float32
  )
  own = jnp.zeros(STATE_SIZE).at[: arms.size].set(arms)
  views = jnp.zeros(FEATURE_SHAPE).at[:2].set(_arm_features(state))
  return types.Sight(own, views.at[2, : task.size].set(task))


def _arm_features(state: tabletop_state.State) -> jax.Array:
  """[2, 16] each arm's goal relative to it, coarse and fine, and how it holds its item."""
  todo = tabletop_state.goal(state)
  error = todo.error(state)
  distance = jnp.linalg.norm(error[:, :2], axis=1)
  holding = todo.holding.astype(jnp.float32)
  held_offset = state.grasp_offset[:, :2] / tabletop_state.tolerances(state)[0][todo.item, :1]
  features = jnp.stack(
    [
      error[:, 0] / 0.3,
      error[:, 1] / 0.3,
      jnp.tanh(error[:, 0] / 0.04),
      jnp.tanh(error[:, 1] / 0.04),
      error[:, 2] / 0.5,
      jnp.tanh(error[:, 2] / 0.15),
      jnp.tanh(distance / todo.tolerance - 1.0),
      jnp.tanh(state.position[:, 2] / 0.05 - 1.0),
      todo.tolerance / 0.05,
      holding,
      holding * state.grasp_tilt,
      holding * jnp.linalg.norm(held_offset, axis=1),
      todo.ready.astype(jnp.float32),
      (state.size[todo.item] - 1.0) / 0.2,
      2.0 * state.hue[todo.item] - 1.0,
    ],
    axis=1,
  )
  features = jnp.where(todo.working[:, None], features, 0.0)
  working = todo.working.astype(jnp.float32)
  return jnp.concatenate([features, working[:, None]], axis=1)
