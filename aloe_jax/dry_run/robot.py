"""The robot of Tables I-III, for what is measured without data that would tell of another."""

import ml_collections

from aloe_jax import types

PAPER = {'action_size': 14, 'proprio_size': 32, 'cameras': types.CAMERAS}


def fill_in(config: ml_collections.ConfigDict) -> list[str]:
  """Gives a config without a simulator the paper's robot where it says nothing.

  Returns:
    What was assumed, a field each.
  """
  assumed = []
  if not config.sim.task:
    for field, value in PAPER.items():
      if not config.task[field]:
        config.task[field] = value
        assumed.append(f'task.{field} = {value!r}')
  return assumed
