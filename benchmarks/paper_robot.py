"""The robot of Tables I-III, for measurements that read no data which would tell of another."""

import ml_collections

from aloe_jax import types

PAPER = {'action_size': 14, 'proprio_size': 32, 'cameras': types.CAMERAS}


def fill_in(config: ml_collections.ConfigDict) -> None:
  """Gives a config without a simulator the paper's robot where it says nothing."""
  if not config.sim.task:
    for field, value in PAPER.items():
      config.task[field] = config.task[field] or value
