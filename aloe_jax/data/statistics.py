"""Statistics of states and normalised chunks, as a robot's episodes have them (openpi's)."""

from collections.abc import Callable, Sequence
import dataclasses

from aloe_jax import inputs as inputs_lib
from aloe_jax import normalize
from aloe_jax.data import replay as replay_lib
from aloe_jax.data import rlds

ROWS = 1024  # chunks per update of the running statistics


def compute(
  episodes: Sequence[rlds.Episode],
  inputs: inputs_lib.Inputs,
  chunking: replay_lib.Chunking,
  progress: Callable[[int], None] = lambda steps: None,
) -> dict[str, normalize.Stats]:
  """Goes over all chunks once.

  Actions count relative to the state that their chunk starts from, if the robot's are; steps
  past the end of a fragment do not count.

  Args:
    episodes: as read from disk.
    inputs: of the robot; their normalisers are left out.
    chunking: how episodes are cut.
    progress: told the steps gone over.

  Returns:
    Of 'state' [n] and 'actions' [A].
  """
  plain = normalize.Identity()
  inputs = dataclasses.replace(inputs, state=plain, action=plain)
  buffer = replay_lib.Replay(episodes, inputs, chunking)
  state = normalize.RunningStats(inputs.state_size)
  actions = normalize.RunningStats(episodes[0].action.shape[1])
  for episode in episodes:
    state.update(episode.proprio[:, : inputs.state_size])
  for start in range(0, len(buffer.starts), ROWS):
    rows = buffer.starts[start : start + ROWS]
    chunk, valid = buffer.chunks(rows)
    actions.update(chunk[valid])
    last = start + ROWS >= len(buffer.starts)
    progress(len(buffer) if last else int(rows[-1]) + 1)
  return {'state': state.stats(), 'actions': actions.stats()}
