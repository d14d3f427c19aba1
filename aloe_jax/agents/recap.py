"""RECAP: the prompt tells whether a chunk's advantage is high, and the policy asks for those.

"π*0.6: a VLA That Learns From Experience" (arXiv:2511.14759). Critic and advantage are AWR's, but
all chunks are imitated alike, under "Advantage: positive" or "Advantage: negative". Of the paper's
two advantages this is the return minus V; the other looks N steps ahead. Where failure is a hazard
of every step, that one rises whenever a careless grasp survives for N steps, and so the threshold
calls careless chunks positive. As with the other algorithms here, each actor phase goes on from
the last one's policy, and the warm start by imitation knows no tags.
"""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.agents import aloe
from aloe_jax.agents import awr


def is_positive(advantage: np.ndarray, source: np.ndarray, settings: agent.Settings) -> np.ndarray:
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


AGENT = agent.Agent('recap', 'state', awr.critic_loss, awr.advantage, aloe.imitates, is_positive)
