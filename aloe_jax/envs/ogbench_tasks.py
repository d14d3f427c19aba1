"""OGBench's environments by name, with what each family has added to it."""

import os

os.environ.setdefault('MUJOCO_GL', 'disable')  # nothing is drawn, and there may be no screen

import gymnasium
import ogbench.manipspace  # registers its environments  # noqa: F401

from aloe_jax.envs import ogbench_cube
from aloe_jax.envs import ogbench_scene

FAMILIES = {'cube': ogbench_cube.CubeTask, 'scene': ogbench_scene.SceneTask}


def make(name: str) -> gymnasium.Env:
  """A task such as 'cube-single-v0', 'cube-double-v0' or 'scene-v0'.

  Raises:
    ValueError: OGBench has no task of that name, or nobody has brought a human to its family.
  """
  families = tuple(f'{family}-' for family in FAMILIES)
  known = [key for key in gymnasium.registry if key.startswith(families) and 'task' not in key]
  if name not in known:
    raise ValueError(f"config.sim.task is 'ogbench:{name}'; expected one of {', '.join(known)}.")
  # The limit is the rollout's: a human goes on where the policy has run out of time.
  env = gymnasium.make(name, mode='data_collection', max_episode_steps=-1, disable_env_checker=True)
  return FAMILIES[name.partition('-')[0]](env)
