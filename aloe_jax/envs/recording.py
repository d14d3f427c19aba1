"""Simulated trajectories become RLDS episodes, with what the cameras saw."""

from collections.abc import Callable, Iterator
import functools
from typing import Any

import jax
import numpy as np

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.envs.simulation import Trajectories

Render = Callable[[Any], dict[str, jax.Array]]  # a state to {camera: [H, W, 3] uint8}

FRAMES = 256  # images of each camera drawn per compiled call


def to_episodes(
  trajectories: Trajectories,
  *,
  prompt: str,
  keep: np.ndarray,
  render: Render | None,
  metadata: dict[str, Any],
  progress: Callable[[int], None] = lambda frames: None,
) -> Iterator[rlds.Episode]:
  """Yields one episode per environment that is kept.

  Args:
    trajectories: of E environments.
    prompt: the task's language instruction.
    keep: [E] bool (demonstrations are kept where they succeed).
    render: draws one state; None for episodes without images.
    metadata: of every episode; `episode_id` and `success` are added.
    progress: told the steps drawn so far, or recorded where nothing is drawn.
  """
  lengths = trajectories.lengths
  kept = np.flatnonzero(keep)
  frames = None if render is None else _Frames(trajectories, kept, render, progress)
  for index in kept:
    steps = slice(0, lengths[index])
    end_reason = trajectories.end_reason[index, steps]
    success = bool(end_reason[-1] == types.EndReason.SUCCESS)
    features = trajectories.features
    if frames is None:
      progress(int(lengths[kept[kept <= index]].sum()))
    yield rlds.Episode(
      state=trajectories.state[index, steps],
      features=None if features is None else features[index, steps],
      images=None if frames is None else frames.take(int(lengths[index])),
      action=trajectories.action[index, steps],
      source=trajectories.source[index, steps],
      end_reason=end_reason,
      prompt=prompt,
      metadata=metadata | {'episode_id': int(index), 'success': success},
    )


class _Frames:
  """The images of all kept steps, in order, drawn `FRAMES` at a time as they are taken."""

  def __init__(
    self,
    trajectories: Trajectories,
    kept: np.ndarray,
    render: Render,
    progress: Callable[[int], None],
  ):
    active = trajectories.active[kept]
    environment, self._step = np.nonzero(active)
    self._environment = kept[environment]
    self._state = trajectories.simulator_state
    self._render = _compiled(render)
    self._progress = progress
    self._drawn = 0
    self._waiting: list[dict[str, np.ndarray]] = []

  def take(self, count: int) -> dict[str, np.ndarray]:
    """{camera: [count, H, W, 3] uint8} of the next steps."""
    while sum(len(part['head']) for part in self._waiting) < count:
      self._waiting.append(self._draw())
    joined = {
      camera: np.concatenate([part[camera] for part in self._waiting])
      for camera in self._waiting[0]
    }
    self._waiting = [{camera: frames[count:] for camera, frames in joined.items()}]
    return {camera: frames[:count] for camera, frames in joined.items()}

  def _draw(self) -> dict[str, np.ndarray]:
    total = len(self._step)
    # The last call is filled up with the last step, so that one program serves them all.
    chosen = np.minimum(np.arange(self._drawn, self._drawn + FRAMES), total - 1)
    where = self._environment[chosen], self._step[chosen]
    frames = self._render(jax.tree.map(lambda x: x[where], self._state))
    count = min(FRAMES, total - self._drawn)
    self._drawn += count
    self._progress(self._drawn)
    return {camera: np.asarray(drawn)[:count] for camera, drawn in frames.items()}


@functools.lru_cache
def _compiled(render: Render) -> Callable[..., Any]:
  return jax.jit(jax.vmap(render))
