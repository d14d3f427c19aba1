"""OGBench's cube manipulation (Park et al., 2025): a UR5e arm in MuJoCo, with a scripted human.

One cube is brought to its target: on the table, or, where there are two, half of the time on top
of the other. A failure is a cube that is dropped or lost, or no time left. What is OGBench's and
what was added is said in `aloe_jax/envs/ogbench_cube.py`. Needs pip install -e '.[sim]'.

All methods on both tasks, as `experiments/paper.py` compares them in the embedded simulator:

  python -m experiments.ogbench --workdir=runs/ogbench
"""

from experiments import common

TASKS = {  # variant: OGBench's environment, steps of an episode
  'cube_single': ('cube-single-v0', 120),
  'cube_double': ('cube-double-v0', 160),
}
DEBUG = '_debug'  # after a variant: the smallest size that runs every stage, for tests


def get_config(variant: str = 'cube_single'):
  """The experiment; one of `TASKS` may follow the colon.

  python -m aloe_jax.train --config=experiments/ogbench.py:cube_double --workdir=runs/cubes
  """
  task = variant.removesuffix(DEBUG)
  if task not in TASKS:
    known = ', '.join(f"'{name}' ({environment})" for name, (environment, _) in TASKS.items())
    raise ValueError(f'unknown variant {variant!r} of the experiment; expected one of {known}.')
  environment, max_steps = TASKS[task]
  size = 'sim_debug' if variant.endswith(DEBUG) else 'sim'
  config = common.apply_variant(common.paper(), size, sim_task=f'ogbench:{environment}')
  config.task.update(
    prompt='Move the cube to its target',
    max_steps=max_steps,
    control_hz=20.0,
  )
  config.data.update(
    normalization='zscore',
    norm_stats='compute',
    check_statistics='warn',  # velocities of joints: a contact's are beyond ten deviations
  )
  if size == 'sim':
    config.task.update(demonstrations=25)
    config.sim.update(rollouts=96, attempts=32)
    config.evaluation.update(episodes=128)
  return config


if __name__ == '__main__':
  from experiments import paper  # not above: what reads a config needs no comparison

  paper.main('ogbench')
