"""What experiments in other simulators than the embedded one share."""

from collections.abc import Mapping
from typing import Any

from experiments import common

DEBUG = '_debug'  # after a variant: the smallest size that runs every stage, for tests


def config(
  variant: str,
  tasks: Mapping[str, Any],
  simulator: str,
  *,
  control_hz: float,
  demonstrations: int = 25,
):
  """The laptop-size experiment on one task of a simulator.

  Args:
    variant: a key of `tasks`, and `DEBUG` or nothing after it.
    tasks: {variant: (the simulator's own name of the task, steps of an episode, prompt)}.
    simulator: what `sim.task` begins with.
    control_hz: steps per second.
    demonstrations: of a human, which the warm start imitates.
  """
  name = variant.removesuffix(DEBUG)
  if name not in tasks:
    known = ', '.join(f"'{key}' ({task})" for key, (task, *_) in tasks.items())
    raise ValueError(f'unknown variant {variant!r} of the experiment; expected one of {known}.')
  task, max_steps, prompt = tasks[name]
  size = 'sim_debug' if variant.endswith(DEBUG) else 'sim'
  found = common.apply_variant(common.paper(), size, sim_task=f'{simulator}:{task}')
  found.task.update(prompt=prompt, max_steps=max_steps, control_hz=control_hz)
  found.data.update(
    normalization='zscore',
    norm_stats='compute',
    check_statistics='warn',  # velocities of joints: a contact's are beyond ten deviations
  )
  if size == 'sim_debug':
    found.sim.processes = 1  # to start others would take longer than what they do
  else:
    found.task.update(demonstrations=demonstrations)
    found.sim.update(rollouts=96, attempts=32)
    found.evaluation.update(episodes=128)
  return found
