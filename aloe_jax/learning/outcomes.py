"""What came of a chunk: over n steps, beyond what its state was worth.

Legend of shapes: R chunks.
"""

import numpy as np

SPAN = 2  # chunks: what a chunk does shows by then, and later luck does not yet hide it


def steps(horizon: int, execute: int) -> int:
  """n: `SPAN` chunks of h steps, up to where a chunk is planned, every e steps."""
  return -(-SPAN * horizon // execute) * execute


def realised(
  row: np.ndarray,
  left: np.ndarray,
  terminal: np.ndarray,
  returns: np.ndarray,
  v: np.ndarray,
  *,
  after: int,
  discount: float,
) -> np.ndarray:
  """What came of each chunk over n steps, beyond V of its state.

  Args:
    row: [R] of the buffer, at which each starts, ascending.
    left: [R] steps until its fragment's last; 0 there.
    terminal: [R] bool, whether that end is terminal.
    returns: [R] discounted return from its state to the fragment's end.
    v: [R] value of its state, in the unit of `returns`.
    after: n.
    discount: gamma.

  Returns:
    [R]: rewards of n steps and gamma^n V of the state that they led to, less V; the return less V
    where the fragment ended for good before. NaN where neither is known.
  """
  following = np.searchsorted(row, row + after).clip(max=len(row) - 1)
  found = (row[following] == row + after) & (left >= after)
  whole = terminal & (left < after)
  gained = v[following] - returns[following]
  outcome = np.where(found, returns + discount**after * gained, returns)
  return np.where(found | whole, outcome - v, np.nan)
