"""Between which returns the critic of a run tells values apart, where that critic is of states.

Its values are a distribution over bins that end somewhere. Returns of Eq. (14)'s rewards end there
too; returns of recorded rewards (`data.mapping.reward`) may be anywhere, and the bins follow them.
They do not move under a critic that is not trained again: what it learnt is about those it knew.
"""

from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay

Range = tuple[float, float]  # lowest and highest, in scaled rewards
WANTED = 'episodes to begin with, config.data.episodes, that hold the highest and lowest'


def find(buffer: replay.Replay, agent: agent_lib.Agent, kept: Range, *, learns: bool) -> Range:
  """The range for the returns of a buffer.

  Args:
    buffer: what the run begins with.
    agent: of the run.
    kept: of the critic that the run goes on with.
    learns: whether critic updates come before anything that this critic says is used.

  Raises:
    ValueError: the critic learns no more, and its values do not reach far enough.
  """
  if not learns:
    check(buffer, agent, kept, 'critic updates before chunks are weighed')
  return buffer.return_range(kept)


def check(buffer: replay.Replay, agent: agent_lib.Agent, reached: Range, expected: str) -> None:
  """Refuses returns that a critic of states would take for the nearest that its values reach.

  Args:
    buffer: the episodes.
    agent: of the critic.
    reached: what its values reach.
    expected: what would be right, in words.

  Raises:
    ValueError: naming the field, both ranges in the rewards' own units, and what to do.
  """
  found = buffer.return_range(reached)
  if agent.critic != 'state' or found == reached:
    return
  scale = buffer.chunking.reward_scale
  (low, high), (least, most) = ([x / scale for x in pair] for pair in (found, reached))
  raise ValueError(
    f'config.data.mapping.reward is trusted, and returns of the episodes lie between {low:.4g} '
    f'and {high:.4g}, but values of the critic of {agent.name!r} between {least:.4g} and '
    f"{most:.4g} only; expected {expected}, or an agent whose critic has no bounds, such as 'aloe'."
  )
