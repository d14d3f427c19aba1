"""The ranges that a simulator's numbers are scaled by, as a run keeps them.

Policies see the numbers of a Gymnasium environment scaled by the bounds that it declares. Where it
declares others later, the same place looks like another one to a policy that has learnt.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

from absl import logging

from aloe_jax import files
from aloe_jax.envs import gymnasium_numbers
from aloe_jax.envs import worlds
from aloe_jax.parallel import hosts

FILE = 'simulator_ranges.json'
_ADVICE = 'remove it, if the environment is as it was when the run began: it is written anew.'


def check(world: worlds.World, task: str, workdir: pathlib.Path, *, keeps: bool = False) -> None:
  """Holds the ranges of a simulator to those that a run began with.

  Args:
    world: the simulator.
    task: `sim.task`. Where the run's own was another, other numbers are said and not refused.
    workdir: of the run.
    keeps: whether they are kept, of a run that has no data yet: its first episodes are by them.

  Raises:
    ValueError: the task has other numbers or ranges now than when the run began.
  """
  now = json.loads(json.dumps(world.ranges))
  if not now:
    return
  path = workdir / FILE
  has_data = (workdir / 'manifest.json').exists()
  if not (path.exists() and has_data):
    if keeps and hosts.is_first():
      files.write_text(path, json.dumps({'task': task, **now}, indent=1) + '\n')
    return
  kept = _read(path)
  if not (changed := gymnasium_numbers.changed(kept, now)):
    return
  if kept.get('task') == task:
    raise ValueError(
      f'{path}: {task} {changed}; expected no change, as policies see numbers in a row, scaled by '
      'their bounds. Have the environment declare what it did when the run began, or start another '
      '--workdir.'
    )
  _warn(path, kept, task, changed)


def check_start(world: worlds.World, task: str, checkpoint: pathlib.Path) -> None:
  """Holds the ranges of a simulator to those of the run whose checkpoint another one starts from.

  Args:
    world: the simulator.
    task: `sim.task`.
    checkpoint: in the `checkpoints/` of a run. Where that keeps no ranges, nothing is compared.

  Raises:
    ValueError: there are more numbers or fewer, so that each would be read as another.
  """
  now = json.loads(json.dumps(world.ranges))
  path = files.absolute(checkpoint).parent.parent / FILE
  if not now or not path.exists():
    return
  kept = _read(path)
  if not (changed := gymnasium_numbers.changed(kept, now)):
    return
  counts = [[len(x.get(what, [])) for what in gymnasium_numbers.PARTS] for x in (kept, now)]
  if counts[0] != counts[1]:
    raise ValueError(
      f'config.actor.checkpoint names {checkpoint}, whose policy learnt in {kept.get("task")} '
      f'({path}); {task} {changed}. Expected as many, as each number would be read as another: '
      'start without it, or from a policy of such an environment.'
    )
  _warn(path, kept, task, changed)


def _warn(path: pathlib.Path, kept: Mapping[str, Any], task: str, changed: str) -> None:
  logging.warning(
    '%s: the policy has learnt in %s; %s %s. It sees numbers scaled by their bounds.',
    path,
    kept.get('task'),
    task,
    changed,
  )


def _read(path: pathlib.Path) -> dict[str, Any]:
  """What a run keeps; raises ValueError where it is damaged."""
  kept = files.read_json(path, _ADVICE)
  if not (isinstance(kept, dict) and all(_is_list(kept, what) for what in gymnasium_numbers.PARTS)):
    raise ValueError(
      f'{path}: found {json.dumps(kept):.200}, expected a task and lists of bounds; {_ADVICE}'
    )
  return kept


def _is_list(kept: Mapping[str, Any], what: str) -> bool:
  """Whether the ranges of a part are a list of them, with as many names if there are any."""
  ranges, names = kept.get(what), kept.get(f'{what}_names')
  if not (isinstance(ranges, list) and all(map(_is_range, ranges))):
    return False
  return names is None or (
    isinstance(names, list)
    and len(names) == len(ranges)
    and all(isinstance(name, str) for name in names)
  )


def _is_range(ends: Any) -> bool:
  """Whether they are two bounds, or None for none."""
  return ends is None or (
    isinstance(ends, list) and len(ends) == 2 and all(isinstance(x, int | float) for x in ends)
  )
