"""ALOE: chunked temporal differences for Q, pessimism for the policy's weights."""

from typing import Any

import jax
import jax.numpy as jnp

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.agents import agent


def critic_loss(
  params: Any,
  target_params: Any,
  batch: types.CriticBatch,
  *,
  critic: Any,
  settings: agent.Settings,
) -> tuple[jax.Array, agent.Metrics]:
  """Chunked TD, Eqs. (7) and (8); or regression to Monte-Carlo returns, to compare it with.

  Where the batch has chunks between, the target spans them too, less their advantages.

  Args:
    params: of the ensemble; the gradient is with respect to them.
    target_params: phi^-.
    batch: of B chunks, its `next_action` and `policy_action` given. Eq. (7)'s expectation is
      the mean over the M next actions.
    critic: the module.
    settings: numbers of the algorithm.
  """
  reads_prompt = settings.critic_reads_prompt
  action, valid = action_critic.read(batch, batch.policy_action, settings)
  q = action_critic.evaluate(
    critic, params, batch.observation, action, valid, reads_prompt=reads_prompt
  )
  if settings.backup == 'monte_carlo':
    target = jnp.broadcast_to(batch.returns, q.shape)
  else:
    next_q = action_critic.evaluate_samples(
      critic, target_params, batch.next_observation, batch.next_action, reads_prompt=reads_prompt
    )
    next_q = next_q.mean(1)
    if batch.between is None:
      target = losses.td_target(batch.reward, batch.discount, next_q, settings.target)
    else:
      target = losses.corrected_target(
        batch.reward,
        batch.discount,
        next_q,
        action_critic.advantage_between(critic, target_params, batch.between, settings),
        batch.between.discount,
        settings.target,
      )
  loss = losses.ensemble_loss(q, target)
  return loss, {
    'loss': loss,
    'q': q.mean() / settings.reward_scale,
    'target': target.mean() / settings.reward_scale,
    'spread': q.std(axis=0).mean() / settings.reward_scale,
  }


AGENT = agent.Agent(
  'aloe',
  agent.every_chunk,
  critic='action',
  critic_loss=critic_loss,
  advantage=action_critic.advantage,
)
