"""AWR: a distributional V(s) of Monte-Carlo returns, weights from return - V (App. C.3)."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import ml_collections

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.models import prompt_embedding


@dataclasses.dataclass(frozen=True)
class Settings(agent.Settings):
  """Beside those of all agents: how many values the distribution tells apart.

  Attributes:
    value_bins: evenly spaced over `return_range`, both ends included.
  """

  value_bins: Annotated[int, 'critic.bins']


def _logits(
  critic: Any, params: Any, observation: types.Observation, settings: Settings
) -> jax.Array:
  prompt = prompt_embedding.bag_of_tokens(observation) if settings.critic_reads_prompt else None
  return critic.apply(params, observation.features, observation.proprio, prompt)


def _support(settings: Settings) -> jax.Array:
  return losses.categorical_support(*settings.return_range, settings.value_bins)


def state_value(
  critic: Any, params: Any, observation: types.Observation, settings: Settings
) -> jax.Array:
  """V(s), [B], in scaled rewards."""
  logits = _logits(critic, params, observation, settings)
  return losses.categorical_value(logits, _support(settings))


def critic_loss(
  params: Any,
  target_params: Any,
  batch: types.CriticBatch,
  *,
  critic: Any,
  settings: Settings,
) -> tuple[jax.Array, agent.Metrics]:
  """Cross-entropy to the discretised Monte-Carlo return; no bootstrap, no target network."""
  del target_params
  support = _support(settings)
  logits = _logits(critic, params, batch.observation, settings)
  loss = losses.categorical_cross_entropy(logits, losses.categorical_target(batch.returns, support))
  value = losses.categorical_value(logits, support)
  return loss, {
    'loss': loss,
    'value': value.mean() / settings.reward_scale,
    'returns': batch.returns.mean() / settings.reward_scale,
    'error': jnp.abs(value - batch.returns).mean() / settings.reward_scale,
  }


def advantage(
  params: Any, batch: types.ActorBatch, policy_action: None, *, critic: Any, settings: Settings
) -> jax.Array:
  """Monte-Carlo return minus V(s_t), [B]: one number for all chunks of equal outcome."""
  del policy_action
  return losses.advantage(batch.returns, state_value(critic, params, batch.observation, settings))


def check(config: ml_collections.ConfigDict) -> None:
  """Refuses a distribution over a single value.

  Raises:
    ValueError: naming the field, what was found and what was expected.
  """
  if config.critic.bins < 2:
    raise ValueError(
      f'config.critic.bins is {config.critic.bins}, of which {config.agent!r} makes a distribution '
      'over values; expected 2 or more.'
    )


AGENT = agent.Agent(
  'awr',
  agent.every_chunk,
  critic='state',
  critic_loss=critic_loss,
  state_value=state_value,
  advantage=advantage,
  settings=Settings,
  check=check,
)
