"""gym-aloha's two tasks (Zhao et al., 2023) in MuJoCo, with somebody to learn from.

Two ViperX arms hand a cube over, or put a peg into a socket in mid-air. Scenes and the success
rule are gym-aloha's own; added are states in place of its images, when an attempt has failed, and
a human. An action takes four of gym-aloha's 50 steps a second: 14 numbers, of each arm by how many
radians its six joints are to move on from what they were told last, and how far its gripper is to
be open, 0 to 1. gym-aloha itself takes the joints' places, whose small differences are harder to
learn.
"""

import os
from typing import Any

os.environ.setdefault('MUJOCO_GL', 'disable')  # nothing is drawn, and there may be no screen

from gym_aloha import env as gym_aloha
from gym_aloha.tasks.sim import BimanualViperXTask
import gymnasium
from gymnasium import spaces
import numpy as np

from aloe_jax.envs import drops
from aloe_jax.envs import gym_aloha_arms as arms_lib
from aloe_jax.envs import gym_aloha_human
from aloe_jax.envs import ways

# {task: how far a gripper is open on each of its things, cube, or peg and socket}
TASKS = {'transfer_cube': (0.6,), 'insertion': (0.35, 0.6)}
STEPS = 4  # of gym-aloha that an action takes
MOST = 0.25  # radians by which a joint is moved at most
LIFTED = 0.08  # metres above the table from which a thing can be dropped
LOST = 0.08  # metres from both grippers at which it is no longer held
REACH = np.array([[-0.4, 0.2, -0.02], [0.4, 0.8, 0.7]])  # where things can be got hold of
START = np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 0.1] * 2)  # the state that arms begin in


def make(name: str) -> gymnasium.Env:
  """A task, 'transfer_cube' or 'insertion'.

  Raises:
    ValueError: gym-aloha has no task of that name.
  """
  if name not in TASKS:
    raise ValueError(f"config.sim.task is 'gym_aloha:{name}'; expected one of {', '.join(TASKS)}.")
  return Task(_States(name), name)


class _States(gym_aloha.AlohaEnv):
  """gym-aloha's environment without its images, which it draws three of in every step."""

  def __init__(self, name: str):
    super().__init__(name)
    self._env.task.get_observation = lambda physics: BimanualViperXTask.get_qpos(physics)

  @property
  def physics(self) -> Any:
    """dm_control's, of the scene."""
    return self._env.physics

  def _format_raw_obs(self, raw_obs: Any) -> Any:
    return raw_obs['observation'] if isinstance(raw_obs, dict) else raw_obs


class Task(gymnasium.Wrapper):
  """Shows states, ends failed attempts, and brings a human along.

  Args:
    env: gym-aloha's, of states.
    name: of the task.
  """

  def __init__(self, env: Any, name: str):
    super().__init__(env)
    self._physics = env.physics
    self._open_on = TASKS[name]
    self._inserts = name == 'insertion'
    self._arms = arms_lib.Arms(self._physics)
    limits = self._physics.model.actuator_ctrlrange
    self._limits = np.zeros((2, 14))
    self._limits[1] = 1.0
    high = np.ones(14, np.float32)
    for side, first in (('left', 0), ('right', 8)):
      self._limits[:, arms_lib.ARM[side]] = limits[first : first + 6].T
      high[arms_lib.ARM[side]] = MOST
    low = np.where(high == MOST, -high, np.float32(0.0))
    self.action_space = spaces.Box(low, high)
    things = len(self._open_on)
    self.observation_space = spaces.Dict(
      proprio=spaces.Box(-np.inf, np.inf, (14,), np.float64),
      lag=spaces.Box(-np.inf, np.inf, (14,), np.float64),
      things=spaces.Box(-np.inf, np.inf, (7 * things,), np.float64),
      ways=spaces.Box(-1.0, 1.0, (18,), np.float64),
    )

  def reset(
    self, *, seed: int | None = None, options: dict[str, Any] | None = None
  ) -> tuple[Any, dict[str, Any]]:
    self.env.reset(seed=seed, options=options)
    self._command = START
    self._begin()
    self._last = self._shown(False)
    return self._last

  def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
    before, command = self._command, np.array(action, np.float64)
    for side in arms_lib.SIDES:
      command[arms_lib.ARM[side]] += before[arms_lib.ARM[side]]
    self._command = np.clip(command, *self._limits)
    for share in np.arange(1, STEPS + 1) / STEPS:
      _, reward, success, _, _ = self.env.step((1 - share) * before + share * self._command)
      if success:
        break
    self._last = self._shown(bool(success))
    failed = any(map(self._is_lost, self._carried, self._last[1]['things']))
    return self._last[0], reward, bool(success or failed), False, self._last[1]

  def recover(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What was dropped lies where it fell, and can be picked up again."""
    self._begin()
    return self._last

  def make_human(self, rng: np.random.Generator) -> gym_aloha_human.Human:
    """Somebody of one of the two kinds, for one episode."""
    return gym_aloha_human.Human(self._arms, rng, self._inserts, MOST)

  def _begin(self) -> None:
    self._carried = [drops.Carried(LIFTED, LOST) for _ in self._open_on]

  def _is_lost(self, carried: drops.Carried, thing: np.ndarray) -> bool:
    place, grippers = thing[:3], self._last[1]['grippers'].values()
    nearest = min(grippers, key=lambda gripper: float(np.linalg.norm(gripper - place)))
    beyond = (place < REACH[0]).any() or (place > REACH[1]).any()
    return bool(carried.is_dropped(place, nearest) or beyond)

  def _shown(self, success: bool) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    state = BimanualViperXTask.get_qpos(self._physics)
    poses = self._physics.data.qpos[16:].reshape(-1, 7).copy()
    grippers = {
      side: self._physics.named.data.site_xpos[f'cali_{side}_site1'].copy()
      for side in arms_lib.SIDES
    }
    ends = poses[0, :3], poses[-1, :3]
    between = ends[1] - ends[0] if self._inserts else gym_aloha_human.MEET - ends[0]
    info = dict(
      success=success,
      state=state,
      command=self._command,
      grippers=grippers,
      things=[np.append(pose, width) for pose, width in zip(poses, self._open_on, strict=True)],
    )
    return dict(
      proprio=state,
      lag=self._command - state,
      things=poses.ravel(),
      ways=ways.shown(ends[0] - grippers['right'], ends[1] - grippers['left'], between),
    ), info
