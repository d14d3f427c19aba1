"""What a policy that another run taught was told, beside what this run would tell it.

Its numbers mean what they meant when it learnt them: by which statistics they are normalised, which
actions count from the state, how long a step takes. None of it shows in the shapes of parameters.
"""

from collections.abc import Iterator
import pathlib

import ml_collections

from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax.run import checkpoints
from aloe_jax.run import rate

_FIELDS = {  # that must be as they were, and what to do where the data decide
  'data.normalization': '',
  'task.delta': '',
  'task.proprio_size': "; leave the dataset out, or choose the robot's numbers by "
  'config.data.mapping.state',
  'task.control_hz': ' where the data tell no rate, or go on at another by --config.data.rates=any',
}


def check(path: pathlib.Path, config: ml_collections.ConfigDict) -> None:
  """Compares a run with the one whose checkpoint it starts from; says which cameras are others.

  Args:
    path: of a checkpoint of ours. Where it keeps no config, nothing is compared.
    config: of the run, with what the data have told.

  Raises:
    ValueError: lists what differs, with both values and what to do.
  """
  tree = checkpoints.read_meta(path).get('config')
  if tree is None:
    return
  kept = config_lib.from_json(tree, str(path))
  if wrong := list(_differences(kept, config)):
    raise ValueError(
      f'config.actor.checkpoint names {path}, whose policy learnt from other numbers:\n  '
      + '\n  '.join(wrong)
      + '\nTo have it otherwise, start from the checkpoint that its run began with.'
    )
  before, now = tuple(kept.task.cameras), tuple(config.task.cameras)
  if before and set(before) != set(now):
    progress.CONSOLE.print(
      f'Cameras: {", ".join(now) or "none"}; the policy of {path} learnt with {", ".join(before)}.',
      highlight=False,
      soft_wrap=True,
    )


def _differences(
  kept: ml_collections.ConfigDict, config: ml_collections.ConfigDict
) -> Iterator[str]:
  for field, otherwise in _FIELDS.items():
    before, now = (config_lib.lookup(one, field) for one in (kept, config))
    if field == 'task.control_hz':
      same = config.data.rates == 'any' or 0 in (before, now) or rate.are_same(before, now)
    elif field == 'task.proprio_size':
      same = bool(config.sim.task) or before in (0, now)
    else:
      same = before == now
    if not same:
      shown = f'{before:g}' if isinstance(before, float) else f'{before}'
      found = f'{now:g}' if isinstance(now, float) else f'{now}'
      quoted = f"'{shown}'" if isinstance(before, tuple) else shown
      give = '' if field == 'task.proprio_size' else f'; give --config.{field}={quoted}'
      yield f'config.{field}: {shown} there, {found} here{give}{otherwise}'
