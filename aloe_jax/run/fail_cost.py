"""C_fail of Eq. (14): what a failure costs, in steps, and whether the data can tell it."""

import pathlib

import ml_collections
import numpy as np

from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import outcomes
from aloe_jax.data import steps as steps_lib
from aloe_jax.run import checkpoints
from aloe_jax.run import indices as indices_lib


def check(config: ml_collections.ConfigDict, indices: indices_lib.Indices) -> None:
  """Says at once, before any image is read, what the outcomes of a robot's episodes lack.

  Args:
    config: of the run.
    indices: of all its datasets.

  Raises:
    ValueError: the run needs C_fail, and it cannot be told.
  """
  if not outcomes.are_known(index.end_reason for index in indices.values()):
    if config.fail.cost <= 0 and config.iterations:
      raise ValueError(f'{", ".join(map(str, indices))}: {outcomes.NONE_KNOWN} {outcomes.ADVICE}')
    told = outcomes.NONE_KNOWN + ('' if config.fail.cost > 0 else f' {outcomes.ADVICE}')
    progress.CONSOLE.print(told, highlight=False, soft_wrap=True)
  find(config, steps_lib.Steps(list(indices.values())))


def find(config: ml_collections.ConfigDict, steps: steps_lib.Steps) -> float | None:
  """C_fail, in steps, frozen at the first iteration.

  Args:
    config: `fail.cost` if it is given; else, of a run without a simulator, that of the
      checkpoint it goes on from; else `fail.lengths` mean lengths of a successful demonstration.
    steps: of the first iteration.

  Returns:
    None where it is not known and nothing is learnt but imitation.

  Raises:
    ValueError: there is no successful demonstration to take it from.
  """
  if config.fail.cost > 0:
    return config.fail.cost
  kept = _of_checkpoint(config)
  if kept is not None:
    return kept
  episode = np.cumsum(steps.is_first) - 1
  others = np.bincount(episode, weights=steps.source != types.Source.DEMO)
  demonstrated = others[episode] == 0
  ends, firsts = steps.end_reason[demonstrated], steps.is_first[demonstrated]
  if (ends[np.append(firsts[1:], True)[: len(ends)]] == types.EndReason.SUCCESS).any():
    return config.fail.lengths * rewards.mean_success_length(ends, firsts)
  if not config.iterations:
    return None
  count = int(firsts.sum())
  found = f'of {count} demonstrations none succeeds' if count else 'there is no demonstration'
  made = [f'the episodes of {config.sim.task}'] if config.sim.task else []
  where = ', '.join([*config.data.episodes, *made])
  raise ValueError(
    'the cost of a failure is the mean length of the successful demonstrations, but '
    f'{found} in {where}; give --config.fail.cost, in steps: such as the length of a typical '
    'success.'
  )


def _of_checkpoint(config: ml_collections.ConfigDict) -> float | None:
  """That of the run that a robot's goes on from; None where there is none, or it knew none."""
  start = pathlib.Path(config.actor.checkpoint)
  if config.sim.task or not config.actor.checkpoint or not checkpoints.is_one(start):
    return None
  return checkpoints.read_meta(start, 'fail_cost')['fail_cost']
