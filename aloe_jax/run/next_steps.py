"""What can be done with a run, told when it ends."""

import pathlib
import re
import shlex

from aloe_jax import progress
from aloe_jax.buckets import twin
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
  run = twin.shown(workdir)
  where = shlex.quote(f'--workdir={run}')
  lines = [f'The newest checkpoint is {checkpoint}. What can be done with it:']
  task = experiment.config.sim.task
  if task and ':' not in task:  # the table top, which alone has other scenes
    lines += ['  the policy in other scenes:', f'    python -m aloe_jax.evaluate {where} --unseen']
  if experiment.agent.critic is not None and experiment.config.iterations:
    on = '' if experiment.config.sim.task else ' (on other episodes with --episodes=DIRECTORY)'
    lines += [
      f'  whether its critic can be trusted{on}:',
      f'    python -m aloe_jax.report {where}',
    ]
  robot = ' --robot=simulator' if _is_simulated(experiment) else ''
  lines += ['  actions for a robot that asks:', f'    python -m aloe_jax.serve {where}{robot}']
  if experiment.reads_images:
    to = shlex.quote(f'--to={run}_exported')
    lines += [
      '  weights as openpi publishes them, for the robot:',
      f'    python -m aloe_jax.export {where} {to}',
    ]
  if not experiment.config.sim.task:
    episodes = (*map(str, experiment.config.data.episodes), 'DIRECTORY')
    given = _quoted(f'--config.data.episodes={episodes}')
    first = '' if experiment.config.iterations else ' --config.iterations=1'
    lines += [
      '  another round, with new episodes named after those of before:',
      f'    python -m aloe_jax.train {where} {given}{first}',
    ]
  progress.CONSOLE.print('\n'.join(lines), soft_wrap=True, highlight=False, markup=False)


def _is_simulated(experiment: experiment_lib.Experiment) -> bool:
  """Whether a simulator plays, or has played outside: no other robot shows features."""
  if experiment.config.sim.task:
    return bool(experiment.world.action_kind)  # others are not what the preset says
  return not experiment.reads_images and experiment.encoder is None


def _quoted(argument: str) -> str:
  """For a shell, in double quotes where nothing in it would be read otherwise there."""
  return shlex.quote(argument) if re.search(r'["$`\\!]', argument) else f'"{argument}"'
