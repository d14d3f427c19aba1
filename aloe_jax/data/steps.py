"""The steps of several datasets laid end to end, read row by row from where they lie on disk."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from aloe_jax import types
from aloe_jax.data import scratch

Read = Callable[[], bytes | np.ndarray]  # an encoded image, or uint8 [H, W, 3]


class Recording(Protocol):
  """What is asked of one dataset of n steps; `index.Index` is one.

  Attributes:
    state: [n, S] float32.
    action: [n, A] float32.
    source: [n] int8, `types.Source`.
    end_reason: [n] int8, `types.EndReason`.
    held: [n] bool, where the robot held, see `holds`.
    prompt: [n] int32, positions in `prompts`.
    prompts: the texts.
    boundaries: [E + 1] int64; episode e has the rows from `boundaries[e]` to the next.
    reward: [n] float32 as recorded, or None unless it is to be trusted.
    features: [n, V, F], or None.
  """

  state: np.ndarray
  action: np.ndarray
  source: np.ndarray
  end_reason: np.ndarray
  prompt: np.ndarray
  prompts: list[str]
  boundaries: np.ndarray
  reward: np.ndarray | None
  features: np.ndarray | None

  @property
  def held(self) -> np.ndarray: ...

  def __len__(self) -> int: ...

  def images(self, camera: str, rows: np.ndarray) -> list[Read | None]:
    """What reads the image of each row [B], or None where one is missing."""


class Steps:
  """D_i of Algorithm 1: N steps of all datasets together.

  Small columns are held in memory; states, actions, features and images are read when asked
  for, however large the datasets are.

  Args:
    recordings: the datasets, in order; at least one.
    features: [n, V, F] of each, where a frozen encoder made them; by default those recorded.
    cameras: that are looked through; images of others are as good as missing.

  Attributes:
    state_size: n, numbers of the state that every dataset has; what one has beyond them, the
      zeros of an earlier version, is not read.
    source: [N] int8, `types.Source`.
    end_reason: [N] int8, `types.EndReason`.
    held: [N] bool, where the robot held, see `holds`.
    is_first: [N] bool, True on the first step of each episode.
    prompts: all texts.
    prompt: [N] int32, positions in `prompts`.
    reward: [N] float32, or None unless every dataset's are to be trusted.
  """

  def __init__(
    self,
    recordings: Sequence[Recording],
    features: Sequence[np.ndarray | None] | None = None,
    cameras: Sequence[str] = types.CAMERAS,
  ):
    self._recordings = list(recordings)
    self._cameras = tuple(cameras)
    self.state_size = min(recording.state.shape[1] for recording in recordings)
    self._features = [r.features for r in recordings] if features is None else list(features)
    self._scratch = scratch.Scratch()
    self._offsets = np.cumsum([0] + [len(recording) for recording in recordings])
    self.source = np.concatenate([recording.source for recording in recordings])
    self.end_reason = np.concatenate([recording.end_reason for recording in recordings])
    self.held = np.concatenate([recording.held for recording in recordings])
    self.is_first = np.zeros(len(self), bool)
    for recording, offset in zip(recordings, self._offsets[:-1], strict=True):
      self.is_first[offset + recording.boundaries[:-1]] = True
    self.prompts = sorted({prompt for recording in recordings for prompt in recording.prompts})
    self.prompt = np.concatenate(
      [
        np.array([self.prompts.index(text) for text in recording.prompts], np.int32)[
          recording.prompt
        ]
        for recording in recordings
      ]
    )
    rewards = [recording.reward for recording in recordings]
    trusted = [reward for reward in rewards if reward is not None]
    self.reward = np.concatenate(trusted) if len(trusted) == len(rewards) else None

  def __len__(self) -> int:
    return int(self._offsets[-1])

  @property
  def has_features(self) -> bool:
    """Whether every dataset has features."""
    return all(features is not None for features in self._features)

  def state(self, rows: np.ndarray) -> np.ndarray:
    """[..., n] float32 of rows [...], in the robot's units."""
    out = np.empty((*rows.shape, self.state_size), np.float32)
    for recording, here, own in self._parts(rows):
      out[here] = self._recordings[recording].state[own][..., : self.state_size]
    return out

  def action(self, rows: np.ndarray) -> np.ndarray:
    """[..., A] float32 of rows [...]."""
    return self._gathered([recording.action for recording in self._recordings], rows)

  def features(self, rows: np.ndarray) -> np.ndarray:
    """[..., V, F] of rows [...], the largest part of a critic's batch."""
    arrays = [features for features in self._features if features is not None]
    out = self._scratch.empty((*rows.shape, *arrays[0].shape[1:]), arrays[0].dtype)
    return self._gathered(arrays, rows, out)

  def images(self, camera: str, rows: np.ndarray) -> list[Read | None]:
    """What reads the image of each row [B], in any thread, or None where one is missing."""
    images: list[Read | None] = [None] * len(rows)
    if camera not in self._cameras:
      return images
    for recording, here, own in self._parts(rows):
      found = self._recordings[recording].images(camera, own)
      for b, image in zip(np.arange(len(rows))[here].tolist(), found, strict=True):
        images[b] = image
    return images

  def _parts(self, rows: np.ndarray) -> Iterator[tuple[int, Any, np.ndarray]]:
    """(recording, which of the rows [...] lie in it, their rows in it) of those with any."""
    if len(self._recordings) == 1:
      yield 0, ..., rows
      return
    recording = np.searchsorted(self._offsets, rows, side='right') - 1
    for number in np.unique(recording):
      here = recording == number
      yield number, here, rows[here] - self._offsets[number]

  def _gathered(
    self, arrays: Sequence[np.ndarray], rows: np.ndarray, out: np.ndarray | None = None
  ) -> np.ndarray:
    if len(arrays) == 1:
      # At once: it takes a tenth of the time of a copy of a copy, which 'raise' would make too.
      return np.take(arrays[0], rows, axis=0, out=out, mode='clip')
    if out is None:
      out = np.empty((*rows.shape, *arrays[0].shape[1:]), arrays[0].dtype)
    for recording, here, own in self._parts(rows):
      out[here] = arrays[recording][own]
    return out
