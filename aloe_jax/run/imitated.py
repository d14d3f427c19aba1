"""Which chunks the actor learns from, and what to say where there is none."""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay

RISE = 0.1  # of a step's cost a step: where nothing is wasted V rises by all of it


def rows(
  agent: agent_lib.Agent, buffer: replay.Replay, iteration: int, *, failures: bool = True
) -> np.ndarray:
  """Rows [R] of the chunks that an agent imitates, of those that there are.

  Where the robot held, nobody chose what it was sent: no chunk with such a step is imitated.

  Args:
    agent: the algorithm.
    buffer: of the iteration.
    iteration: of the run.
    failures: whether chunks of failures are among them, see `without_failures`.

  Raises:
    ValueError: it imitates none of them; says what there is.
  """
  starts = buffer.starts
  source, succeeded = buffer.source[starts], buffer.succeeded[starts]
  imitates = agent.imitates(source, succeeded)
  chosen = starts[imitates & ~buffer.holds[starts]]
  chosen = chosen if failures else without_failures(buffer, chosen)
  if len(chosen):
    return chosen
  held = buffer.holds[starts].sum()
  there = [f'{held} in which the robot held'] * bool(held) + [
    f'{own.sum()} of {kind.name.lower()}, {(own & succeeded).sum()} in a success'
    for kind in types.Source
    if (own := source == kind).any()
  ]
  raise ValueError(
    f'{agent.name!r} imitates none of the chunks that iteration {iteration} has: '
    f'{"; ".join(there)}. Expected at least one. Give episodes that it imitates, such as '
    "demonstrations that say they succeeded, or another agent: 'filtered_policy_bc' takes "
    'whatever humans did, and agents with a critic imitate failures too where '
    "config.actor.rule is 'paper'."
  )


def without_failures(buffer: replay.Replay, rows: np.ndarray) -> np.ndarray:
  """Rows [R] but for those of fragments that ended in a failure.

  How a fragment would have ended that is cut short is not known; it stays. So does, until a critic
  has seen it, a person's that ran out of time; see `without_idle`.
  """
  return rows[~_failed(buffer, rows) | _is_late(buffer, rows)]


def count_late(buffer: replay.Replay, rows: np.ndarray) -> int:
  """Fragments of the rows [R] in which a person ran out of time."""
  return len(np.unique(buffer.fragments.last[rows[_is_late(buffer, rows)]]))


def without_idle(buffer: replay.Replay, rows: np.ndarray, v: np.ndarray) -> np.ndarray:
  """Rows [R] but for those of people who ran out of time and came no closer to success.

  To be too slow is not to do what is wrong, and often nobody else shows what to do there. The
  critic tells who was on the way: from the first chunk of the fragment to its last V rose by more
  than `RISE` of what a step costs, a step. Where recorded rewards say that a step costs nothing, it
  rose at all. A fragment of a single chunk did not rise.

  Args:
    buffer: of the iteration.
    rows: [R], ascending.
    v: [R] value of their states, in scaled rewards.
  """
  last, late = buffer.fragments.last[rows], _is_late(buffer, rows)
  stays = ~late
  for end in np.unique(last[late]):
    own = np.flatnonzero(last == end)
    steps, rise = rows[own[-1]] - rows[own[0]], v[own[-1]] - v[own[0]]
    stays[own] = rise > RISE * steps * buffer.step_cost
  return rows[stays]


def _is_late(buffer: replay.Replay, rows: np.ndarray) -> np.ndarray:
  """Which of the rows [R] are of fragments in which a person ran out of time, as a failure."""
  ends = buffer.end_reason[buffer.fragments.last[rows]]
  of_people = buffer.source[rows] != types.Source.POLICY
  return _failed(buffer, rows) & of_people & (ends == types.EndReason.TIMEOUT)


def _failed(buffer: replay.Replay, rows: np.ndarray) -> np.ndarray:
  return buffer.fragments.terminal[rows] & ~buffer.succeeded[rows]
