"""The programs behind a loaded policy, to be compiled: a chunk of the policy, Q of a chunk, V.

All that is fixed comes first, so that `functools.partial` binds it: modules, settings, and the
`structure` of the policy and of the encoder's parameters, whose leaves are `numbers`. Observations
hold images, or features where a simulator gives these.

Legend of shapes: B batch, h horizon, A action width, K members of the ensemble.
"""

from typing import Any

import jax
import jax.numpy as jnp

from aloe_jax import losses
from aloe_jax import policy as policy_lib
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.learning import learner as learner_lib
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.models import flow

Encoder = encoder_lib.Encoder | None
CRITIC = jnp.bfloat16  # what features are rounded to in training


def act(
  encoder: Encoder,
  structure: Any,
  numbers: list[jax.Array],
  observation: types.Observation,
  untagged: types.Observation | None,
  state: types.Array,
  seed: types.Array,
) -> types.Array:
  """Chunks [B, h, A] in the robot's units; see `Policy.act_on`."""
  policy, shown = _seen_by_actor(encoder, structure, numbers, observation, untagged)
  return policy.act_on(*shown, state, jax.random.key(seed))


def act_by_row(
  encoder: Encoder,
  structure: Any,
  numbers: list[jax.Array],
  observation: types.Observation,
  untagged: types.Observation | None,
  state: types.Array,
  seeds: types.Array,
  plan: types.Array | None = None,
  steps: types.Array | None = None,
  delay: types.Array | None = None,
) -> types.Array:
  """What `act` gives of each row alone by its own seed, [B, h, A].

  Args:
    encoder, structure, numbers, observation, untagged, state: as for `act`.
    seeds: [B].
    plan: [B, h, A] what is being carried out meanwhile, in the robot's units, its step 0 being the
      one at which the row was seen; None for fresh chunks.
    steps: [B] of each plan; 0 for a row that has none.
    delay: [B] of these that will have been carried out before the reply is there; those come back
      as they are.
  """
  policy, shown = _seen_by_actor(encoder, structure, numbers, observation, untagged)
  noise = _noise_by_row(policy, seeds, policy.samples)
  if plan is None or steps is None or delay is None:
    return policy.act_from(*shown, state, noise)
  width = policy.actor.action_size - policy.action_size  # numbers that the robot does not have
  weight = flow.agreement(steps, delay, plan.shape[1])[..., None]
  robots = (jnp.arange(policy.actor.action_size) < policy.action_size)[None, None]
  seen = jnp.pad(
    policy.inputs.chunk(jnp.asarray(plan), jnp.asarray(state)), [(0, 0)] * 2 + [(0, width)]
  )
  chunk = policy.act_from(*shown, state, noise, flow.InFlight(seen, weight * robots))
  return jnp.where(jnp.arange(plan.shape[1])[None, :, None] < delay[:, None, None], plan, chunk)


def _noise_by_row(policy: policy_lib.Policy, seeds: types.Array, samples: int) -> jax.Array:
  """What a row alone gets of its seed, as if it were the first of a batch: [B, M, h, A]."""
  first = jnp.zeros(1, jnp.int32)
  return jax.vmap(lambda seed: policy.noise(jax.random.key(seed), first, samples)[0])(seeds)


def _seen_by_actor(
  encoder: Encoder,
  structure: Any,
  numbers: list[jax.Array],
  observation: types.Observation,
  untagged: types.Observation | None,
) -> tuple[policy_lib.Policy, tuple[types.Observation, types.Observation | None]]:
  """The policy, and both observations as it reads them: with features where it sees no images."""
  policy, params = jax.tree.unflatten(structure, numbers)
  if not policy.inputs.image_size:
    observation = _featured(encoder, params, observation, jnp.float32)
    if untagged is not None:
      untagged = _featured(encoder, params, untagged, jnp.float32)
  return policy, (observation, untagged)


def q(
  encoder: Encoder,
  learner: learner_lib.Learner,
  critic: Any,
  encoder_params: Any,
  observation: types.Observation,
  chunk: types.Array,
) -> tuple[jax.Array, jax.Array]:
  """Q of normalised chunks [B, h, A] by each member, [B, K], and as Eq. (9) reads them, [B]."""
  settings, module = learner.settings, learner.networks.critic
  seen = _featured(encoder, encoder_params, observation, CRITIC)
  played, reads_prompt = jnp.ones(chunk.shape[:2], bool), settings.critic_reads_prompt
  members = action_critic.evaluate(module, critic, seen, chunk, played, reads_prompt=reads_prompt)
  members = members / settings.reward_scale
  return members.T, losses.pessimistic_q(members, settings.pessimism)


def v(
  encoder: Encoder,
  learner: learner_lib.Learner,
  structure: Any,
  numbers: list[jax.Array],
  critic: Any,
  encoder_params: Any,
  observation: types.Observation,
  acted_on: types.Observation,
  seed: types.Array,
) -> jax.Array:
  """V of states, [B]: of a critic of actions Eq. (10), over samples of the policy.

  Args:
    encoder, learner, structure, numbers, critic, encoder_params: of the checkpoint.
    observation: what the critic sees.
    acted_on: what the policy sees, whose images may be of another size.
    seed: of the samples.
  """
  settings, module = learner.settings, learner.networks.critic
  seen = _featured(encoder, encoder_params, observation, CRITIC)
  if learner.agent.state_value is not None:
    return learner.agent.state_value(module, critic, seen, settings) / settings.reward_scale
  policy, _ = jax.tree.unflatten(structure, numbers)
  noise = policy.noise(jax.random.key(seed), jnp.arange(len(seen.proprio)), settings.samples)
  return _mean_q(learner, policy, critic, seen, acted_on, noise)


def values_by_row(
  encoder: Encoder,
  learner: learner_lib.Learner,
  structure: Any,
  numbers: list[jax.Array],
  critic: Any,
  encoder_params: Any,
  observation: types.Observation,
  acted_on: types.Observation,
  state: types.Array,
  chunk: types.Array,
  seeds: types.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """What a critic of actions says of chunks [B, h, A] in the robot's units, each row alone.

  Args:
    encoder, learner, structure, numbers, critic, encoder_params, observation, acted_on: as for `v`.
    state: [B, n].
    chunk: that is judged.
    seeds: [B], of the samples behind V.

  Returns:
    Q of Eq. (9), V of Eq. (10), and how far the members of the ensemble lie apart in Q (their
    standard deviation), [B] each, in environment steps.
  """
  settings = learner.settings
  policy, _ = jax.tree.unflatten(structure, numbers)
  normalized = policy.inputs.chunk(jnp.asarray(chunk), jnp.asarray(state))
  members, pessimistic = q(encoder, learner, critic, encoder_params, observation, normalized)
  seen = _featured(encoder, encoder_params, observation, CRITIC)
  noise = _noise_by_row(policy, seeds, settings.samples)
  value = _mean_q(learner, policy, critic, seen, acted_on, noise)
  return pessimistic, value, members.std(axis=1)


def _mean_q(
  learner: learner_lib.Learner,
  policy: policy_lib.Policy,
  critic: Any,
  seen: types.Observation,
  acted_on: types.Observation,
  noise: jax.Array,
) -> jax.Array:
  """V [B] by Eq. (10), of chunks that noise [B, M, h, A] makes."""
  settings, module = learner.settings, learner.networks.critic
  chunks = policy.sample(acted_on.replace(features=seen.features), noise)
  reads_prompt = settings.critic_reads_prompt
  members = action_critic.evaluate_samples(module, critic, seen, chunks, reads_prompt=reads_prompt)
  return losses.state_value(members, settings.pessimism) / settings.reward_scale


def _featured(
  encoder: Encoder, params: Any, observation: types.Observation, dtype: Any
) -> types.Observation:
  """With features of a type in place of the images that they are of, or those that there are."""
  if observation.features is not None:
    return observation.replace(features=observation.features.astype(dtype))
  images, masks = observation.images, observation.image_masks
  features = encoder_lib.encode_cameras(encoder, params, images, masks).astype(dtype)
  return observation.replace(features=features, images=None, image_masks=None)
