"""States that an earlier version's importers filled up with zeros, to the network's width."""

import numpy as np

from aloe_jax import types

WIDTH = types.PROPRIO_SIZE  # that they were filled up to
_BLOCK = 1 << 16  # rows that are looked at together


def used(state: np.ndarray) -> int:
  """How many of the first numbers of a state [N, n] there are, without zeros that end it.

  A number counts as one of them if it, or any after it, is something else than 0 at some step.
  """
  found = 0
  for start in range(0, len(state), _BLOCK):
    moving = np.flatnonzero(state[start : start + _BLOCK].any(axis=0))
    found = max(found, int(moving[-1]) + 1 if moving.size else 0)
    if found == state.shape[1]:
      break
  return found


def own_size(state: np.ndarray) -> int | None:
  """Numbers of a robot whose state [N, 32] was filled up; None for one that was not."""
  if state.shape[1] != WIDTH:
    return None
  found = used(state)
  return found if found < WIDTH else None


def remedy(size: int, path: str = 'observation/state') -> str:
  """What somebody can do about a state of which only the first `size` numbers are the robot's."""
  if not size:
    return (
      'all of them are 0 at every step: nothing was recorded of the robot, or its state is another '
      'field, to be named with config.data.mapping.state'
    )
  return (
    'import the recordings again, which keeps the numbers that there are, or choose those of the '
    f"robot with --config.data.mapping.state='{path}[0:{size}]' or with "
    f'--config.task.proprio_size={size}, or say --config.task.proprio_size={WIDTH} if the robot '
    f'has {WIDTH} numbers'
  )
