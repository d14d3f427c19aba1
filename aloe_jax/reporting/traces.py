"""Single episodes through a critic's eyes, one that succeeded and one that failed (Figs. 3, 9)."""

from collections.abc import Collection
import dataclasses
import pathlib

import numpy as np

from aloe_jax import files
from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import steps as steps_lib
from aloe_jax.reporting import judgement as judgement_lib

FRAMES = 6  # images of an episode, besides that of the end


@dataclasses.dataclass(frozen=True)
class Trace:
  """One episode, judged at T of its steps.

  Attributes:
    step: [T] steps since the episode began.
    score: [T] pessimistic Q of the chunk executed there, or V where the critic is of states.
    q: [K, T] of each member; K is 0 for a critic of states.
    v: [T].
    human: [T] bool, whether a human acted.
    end: step at which the policy's fragment ended.
    end_reason: why, a `types.EndReason`.
    frames: [n, H, W, 3] uint8 of the head camera; n is 0 where there is none.
    frame_steps: [n] their steps.
  """

  step: np.ndarray
  score: np.ndarray
  q: np.ndarray
  v: np.ndarray
  human: np.ndarray
  end: int
  end_reason: int
  frames: np.ndarray
  frame_steps: np.ndarray

  def save(self, path: pathlib.Path) -> None:
    """Writes it as .npz, creating the directory it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_arrays(path, dataclasses.asdict(self))

  @classmethod
  def load(cls, path: pathlib.Path) -> 'Trace':
    """Reads what `save` wrote."""
    with np.load(path) as kept:
      return cls(**{name: kept[name] for name in kept.files})


def follow(
  judged: judgement_lib.Judgement, steps: steps_lib.Steps, ends: Collection[types.EndReason]
) -> Trace | None:
  """The episode of median length whose first fragment is the policy's and ended in some way.

  Args:
    judged: chunks of whole episodes.
    steps: of the same buffer.
    ends: reasons looked for.

  Returns:
    The whole of that episode, what the human did after it included; None if there is none.
  """
  starts = np.append(np.flatnonzero(steps.is_first), len(steps))
  found = np.flatnonzero(
    np.isin(judged.row, starts)
    & (judged.source == types.Source.POLICY)
    & np.isin(judged.end, list(ends))
  )
  if not found.size:
    return None
  chosen = found[np.argsort(judged.left[found], kind='stable')[found.size // 2]]
  start = int(judged.row[chosen])
  stop = int(starts[np.searchsorted(starts, start) + 1])
  end = int(judged.left[chosen])
  own = (judged.row >= start) & (judged.row < stop)
  shown = _shown(stop - start, end)
  reads = steps.images('head', start + shown)
  images = [_decoded(read) for read in reads if read is not None]
  return Trace(
    step=judged.row[own] - start,
    score=judged.score[own],
    q=np.empty((0, own.sum())) if judged.q is None else judged.q[:, own],
    v=judged.v[own],
    human=judged.source[own] == types.Source.HUMAN,
    end=end,
    end_reason=int(judged.end[chosen]),
    frames=np.stack(images) if images else np.empty((0, 1, 1, 3), np.uint8),
    frame_steps=shown[[read is not None for read in reads]],
  )


def of_both(judged: judgement_lib.Judgement, steps: steps_lib.Steps) -> dict[str, Trace]:
  """{'success': , 'failure': } as far as there are such, a failure by itself if possible."""
  wanted = {
    'success': [(types.EndReason.SUCCESS,)],
    'failure': [(types.EndReason.FAILURE,), (types.EndReason.TAKEOVER,)],
  }
  traces = {}
  for name, choices in wanted.items():
    for ends in choices:
      trace = follow(judged, steps, ends)
      if trace is not None:
        traces[name] = trace
        break
  return traces


def _shown(length: int, end: int) -> np.ndarray:
  """Steps whose images are shown: at regular times, and the end in place of one near it."""
  regular = np.unique(np.linspace(0, length - 1, FRAMES).round().astype(int))
  apart = np.abs(regular - end) > length / FRAMES / 2
  return np.union1d(regular[apart], [end])


def _decoded(read: steps_lib.Read) -> np.ndarray:
  image = read()
  return image if isinstance(image, np.ndarray) else image_codec.decode(image)
