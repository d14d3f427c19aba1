"""What can be done with a run that has no simulator to be evaluated in, told when it ends."""

import pathlib
import shlex

from aloe_jax import progress
from aloe_jax.run import experiment as experiment_lib


def tell(
  workdir: pathlib.Path, checkpoint: pathlib.Path, experiment: experiment_lib.Experiment
) -> None:
  """Names the newest checkpoint and the commands that take it.

  Args:
    workdir: of the run.
    checkpoint: the newest.
    experiment: of the run.
  """
  where = shlex.quote(f'--workdir={workdir}')
  lines = [f'The newest checkpoint is {checkpoint}. What can be done with it:']
  if experiment.agent.critic is not None:
    lines += [
      '  whether its critic can be trusted, best on episodes that it was not trained on:',
      f'    python -m aloe_jax.report {where} --episodes=DIR',
    ]
  if experiment.reads_images:
    to = shlex.quote(f'--to={workdir.with_name(f"{workdir.name}_exported")}')
    lines += [
      '  weights as openpi publishes them, for the robot:',
      f'    python -m aloe_jax.export {where} {to}',
    ]
  lines += [
    '  another iteration, once the policy has collected more episodes: train with',
    f'    {shlex.quote(f"--config.actor.checkpoint={checkpoint}")}',
  ]
  progress.CONSOLE.print('\n'.join(lines), soft_wrap=True, highlight=False, markup=False)
