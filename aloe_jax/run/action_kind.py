"""Whether the actions of a run are positions or velocities: told by its data, never guessed."""

from collections.abc import Mapping
from typing import Any

from aloe_jax import files
from aloe_jax.data import action_kinds
from aloe_jax.run import checkpoints
from aloe_jax.run import starting_point


def find(world: str, given: Mapping[str, tuple[str, ...]], start: starting_point.Start) -> str:
  """The kind of the actions that a policy learns; empty where nobody tells.

  Args:
    world: that of the simulator; empty where there is none that tells.
    given: {dataset: kinds that its episodes tell}; those that tell none go with any.
    start: what its parameters come from, whose checkpoint may tell.

  Raises:
    ValueError: they are of two kinds; names who tells which.
  """
  told = {name: kinds for name, kinds in given.items() if kinds}
  if world:
    told['the simulator'] = (world,)
  if start.is_own and (before := of(checkpoints.read_meta(files.place(start.path)))):
    told[start.path] = (before,)
  found = {kind for kinds in told.values() for kind in kinds}
  if len(found) > 1:
    raise ValueError(
      'the actions of some episodes are positions and those of others velocities, which no policy '
      'can learn together:\n'
      + '\n'.join(f'{name}: {" and ".join(kinds)}' for name, kinds in told.items())
      + '\nTrain on those of one kind.'
    )
  return found.pop() if found else ''


def of(meta: Mapping[str, Any]) -> str:
  """The kind that a checkpoint tells; empty where it tells none, as earlier versions did."""
  found = meta.get(action_kinds.NAME)
  return found if found in action_kinds.KINDS else ''
