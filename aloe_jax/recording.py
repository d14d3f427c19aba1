"""Simulated trajectories become RLDS episodes, with what the cameras saw."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.rollout import Trajectories

Render = Callable[[Any], dict[str, jax.Array]]  # a state to {camera: [H, W, 3] uint8}

FRAMES = 256  # pictures drawn per compiled call


def to_episodes(
    trajectories: Trajectories,
    *,
    prompt: str,
    keep: np.ndarray,
    render: Render | None,
    metadata: dict[str, Any],
) -> Iterator[rlds.Episode]:
  """Yields one episode per environment.

  Args:
    trajectories: of E environments.
    prompt: the task's language instruction.
    keep: [E] bool, which to yield (demonstrations are kept where they succeed).
    render: draws one state; None for episodes without images.
    metadata: of every episode; `episode_id` and `success` are added.
  """
  lengths = trajectories.lengths
  for index in np.flatnonzero(keep):
    steps = slice(0, lengths[index])
    end_reason = trajectories.end_reason[index, steps]
    yield rlds.Episode(
        proprio=trajectories.proprio[index, steps],
        features=trajectories.features[index, steps],
        images=None if render is None else _draw(render, trajectories.state, index, lengths[index]),
        action=trajectories.action[index, steps],
        source=trajectories.source[index, steps],
        end_reason=end_reason,
        language_instruction=prompt,
        metadata=metadata
        | {'episode_id': int(index), 'success': bool(end_reason[-1] == types.EndReason.SUCCESS)},
    )


def _draw(render: Render, state: Any, index: int, length: int) -> dict[str, np.ndarray]:
  """{camera: [T, H, W, 3] uint8} of one environment's first `length` states."""
  draw = _compiled(render)
  parts = []
  for start in range(0, length, FRAMES):
    # Every call draws the same number of frames, so that one program serves them all.
    steps = np.minimum(np.arange(start, start + FRAMES), length - 1)
    frames = draw(jax.tree.map(lambda x: x[index, steps], state))
    parts.append(jax.tree.map(lambda x: np.asarray(x)[: length - start], frames))
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)
