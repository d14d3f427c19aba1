"""Which of the policy's episodes a critic does not learn from, so that it can be tested on them."""

import numpy as np

from aloe_jax import types

_FEW = 15  # episodes, of which a larger share is taken, so that five are enough for a first test


def rows(source: np.ndarray, is_first: np.ndarray) -> np.ndarray:
  """Rows of the episodes that are held out: of the first 15 every third, then every eighth.

  Episodes in which a policy acts are counted in the order of the data. An episode that is held out
  once stays so when others are added behind it, whatever a critic learns later.

  Args:
    source: [N] int, `types.Source`.
    is_first: [N] bool, True on the first step of each episode.

  Returns:
    [N] bool.
  """
  episode = np.cumsum(is_first) - 1
  played = np.unique(episode[source == types.Source.POLICY])
  number = np.arange(len(played))
  chosen = np.where(number < _FEW, number % 3 == 1, number % 8 == 3)
  return np.isin(episode, played[chosen])
