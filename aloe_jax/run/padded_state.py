"""Checkpoints of robots whose state an earlier version filled up with zeros, which are refused."""

from collections.abc import Mapping
import pathlib
from typing import Any

import numpy as np

from aloe_jax.data import padding
from aloe_jax.preprocessing import normalize

MARK = {'own_state': True}  # kept beside parameters that were taught the robot's own numbers


def check(path: pathlib.Path, meta: Mapping[str, Any]) -> None:
  """Refuses a checkpoint that was taught zeros as numbers of its robot.

  Such a policy answers to them, and nobody who serves it will say them. Simulated runs are not
  meant: their simulator still gives what it gave. Nor are checkpoints with `MARK`: a number of a
  robot may always be 0.

  Args:
    path: of the checkpoint.
    meta: what was kept beside its parameters.

  Raises:
    ValueError: what happened, and what to do.
  """
  task, sim, actor = (_at(meta, 'config', name) for name in ('task', 'sim', 'actor'))
  if MARK.items() <= meta.items() or sim.get('task') or task.get('proprio_size') != padding.WIDTH:
    return
  size = _own_size(meta)
  if size is None:
    return
  zeros = padding.WIDTH - size
  policy = 'π0.5' if actor.get('kind') == 'pi05' else 'its policy'
  raise ValueError(
    f'{path} was trained by an earlier version, which filled the {size} numbers of the state up to '
    f'{padding.WIDTH}: {policy} was told {zeros} zeros that the robot does not have, in every '
    'prompt, and so acts well only where it is told them again. Neither its weights nor its '
    'statistics fit the robot. Import the recordings again and train from the checkpoint that this '
    'run began with (such as --config.actor.checkpoint=path/to/pi05_base '
    '--config.data.norm_stats=compute) in another --workdir; until then the version that trained '
    'this one runs it as it was.'
  )


def _own_size(meta: Mapping[str, Any]) -> int | None:
  """Numbers of the state before those of which the statistics are 0; None if it was not filled."""
  lists = [values for values in _at(meta, 'norm_stats', 'state').values() if values is not None]
  if not lists or any(np.shape(values) != (padding.WIDTH,) for values in lists):
    return None
  used = normalize.own_size(normalize.from_json(meta, 'the checkpoint')['state'])
  return used if used < padding.WIDTH else None


def _at(tree: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
  """What lies at nested names, or nothing."""
  found: Any = tree
  for name in names:
    found = found.get(name) if isinstance(found, Mapping) else None
  return found if isinstance(found, Mapping) else {}
