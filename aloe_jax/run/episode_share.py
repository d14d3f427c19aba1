"""Whether more of some numbers lies outside of a range than episodes have by chance.

Episodes are the sample, and not their steps: what a robot does in one of them stays where it is for
many steps. So a share is held against how much it differs from episode to episode.
"""

import numpy as np
import scipy.special

_FALSE = 0.01  # chance that any of the numbers is held for a misfit and is none
_FEW = 3  # episodes; fewer do not tell how much they differ
_MANY_NUMBERS = 1 / 3  # of all numbers of few episodes may lie outside: up to 0.13 in random walks


def exceeds(outside: np.ndarray, episode: np.ndarray, most: float) -> np.ndarray:
  """Which numbers lie outside more often than `most`, beyond chance.

  Two bounds tell it, and one is enough: Chernoff's, which holds for shares of episodes spread in
  any way, and Student's, where episodes are not too few to tell their spread. Of those that are, it
  is told by all numbers together.

  Args:
    outside: [m, n] bool, of vectors of n numbers.
    episode: [m] int, which one each vector is from.
    most: share that may lie outside.

  Returns:
    [n] bool.
  """
  _, number = np.unique(episode, return_inverse=True)
  steps = np.bincount(number).astype(np.float64)
  counts = np.stack([np.bincount(number, weights=column) for column in outside.T], axis=1)
  share = counts.sum(0) / steps.sum()
  episodes = steps.sum() ** 2 / np.square(steps).sum()  # as many, were they of one length
  each = _FALSE / max(1, outside.shape[1])
  above = np.maximum(share, most)
  gain = scipy.special.rel_entr(above, most) + scipy.special.rel_entr(1 - above, 1 - most)
  found = episodes * gain > -np.log(each)
  if len(steps) < _FEW:
    return found | ((share > most) & (share.mean() > _MANY_NUMBERS))
  missed = counts - share * steps[:, None]
  error = np.sqrt(len(steps) / (len(steps) - 1) * np.square(missed).sum(0)) / steps.sum()
  return found | (share - most > -scipy.special.stdtrit(len(steps) - 1, each) * error)
