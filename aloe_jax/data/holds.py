"""Steps at which the robot held: nobody chose what it was sent then.

The policy had no action left, or its server was silent. Such a step happened, so that the critic
learns what came of it; but the policy did not ask for it, so that no actor imitates it. Which steps
of an episode these are is kept in its metadata, as in '120-353 400-400'.
"""

from collections.abc import Mapping
import re

import numpy as np

COUNT = 'steps_held'
NAME = 'held_steps'
_RUN = re.compile(r'(\d+)-(\d+)')


def told(held: np.ndarray) -> dict[str, int | str]:
  """What the metadata of an episode say of held [T] bool."""
  edges = np.flatnonzero(np.diff(held.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
  runs = ' '.join(f'{first}-{after - 1}' for first, after in edges.tolist())
  return {COUNT: int(held.sum()), NAME: runs}


def read(metadata: Mapping[str, bool | int | float | str], length: int) -> np.ndarray:
  """[length] bool of the steps of an episode at which the robot held, as its metadata tell."""
  held = np.zeros(length, bool)
  for first, last in _RUN.findall(str(metadata.get(NAME, ''))):
    held[int(first) : int(last) + 1] = True
  return held


def sentence(held: int, steps: int) -> str:
  """What becomes of held steps among all steps; '' where there are none."""
  if not held:
    return ''
  return (
    f'The robot held at {held} of {steps} steps: the critic learns from them, the actor imitates '
    'no chunk with such a step in it.'
  )
