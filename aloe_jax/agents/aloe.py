"""ALOE: chunked temporal differences for Q, pessimism for the policy's weights."""

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.models import language


def evaluate(
  critic,
  params,
  observation: types.Observation,
  action: types.Array,
  valid: types.Array,
  *,
  use_language: bool,
) -> jax.Array:
  """Q of one chunk per state: action [B, h, A], valid [B, h] -> [K, B]."""
  prompt = language.bag_of_tokens(observation) if use_language else None
  return critic.apply(params, observation.features, observation.proprio, action, valid, prompt)


def evaluate_samples(
  critic, params, observation: types.Observation, action: types.Array, *, use_language: bool
) -> jax.Array:
  """Q of M sampled chunks per state: action [B, M, h, A] -> [K, M, B]."""
  valid = jnp.ones(action.shape[:1] + action.shape[2:3], bool)

  def one(chunk):
    return evaluate(critic, params, observation, chunk, valid, use_language=use_language)

  return jax.vmap(one, in_axes=1, out_axes=1)(action)


def critic_loss(
  params,
  target_params,
  batch: types.CriticBatch,
  next_action: types.Array,
  *,
  critic,
  settings: agent.Settings,
) -> tuple[jax.Array, agent.Metrics]:
  """Chunked TD, Eqs. (7) and (8).

  Args:
    params: of the ensemble; the gradient is with respect to them.
    target_params: phi^-.
    batch: of B chunks.
    next_action: [B, M, h, A] drawn from the current policy at s_{t+n}; Eq. (7)'s expectation
      is the mean over the M.
    critic: the module.
    settings: numbers of the algorithm.
  """
  use_language = settings.language
  q = evaluate(
    critic, params, batch.observation, batch.action, batch.valid, use_language=use_language
  )
  next_q = evaluate_samples(
    critic, target_params, batch.next_observation, next_action, use_language=use_language
  )
  target = losses.td_target(batch.reward, batch.discount, next_q.mean(1), settings.target)
  loss = losses.ensemble_loss(q, target)
  return loss, {
    'loss': loss,
    'q': q.mean() / settings.reward_scale,
    'target': target.mean() / settings.reward_scale,
    'spread': q.std(axis=0).mean() / settings.reward_scale,
  }


def advantage(
  params, batch: types.ActorBatch, bank_action: types.Array, *, critic, settings: agent.Settings
) -> jax.Array:
  """A(s_t, a_{t:t+h}) = Q_pess - V, Eqs. (9) and (10); [B].

  Args:
    params: of the ensemble.
    batch: of B chunks.
    bank_action: [B, M, h, A] drawn from the current policy at s_t.
    critic: the module.
    settings: numbers of the algorithm.
  """
  use_language = settings.language
  q = evaluate(
    critic, params, batch.observation, batch.action, batch.valid, use_language=use_language
  )
  samples = evaluate_samples(
    critic, params, batch.observation, bank_action, use_language=use_language
  )
  return losses.advantage(losses.pessimistic_q(q), losses.state_value(samples))


def imitates(source: np.ndarray) -> np.ndarray:
  """Every chunk of the buffer, each with its weight (Eq. 12 is over all of D)."""
  return np.ones(len(source), bool)


AGENT = agent.Agent('aloe', 'action', critic_loss, advantage, imitates)
