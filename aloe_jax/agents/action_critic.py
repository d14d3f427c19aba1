"""What a critic of actions is asked: Q of chunks, of the policy's samples, and the advantage."""

from typing import Any

import jax
import jax.numpy as jnp

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import agent
from aloe_jax.models import prompt_embedding


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


def past_the_end(
  action: types.Array,
  valid: types.Array,
  ended: types.Array,
  policy_action: types.Array,
  *,
  past_end: str,
) -> tuple[jax.Array, jax.Array]:
  """What the critic reads in place of the actions that a terminal end left unplayed.

  Masking them would tell the critic that the end comes: chunks that failed would all be
  short, whole chunks only those that survived, and whole chunks are all that bootstrapping
  and V ask about. A hazard would never reach a whole chunk's value. No action past the end can
  change the return, so any will do that says nothing of it: the policy's own.

  Args:
    action: [B, h, A].
    valid: [B, h] bool, False past the end of the fragment.
    ended: [B] bool, whether that end is terminal. After any other end the mask stays: there
      how short the chunk is does not depend on how it went.
    policy_action: [B, h, A] of the policy at s_t.
    past_end: 'policy' for the above, 'mask' for masking after terminal ends too.

  Returns:
    Action and valid, as the critic takes them.
  """
  if past_end == 'mask':
    return jnp.asarray(action), jnp.asarray(valid)
  unplayed = ended[:, None] & ~valid
  policy_action = policy_action[:, : action.shape[1]]
  return jnp.where(unplayed[..., None], policy_action, action), jnp.asarray(valid | ended[:, None])


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
  action, valid = past_the_end(
    batch.action, batch.valid, batch.ended, policy_action[:, 0], past_end=settings.past_end
  )
  q = evaluate(critic, params, batch.observation, action, valid, reads_prompt=reads_prompt)
  samples = evaluate_samples(
    critic, params, batch.observation, policy_action, reads_prompt=reads_prompt
  )
  pessimism = settings.pessimism
  return losses.advantage(
    losses.pessimistic_q(q, pessimism), losses.state_value(samples, pessimism)
  )
