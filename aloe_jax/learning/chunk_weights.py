"""Advantages of the whole buffer, once per actor phase, and the weights or tags they give."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.data import replay as replay_lib
from aloe_jax.learning import learner as learner_lib


@dataclasses.dataclass(frozen=True)
class Weights:
  """What one sweep over the buffer found.

  Attributes:
    weight: [N] w of each row's chunk, of mean one over `rows`; 0 elsewhere.
    advantage: [N] A of each row's chunk, in scaled rewards; 0 elsewhere.
    rows: [R] rows that were weighed.
    tag: [N] int8, `types.Tag` of each row's chunk, where the agent tags chunks, which then weigh
      the same; None where it weighs them.
    exponent: [N] of each row's weight before it is clipped; None for that of Eq. (11).
  """

  weight: np.ndarray
  advantage: np.ndarray
  rows: np.ndarray
  tag: np.ndarray | None = None
  exponent: np.ndarray | None = None


def sweep(
  learner: learner_lib.Learner,
  critic_params: Any,
  replay: replay_lib.Replay,
  rows: np.ndarray,
  policy_actions: Callable[[np.ndarray], types.Array] | None,
  *,
  batch_size: int,
  progress: Callable[[int], None],
) -> Weights:
  """Weighs or tags the chunks that start at some rows.

  Args:
    learner: whose agent has an advantage.
    critic_params: of the critic that judges.
    replay: the buffer.
    rows: [R] rows of `replay.starts`.
    policy_actions: rows [B] to actions [B, M, h, A] of the policy that enters the actor phase;
      None where the agent needs none.
    batch_size: chunks per call.
    progress: told the chunks done so far.
  """
  advantage = np.zeros(len(replay), np.float32)
  for start in range(0, len(rows), batch_size):
    # The last batch is filled up with the last row, so that one program serves them all.
    chosen = rows[np.minimum(np.arange(start, start + batch_size), len(rows) - 1)]
    policy_action = None if policy_actions is None else policy_actions(chosen)
    batch = replay.actor_batch(chosen)
    advantage[chosen] = _advantage(learner, critic_params, batch, policy_action)
    progress(min(start + batch_size, len(rows)))
  return weigh(learner, replay, rows, advantage)


def weigh(
  learner: learner_lib.Learner, replay: replay_lib.Replay, rows: np.ndarray, advantage: np.ndarray
) -> Weights:
  """Weighs or tags the chunks that start at rows [R], whose advantage [N] is known."""
  weight = np.zeros(len(replay), np.float32)
  if learner.agent.is_positive is None:
    weight[rows] = learner_lib.advantage_weights(jnp.asarray(advantage[rows]), learner.settings)
    return Weights(weight, advantage, rows)
  weight[rows] = 1
  tag = np.full(len(replay), types.Tag.NONE, np.int8)
  positive = learner.agent.is_positive(advantage[rows], replay.source[rows], learner.settings)
  tag[rows] = np.where(positive, types.Tag.POSITIVE, types.Tag.NEGATIVE)
  return Weights(weight, advantage, rows, tag)


def effective_sample_size(weight: np.ndarray) -> float:
  """(sum w)^2 / (R sum w^2), the share of the buffer that the weights leave, for weight [R]."""
  return float(np.square(weight.sum()) / (len(weight) * np.square(weight).sum()))


def diagnostics(weights: Weights, replay: replay_lib.Replay, settings: Any) -> dict[str, float]:
  """Whether the weights, or the tags, say anything, and about whose data.

  Args:
    weights: of the buffer.
    replay: the buffer.
    settings: `agent.Settings` they were made with.

  Returns:
    Mean and standard deviation of the advantage in environment steps; and effective sample size,
    shares of weights at either clip and the mean weight of each source, or the positive share of
    each source where chunks are tagged.
  """
  weight, advantage = weights.weight[weights.rows], weights.advantage[weights.rows]
  numbers = {
    'advantage_std': float(advantage.std() / settings.reward_scale),
    'advantage_mean': float(advantage.mean() / settings.reward_scale),
  }
  if weights.tag is None:
    if weights.exponent is not None:
      exponent = weights.exponent[weights.rows]
    else:
      unit = max(advantage.std(), 1e-6) if settings.beta_unit == 'sigma' else settings.reward_scale
      exponent = advantage / unit / settings.beta
    numbers['effective_sample_size'] = effective_sample_size(weight)
    numbers['clipped_high'] = float((exponent > settings.clip).mean())
    numbers['clipped_low'] = float((exponent < -settings.clip).mean())
    told, what = weight, 'weight'
  else:
    told, what = weights.tag[weights.rows] == types.Tag.POSITIVE, 'positive'
  source = replay.source[weights.rows]
  for kind in types.Source:
    if (source == kind).any():
      numbers[f'{what}_{kind.name.lower()}'] = float(told[source == kind].mean())
  return numbers


@functools.partial(jax.jit, static_argnums=0)
def _advantage(
  learner: learner_lib.Learner,
  params: Any,
  batch: types.ActorBatch,
  policy_action: jax.Array | None,
) -> jax.Array:
  judge = learner.agent.advantage
  if judge is None:
    raise ValueError(f'{learner.agent.name} has no advantage: all its chunks weigh the same.')
  return judge(
    params, batch, policy_action, critic=learner.networks.critic, settings=learner.settings
  )
