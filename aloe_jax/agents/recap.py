"""RECAP: the prompt tells whether a chunk's advantage is high, and the policy asks for those.

"π*0.6: a VLA That Learns From Experience" (arXiv:2511.14759). Critic and advantage are AWR's, but
all chunks are imitated alike, under "Advantage: positive" or "Advantage: negative". Of the paper's
two advantages this is the return minus V; the other looks N steps ahead. Where failure is a hazard
of every step, that one rises whenever a careless grasp survives for N steps, and so the threshold
calls careless chunks positive. As with the other algorithms here, each actor phase goes on from
the last one's policy, and the warm start by imitation knows no tags.
"""

import dataclasses
from typing import Annotated

import ml_collections
import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.agents import awr


@dataclasses.dataclass(frozen=True)
class Settings(awr.Settings):
  """Beside AWR's: where the threshold lies.

  Attributes:
    positive: share of the policy's chunks that are tagged as positive.
  """

  positive: Annotated[float, 'recap.positive']


def is_positive(advantage: np.ndarray, source: np.ndarray, settings: Settings) -> np.ndarray:
  """Which chunks [R] bool are tagged as positive.

  The threshold is where the stated share of the policy's own chunks lies above it; demonstrations
  are held against it too, and what a human did at a take-over is always positive.

  Args:
    advantage: [R].
    source: [R] int8, `types.Source`.
    settings: `positive`.
  """
  own = advantage[source == types.Source.POLICY]
  threshold = np.quantile(own if own.size else advantage, 1 - settings.positive)
  return (advantage > threshold) | (source == types.Source.HUMAN)


def check(config: ml_collections.ConfigDict) -> None:
  """Refuses shares and scales of tags that cannot be.

  Raises:
    ValueError: naming the field, what was found and what was expected.
  """
  awr.check(config)
  recap = config.recap
  if not 0 < recap.positive < 1:
    raise ValueError(f'config.recap.positive is {recap.positive}; expected between 0 and 1.')
  if not 0 <= recap.drop < 1:
    raise ValueError(f'config.recap.drop is {recap.drop}; expected 0 or more and less than 1.')
  if recap.guidance < 0:
    raise ValueError(f'config.recap.guidance is {recap.guidance}; expected 0 or more.')
  if recap.guidance != 1 and recap.drop == 0:
    raise ValueError(
      f'config.recap.guidance is {recap.guidance}, which needs an actor that can do without a '
      'tag, but config.recap.drop is 0; expected a drop above 0, or guidance=1.'
    )


AGENT = agent.Agent(
  'recap',
  agent.every_chunk,
  critic='state',
  critic_loss=awr.critic_loss,
  state_value=awr.state_value,
  advantage=awr.advantage,
  is_positive=is_positive,
  settings=Settings,
  check=check,
)
