"""Which chunks the actor learns from, and what to say where there is none."""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay


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

  How a fragment would have ended that is cut short is not known; it stays. So does a person's that
  ran out of time: to be too slow is not to do what is wrong, and often there is nobody else to show
  what to do there.
  """
  failed = buffer.fragments.terminal[rows] & ~buffer.succeeded[rows]
  ends = buffer.end_reason[buffer.fragments.last[rows]]
  late = (ends == types.EndReason.TIMEOUT) & (buffer.source[rows] != types.Source.POLICY)
  return rows[~failed | late]
