"""OGBench's cube tasks (Park et al., 2025) in MuJoCo, with somebody to learn from.

A UR5e arm brings one cube to its target: on the table, or on another cube where there are
several. The scene and the success rule are OGBench's own for recording data; added are what the
goal is (in the observation), when an attempt has failed, and a human.

The human is OGBench's scripted solution at the hands of people of two kinds, see `people`. The
careful ones grasp the middle of the cube. The hasty ones are quicker and grasp it at its edge or
across its corners.
"""

import os
from typing import Any

os.environ.setdefault('MUJOCO_GL', 'disable')  # nothing is drawn, and there may be no screen

import gymnasium
from gymnasium import spaces
import numpy as np
from ogbench.manipspace.oracles.markov import cube_markov

from aloe_jax.envs import drops
from aloe_jax.envs import people
from aloe_jax.envs import ways

PROPRIO = 19  # numbers of the arm at the head of OGBench's observation
GOAL = 17  # numbers that `_goal` gives

LIFTED = 0.08  # metres above the table from which a cube can be dropped
LOST = 0.06  # metres from the gripper at which the cube is no longer held
REACH = np.array([[0.2, -0.45, 0.0], [0.7, 0.45, 0.6]])  # where a cube can be got hold of
AT_LEAST = 0.1  # metres from the cube to a new target

SLOWEST = (0.4, 0.1)  # hasty, careful: `min_norm` of OGBench's script, which sets its speed
AIM = (0.015, 0.002)  # hasty, careful: metres beside the middle of the cube
HEIGHT = (0.015, 0.0)  # hasty, careful: metres above it
TURN = (0.4, 0.05)  # hasty, careful: radians across the cube
ACTION_NOISE = (0.15, 0.05)  # hasty, careful: standard deviation, of commands in [-1, 1]

PATIENCE = 40  # steps without progress after which an operator takes over
PROGRESS = 0.01  # metres that count as progress


class CubeTask(gymnasium.Wrapper):
  """Shows the goal, ends failed attempts, and brings a human along."""

  def __init__(self, env: gymnasium.Env):
    super().__init__(env)
    (size,) = env.observation_space.shape or (0,)
    objects = size - PROPRIO
    self._cubes = objects // 9
    self.action_space = spaces.Box(-1.0, 1.0, (5,))
    self.observation_space = spaces.Dict(
      proprio=spaces.Box(-np.inf, np.inf, (PROPRIO,), np.float64),
      objects=spaces.Box(-np.inf, np.inf, (objects,), np.float64),
      goal=spaces.Box(-1.0, 1.0, (GOAL + self._cubes,), np.float64),
    )

  def reset(
    self, *, seed: int | None = None, options: dict[str, Any] | None = None
  ) -> tuple[Any, dict[str, Any]]:
    observation, info = self.env.reset(seed=seed, options=options)
    while np.linalg.norm(_way(info)) < AT_LEAST:
      observation, info = self.unwrapped.set_new_target()
    self._carried = drops.Carried(LIFTED, LOST)
    self._last = self._shown(observation, info), info
    return self._last

  def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
    observation, reward, terminated, truncated, info = self.env.step(action)
    cube = _cube(info)
    dropped = self._carried.is_dropped(cube, info['proprio/effector_pos'])
    lost = (cube < REACH[0]).any() or (cube > REACH[1]).any()
    terminated |= bool(dropped or lost)
    self._last = self._shown(observation, info), info
    return self._last[0], reward, terminated, truncated, info

  def recover(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """After a drop the cube lies where it fell, and can be picked up again."""
    self._carried = drops.Carried(LIFTED, LOST)
    return self._last

  def make_human(self, rng: np.random.Generator) -> 'Human':
    """Somebody of one of the two kinds, for one episode."""
    return Human(self.env, rng)

  def _shown(self, observation: np.ndarray, info: dict[str, Any]) -> dict[str, np.ndarray]:
    arm, objects = np.split(observation, [PROPRIO])
    which = np.eye(self._cubes)[info['privileged/target_block']]
    return dict(proprio=arm, objects=objects, goal=np.concatenate([_goal(info), which]))


class Human:
  """OGBench's script, seeing the cube a little beside where it is.

  Args:
    env: OGBench's environment.
    rng: what this person is like.
  """

  def __init__(self, env: gymnasium.Env, rng: np.random.Generator):
    careful = people.is_careful(rng)
    self._rng = rng
    self._noise = ACTION_NOISE[careful]
    self._aim = np.append(people.beside(rng, AIM[careful]), HEIGHT[careful])
    self._turn = TURN[careful] * rng.choice([-1.0, 1.0])
    self._script = cube_markov.CubeMarkovOracle(env=env, min_norm=SLOWEST[careful])
    self._script.reset(None, None)  # draws where it rests once the cube is in place
    self._patience = people.Patience(PATIENCE, PROGRESS)

  def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
    """The script's action [5] for the scene as this person sees it."""
    block = f'privileged/block_{info["privileged/target_block"]}'
    seen = info | {
      f'{block}_pos': info[f'{block}_pos'] + self._aim,
      f'{block}_yaw': info[f'{block}_yaw'] + self._turn,
      'privileged/target_block_pos': info['privileged/target_block_pos'] + self._aim,
      'privileged/target_block_yaw': info['privileged/target_block_yaw'] + self._turn,
    }
    action = self._script.select_action(observation, seen)
    action[:4] += self._noise * self._rng.standard_normal(4)
    return np.clip(action, -1.0, 1.0)

  def alarmed(self, observation: Any, info: dict[str, Any]) -> bool:
    """Whether gripper and cube have come no nearer to where they belong for a while."""
    reach = np.linalg.norm(_cube(info) - info['proprio/effector_pos'])
    return self._patience.is_lost(float(reach + np.linalg.norm(_way(info))))


def _cube(info: dict[str, Any]) -> np.ndarray:
  """[3] where the cube is that is to be moved."""
  return info[f'privileged/block_{info["privileged/target_block"]}_pos']


def _way(info: dict[str, Any]) -> np.ndarray:
  """[3] from there to its target."""
  return info['privileged/target_block_pos'] - _cube(info)


def _goal(info: dict[str, Any]) -> np.ndarray:
  """[17] in [-1, 1]: ways from gripper to cube to target, and the gripper's turn against both."""
  shown = ways.shown(_cube(info) - info['proprio/effector_pos'], _way(info))
  block = info['privileged/target_block']
  yaw = np.concatenate([info[f'privileged/block_{block}_yaw'], info['privileged/target_block_yaw']])
  turn = 4.0 * (yaw - info['proprio/effector_yaw'])  # a cube looks the same after a quarter turn
  height = np.tanh(_cube(info)[2:] / LIFTED)
  return np.concatenate([shown, np.cos(turn), np.sin(turn), height])
