"""RECAP: the prompt tells whether a chunk's advantage is high, and the policy asks for those.

"π*0.6: a VLA That Learns From Experience" (arXiv:2511.14759). Its value critic is AWR's; the
advantage looks one chunk ahead (N = h = 50 there), and all chunks are imitated alike, under
"Advantage: positive" or "Advantage: negative". As with the other algorithms here, each actor phase
goes on from the last one's policy, and the warm start by imitation knows no tags.
"""

import jax
import numpy as np

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.agents import aloe
from aloe_jax.agents import awr


def advantage(
  params, batch: types.ActorBatch, bank_action: None, *, critic, settings: agent.Settings
) -> jax.Array:
  """Reward of the chunk's n steps + gamma^n V(s_{t+n}) - V(s_t), [B].

  It credits the chunk with what it changed, and not, as a return would, with all that followed.
  """
  del bank_action
  outcome = batch.outcome
  if outcome is None:
    raise ValueError('RECAP judges a chunk by its outcome, which this batch does not hold.')
  value = awr.state_value(critic, params, batch.observation, settings)
  next_value = awr.state_value(critic, params, outcome.next_observation, settings)
  return losses.advantage(outcome.reward + outcome.discount * next_value, value)


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


AGENT = agent.Agent('recap', 'state', awr.critic_loss, advantage, aloe.imitates, is_positive)
