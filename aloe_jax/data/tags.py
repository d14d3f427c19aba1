"""Which rows of a batch tell their chunk's advantage: a pure function of (seed, position)."""

import dataclasses

import numpy as np

from aloe_jax import types

_STREAM = np.uint64(2**64 - 1)  # apart from the passes that `sampler` counts up from 0
_WORDS = 4  # that a Philox generator makes of one count


@dataclasses.dataclass(frozen=True)
class Tags:
  """What is said of every chunk, and how often it is said.

  Attributes:
    tag: [N] int8, `types.Tag` of each row's chunk.
    drop: share of the rows of batches that are told without it, so that the actor learns to act
      without a tag too.
  """

  tag: np.ndarray
  drop: float

  def of(self, rows: np.ndarray, seed: int, position: np.ndarray) -> np.ndarray:
    """Tags [B] of rows [B] at some positions [B] of the stream of a seed, some of them dropped."""
    first, count = int(position.min()), int(np.ptp(position)) + 1
    key = np.array([seed, _STREAM], np.uint64)
    words = np.random.Philox(key=key, counter=first).random_raw(_WORDS * count)
    uniform = words[::_WORDS][position - first] / 2**64
    return np.where(uniform < self.drop, np.int8(types.Tag.NONE), self.tag[rows])
