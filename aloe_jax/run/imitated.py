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
    failures: whether chunks of fragments that ended in a failure are among them. How a chunk ended
      that is cut short is not known; it stays.

  Raises:
    ValueError: it imitates none of them; says what there is.
  """
  starts = buffer.starts
  source, succeeded = buffer.source[starts], buffer.succeeded[starts]
  imitates = agent.imitates(source, succeeded)
  if not failures:
    imitates &= succeeded | ~buffer.fragments.terminal[starts]
  chosen = starts[imitates & ~buffer.holds[starts]]
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
