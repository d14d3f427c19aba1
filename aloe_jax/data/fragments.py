"""Where fragments begin and end, and the chunks that can be cut out of them.

A fragment is a contiguous run of steps of one episode with no state jump and one end. The
buffer is N rows, the steps of all episodes laid end to end; row t holds s_t, a_t and r_t.
The state that follows an episode's last step is not recorded: a terminal end does not need
it, and after any other end the last *recorded* state is bootstrapped from instead.

Legend of shapes: N rows, B batch, h chunk horizon.
"""

from collections.abc import Iterator
import dataclasses
from typing import NamedTuple

import numpy as np

from aloe_jax import losses
from aloe_jax import rewards
from aloe_jax import types


@dataclasses.dataclass(frozen=True)
class Fragments:
  """The fragment that each row belongs to.

  Attributes:
    first: [N] int64, first row of the fragment.
    last: [N] int64, last row of the fragment.
    terminal: [N] bool, whether the fragment's end is terminal.
    successor: [N] int64, row of the state that follows the fragment's last step, where the
      return goes on there; -1 where it does not, or where that state was not recorded.
  """

  first: np.ndarray
  last: np.ndarray
  terminal: np.ndarray
  successor: np.ndarray

  @property
  def lengths(self) -> np.ndarray:
    """[number of fragments] int64, in steps."""
    first = np.unique(self.first)
    return self.last[first] - first + 1


class Chunks(NamedTuple):
  """Chunked transitions, Eq. (7), as rows of the buffer.

  Attributes:
    action_row: [B, h] int64, rows of a_t .. a_{t+h-1}; past step n the last one repeated.
    valid: [B, h] bool, True on the first n steps.
    steps: [B] int64, n = min(h, steps left in the fragment).
    reward: [B], sum over the valid steps of gamma^k r_{t+k}.
    discount: [B], gamma^n, or 0 where the chunk reaches a terminal end.
    next_row: [B] int64, row of s_{t+n}; the fragment's last row where the discount is 0.
  """

  action_row: np.ndarray
  valid: np.ndarray
  steps: np.ndarray
  reward: np.ndarray
  discount: np.ndarray
  next_row: np.ndarray


def index(
  source: np.ndarray,
  end_reason: np.ndarray,
  is_first: np.ndarray,
  *,
  timeout: str = 'failure',
  takeover: str = 'failure',
) -> Fragments:
  """Finds the fragments of a buffer.

  A fragment ends wherever an end reason is given. A human who hands back to the policy ends
  nothing: Q is about the actions executed, whoever chose them.

  Args:
    source: [N] int, `types.Source`.
    end_reason: [N] int, `types.EndReason`.
    is_first: [N] bool, True on the first step of each episode.
    timeout: see `rewards.is_terminal`.
    takeover: see `rewards.is_terminal`; with 'continue' the step under a takeover bootstraps
      from the first state of the human, though no chunk spans both.

  Returns:
    `Fragments`.

  Raises:
    ValueError: an episode has lost the end of one of its fragments.
  """
  is_last = np.append(is_first[1:], True)
  _check_ends(source, end_reason, is_first, is_last)
  rows = np.arange(len(end_reason))
  ends = np.flatnonzero(end_reason != types.EndReason.NONE)
  last = ends[np.searchsorted(ends, rows)]
  starts_at = np.append(0, ends[:-1] + 1)
  first = starts_at[np.searchsorted(ends, rows)]

  terminal = rewards.is_terminal(end_reason, timeout=timeout, takeover=takeover)
  goes_on = (end_reason == types.EndReason.TAKEOVER) & ~terminal & ~is_last
  successor = np.where(goes_on, rows + 1, -1)
  return Fragments(first, last, terminal[last], successor[last])


def takeovers(source: np.ndarray) -> np.ndarray:
  """[N] bool, True on the last step of the policy before a human acts; `source` is [N] int."""
  found = np.zeros(len(source), bool)
  found[:-1] = (source[:-1] == types.Source.POLICY) & (source[1:] == types.Source.HUMAN)
  return found


def lost_ends(
  source: np.ndarray, end_reason: np.ndarray, is_last: np.ndarray
) -> Iterator[tuple[np.integer, str]]:
  """Finds the steps that should have ended a fragment.

  Args:
    source: [N] int, `types.Source`.
    end_reason: [N] int, `types.EndReason`.
    is_last: [N] bool, True on the last step of each episode.

  Yields:
    The row, and what is wrong with it as the end of a sentence that names it; those that end
    an episode first.
  """
  open_end = end_reason == types.EndReason.NONE
  unended = (
    'is the last of its episode but has end_reason NONE; expected the reason the episode '
    'ended, or CUT if that is not known.'
  )
  for row in np.flatnonzero(is_last & open_end):
    yield row, unended
  unmarked = (
    'is the last of the policy before a human acts, but has end_reason NONE; expected '
    'TAKEOVER, which must be written when the human takes over.'
  )
  for row in np.flatnonzero(takeovers(source) & open_end & ~is_last):
    yield row, unmarked


def starts(fragments: Fragments) -> np.ndarray:
  """Rows that can start a chunk: all but the last row before an unseen state.

  Args:
    fragments: `Fragments`.

  Returns:
    [at most N] int64, ascending.
  """
  return np.flatnonzero(_steps_left(fragments, np.arange(len(fragments.last))) > 0)


def chunk(
  fragments: Fragments, rows: np.ndarray, horizon: int, reward: np.ndarray, discount: float
) -> Chunks:
  """Cuts the chunks that start at some rows.

  No chunk spans two fragments. One that meets the end is shorter: n steps, and a bootstrap
  discounted by gamma^n. That is exact unless n itself tells how noise turned out, as it does
  where failures end chunks; see tests/argument_test.py.

  Args:
    fragments: `Fragments`.
    rows: [B] int, out of `starts`.
    horizon: h.
    reward: [N] float, of every row of the buffer.
    discount: gamma, per step.

  Returns:
    `Chunks`, their rewards and discounts of the type of `reward`.
  """
  steps = np.minimum(horizon, _steps_left(fragments, rows))
  offset = np.arange(horizon)
  valid = offset[None, :] < steps[:, None]
  action_row = rows[:, None] + np.minimum(offset[None, :], steps[:, None] - 1)

  last = fragments.last[rows]
  next_row = rows + steps
  leaves = next_row > last
  ended = leaves & fragments.terminal[rows]
  next_row = np.where(leaves, np.where(ended, last, fragments.successor[rows]), next_row)
  return Chunks(
    action_row=action_row,
    valid=valid,
    steps=steps,
    reward=losses.chunk_return(reward[action_row], valid, discount),
    discount=np.where(ended, 0, discount**steps).astype(reward.dtype),
    next_row=next_row,
  )


def check_horizon(lengths: np.ndarray, horizon: int) -> None:
  """Refuses a chunk that is longer than every fragment.

  Args:
    lengths: [number of fragments] int, in steps.
    horizon: h.

  Raises:
    ValueError: no fragment is `horizon` steps long.
  """
  longest = max(lengths, default=0)
  if longest < horizon:
    raise ValueError(
      f'the longest of {len(lengths)} fragments has {longest} steps, but a chunk has '
      f'{horizon}; expected a fragment at least as long as a chunk. Choose a shorter one '
      f'(--config.task.chunk={longest} of train, --chunk={longest} of `data stats`), or check that '
      'the episodes are recorded at the rate the policy acts at.'
    )


def _steps_left(fragments: Fragments, rows: np.ndarray) -> np.ndarray:
  """[B] int64, the steps from each row on whose next state is recorded or not needed."""
  last = fragments.last[rows]
  whole = fragments.terminal[rows] | (fragments.successor[rows] >= 0)
  return np.where(whole, last + 1, last) - rows


def _check_ends(
  source: np.ndarray, end_reason: np.ndarray, is_first: np.ndarray, is_last: np.ndarray
) -> None:
  """Raises ValueError on the first episode that has lost an end, naming it and its step."""
  if not len(is_first) or not is_first[0]:
    raise ValueError('the buffer does not begin with the first step of an episode.')
  for row, problem in lost_ends(source, end_reason, is_last):
    raise ValueError(f'{_name_step(row, is_first)} {problem}')


def _name_step(row: int, is_first: np.ndarray) -> str:
  """Episode and step of a row, both counted from 0, for a message to a person."""
  episode = np.count_nonzero(is_first[: row + 1]) - 1
  return f'step {row - np.flatnonzero(is_first)[episode]} of episode {episode}'
