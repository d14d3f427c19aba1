"""The programs behind a loaded policy, to be compiled: a chunk of the policy, Q of a chunk, V.

All that is fixed comes first, so that `functools.partial` binds it: modules, settings, and the
`structure` of the policy and of the encoder's parameters, whose leaves are `numbers`. Observations
hold images and no features.

Legend of shapes: B batch, h horizon, A action width, K members of the ensemble.
"""

from typing import Any

import jax
import jax.numpy as jnp

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.learning import learner as learner_lib
from aloe_jax.models import encoder as encoder_lib

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
  policy, encoder_params = jax.tree.unflatten(structure, numbers)
  if not policy.inputs.image_size:  # the actor reads features of the images
    observation = _featured(encoder, encoder_params, observation, jnp.float32)
    if untagged is not None:
      untagged = _featured(encoder, encoder_params, untagged, jnp.float32)
  return policy.act_on(observation, untagged, state, jax.random.key(seed))


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
  chunks = policy.sample(acted_on.replace(features=seen.features), noise)
  reads_prompt = settings.critic_reads_prompt
  members = action_critic.evaluate_samples(module, critic, seen, chunks, reads_prompt=reads_prompt)
  return losses.state_value(members, settings.pessimism) / settings.reward_scale


def _featured(
  encoder: Encoder, params: Any, observation: types.Observation, dtype: Any
) -> types.Observation:
  """With features of a type in place of the images that they are of."""
  images, masks = observation.images, observation.image_masks
  features = encoder_lib.encode_cameras(encoder, params, images, masks).astype(dtype)
  return observation.replace(features=features, images=None, image_masks=None)
