"""What a critic of actions is asked: Q of chunks, of the policy's samples, and the advantage."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.models import prompt_embedding

# Where nobody sets one: between the two that were tried on tuning seeds
# (docs/measured_weights.md); the paper's.
BETA = {'measured': 0.2, 'paper': 1.0}


def is_measured(algorithm: agent.Agent, config: ml_collections.ConfigDict) -> bool:
  """Whether chunks weigh as far as the critic was found right: `actor.rule`, for Eq. (10)'s A."""
  return config.actor.rule == 'measured' and algorithm.advantage is advantage


def beta(algorithm: agent.Agent, config: ml_collections.ConfigDict) -> float:
  """Temperature of the weights: `actor.beta`, or where it is 0 that of the agent's rule."""
  return config.actor.beta or BETA['measured' if is_measured(algorithm, config) else 'paper']


def evaluate(
  critic: Any,
  params: Any,
  observation: types.Observation,
  action: types.Array,
  valid: types.Array,
  *,
  reads_prompt: bool,
) -> jax.Array:
  """Q of one chunk per state: action [B, h, A], valid [B, h] -> [K, B]."""
  prompt = prompt_embedding.bag_of_tokens(observation) if reads_prompt else None
  return critic.apply(params, observation.features, observation.proprio, action, valid, prompt)


def evaluate_samples(
  critic: Any,
  params: Any,
  observation: types.Observation,
  action: types.Array,
  *,
  reads_prompt: bool,
) -> jax.Array:
  """Q of M sampled chunks per state: action [B, M, h, A] -> [K, M, B]."""
  valid = jnp.ones(action.shape[:1] + action.shape[2:3], bool)

  def one(chunk: jax.Array) -> jax.Array:
    return evaluate(critic, params, observation, chunk, valid, reads_prompt=reads_prompt)

  return jax.vmap(one, in_axes=1, out_axes=1)(action)


def advantage_between(
  critic: Any, params: Any, between: types.Between, settings: agent.Settings
) -> jax.Array:
  """Advantage of the chunks that were played between, each network's own; [K, B, C].

  Args:
    critic: the module.
    params: of the ensemble.
    between: C chunks a row.
    settings: numbers of the algorithm.
  """
  reads_prompt = settings.critic_reads_prompt

  def one(chunk: types.Between) -> jax.Array:
    action, valid = read(chunk, chunk.policy_action, settings)
    seen = chunk.observation
    q = evaluate(critic, params, seen, action, valid, reads_prompt=reads_prompt)
    samples = evaluate_samples(critic, params, seen, chunk.policy_action, reads_prompt=reads_prompt)
    return q - samples.mean(axis=1)

  return jax.vmap(one, in_axes=1, out_axes=2)(between)


def read(
  batch: types.CriticBatch | types.ActorBatch | types.Between,
  policy_action: types.Array | None,
  settings: agent.Settings,
) -> tuple[jax.Array, jax.Array]:
  """Action [B, h, A] and valid [B, h] of the chunks of a batch, as the critic takes them.

  What a terminal end left unplayed is filled up. Masking it would tell the critic that the end
  comes: chunks that failed would all be short, whole chunks only those that survived, and whole
  chunks are all that bootstrapping and V ask about. A hazard would never reach a whole chunk's
  value. No action past the end can change the return, so any will do that says nothing of it. After
  any other end the mask stays: there how short a chunk is does not depend on how it went.

  Args:
    batch: of B chunks.
    policy_action: [B, M, h, A] of the policy at s_t; needed where `past_end` is 'policy'.
    settings: whose `past_end` says what chunks are filled up with: 'executed', the batch's
      `unplayed`; 'policy', the policy's own plan, which can be told from what is executed; 'mask',
      nothing.

  Raises:
    ValueError: the batch has no such actions.
  """
  action, valid = jnp.asarray(batch.action), jnp.asarray(batch.valid)
  if settings.past_end == 'mask':
    return action, valid
  continuation = batch.unplayed
  if settings.past_end == 'policy':
    continuation = None if policy_action is None else policy_action[:, 0]
  if continuation is None:
    raise ValueError(
      f'critic.past_end is {settings.past_end!r}, but the batch has nothing to fill ended chunks '
      'up with; expected `unplayed`, from a replay whose `continue_ended` was called, or for '
      "'policy' actions of the policy."
    )
  # An actor's chunk may be longer than what its critic reads.
  steps = min(continuation.shape[1], action.shape[1])
  action, valid = action[:, :steps], valid[:, :steps]
  unplayed = jnp.asarray(batch.ended)[:, None] & ~valid
  return jnp.where(unplayed[..., None], continuation[:, :steps], action), valid | unplayed


def advantage(
  params: Any,
  batch: types.ActorBatch,
  policy_action: types.Array,
  *,
  critic: Any,
  settings: agent.Settings,
) -> jax.Array:
  """A(s_t, a_{t:t+h}) = Q_pess - V, Eqs. (9) and (10); [B].

  Args:
    params: of the ensemble.
    batch: of B chunks.
    policy_action: [B, M, h, A] drawn from the current policy at s_t.
    critic: the module.
    settings: numbers of the algorithm.
  """
  reads_prompt = settings.critic_reads_prompt
  action, valid = read(batch, policy_action, settings)
  q = evaluate(critic, params, batch.observation, action, valid, reads_prompt=reads_prompt)
  samples = evaluate_samples(
    critic, params, batch.observation, policy_action, reads_prompt=reads_prompt
  )
  pessimism = settings.pessimism
  return losses.advantage(
    losses.pessimistic_q(q, pessimism), losses.state_value(samples, pessimism)
  )
