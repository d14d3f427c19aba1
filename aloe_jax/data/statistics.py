"""Statistics of states and normalised chunks, as a robot's episodes have them (openpi's)."""

from collections.abc import Callable
import dataclasses

import numpy as np

from aloe_jax.data import replay as replay_lib
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize

ROWS = 1024  # chunks per update of the running statistics


def compute(
  steps: steps_lib.Steps,
  inputs: inputs_lib.Inputs,
  chunking: replay_lib.Chunking,
  progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, normalize.Stats]:
  """Goes over all chunks once.

  Actions count relative to the state that their chunk starts from, if the robot's are; steps
  past the end of a fragment do not count.

  Args:
    steps: of all datasets.
    inputs: of the robot; their normalisers are left out.
    chunking: how episodes are cut.
    progress: told the steps gone over.

  Returns:
    Of 'state' [n] and 'actions' [A].
  """
  plain = normalize.Identity()
  inputs = dataclasses.replace(inputs, state=plain, action=plain)
  buffer = replay_lib.Replay(steps, inputs, chunking)
  state = normalize.RunningStats(inputs.state_size)
  actions = normalize.RunningStats(steps.action(np.arange(1)).shape[1])
  for start in range(0, len(steps), ROWS):
    rows = np.arange(start, min(start + ROWS, len(steps)))
    state.update(steps.state(rows)[:, : inputs.state_size])
  for start in range(0, len(buffer.starts), ROWS):
    rows = buffer.starts[start : start + ROWS]
    chunk, valid = buffer.chunks(rows)
    actions.update(chunk[valid])
    last = start + ROWS >= len(buffer.starts)
    progress(len(buffer) if last else int(rows[-1]) + 1)
  return {'state': state.stats('state'), 'actions': actions.stats('actions')}
