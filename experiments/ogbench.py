"""OGBench's manipulation (Park et al., 2025): a UR5e arm in MuJoCo, with a scripted human.

One cube is brought to its target: on the table, or, where there are two, half of the time on top
of the other. In the scene it is a cube, a drawer or a window, which may be locked. A failure is a
cube that is dropped or lost, or no time left. What is OGBench's and what was added is said in
`aloe_jax/envs/ogbench_cube.py` and `ogbench_scene.py`. Needs pip install -e '.[sim]'.
"""

from experiments import away

PROMPT = 'Move the cube to its target'
TASKS = {  # variant: OGBench's environment, steps of an episode, what the robot is told
  'cube_single': ('cube-single-v0', 120, PROMPT),
  'cube_double': ('cube-double-v0', 160, PROMPT),
  'scene': ('scene-v0', 120, 'Bring the cube, the drawer or the window where it is to be'),
}
DEBUG = away.DEBUG


def get_config(variant: str = 'cube_single'):
  """The experiment; one of `TASKS` may follow the colon.

  python -m aloe_jax.train --config=experiments/ogbench.py:cube_double --workdir=runs/cubes
  """
  return away.config(variant, TASKS, 'ogbench', control_hz=20.0)
