"""Weights that know how good the critic is: its advantages count as far as they were found true.

Policy improvement that stays close to the data weighs a chunk by exp(Q / beta) over the mean of the
same for the policy's own chunks there (Peters et al., 2010; Abdolmaleki et al., 2018). Eq. (11) has
V, the mean of Q, in place of the second, so that states at which chunks differ much count more than
others. Here each state counts the same. The temperature grows as less of the advantage is believed.

Legend of shapes: R chunks, M samples of the policy, h horizon, A action width.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay as replay_lib
from aloe_jax.learning import chunk_weights
from aloe_jax.learning import learner as learner_lib

_LEAST = 1e-6  # share of an advantage: nothing of it is left, and nothing divided by zero
COPIES = 4  # of a chunk of weight one, where chunks are drawn by weight


@dataclasses.dataclass(frozen=True)
class Judged:
  """What a critic of actions says of R chunks, in scaled rewards.

  Attributes:
    row: [R] of the buffer, at which each starts, ascending.
    advantage: [R] Q - V of each.
    sampled: [R, M] the same of the policy's own samples at its state.
    v: [R] value of its state, Eq. (10).
    returns: [R] discounted return from its state to the fragment's end.
  """

  row: np.ndarray
  advantage: np.ndarray
  sampled: np.ndarray
  v: np.ndarray
  returns: np.ndarray

  def at(self, rows: np.ndarray) -> 'Judged':
    """Of some of its rows."""
    place = np.searchsorted(self.row, rows)
    fields = {field.name: getattr(self, field.name)[place] for field in dataclasses.fields(self)}
    return Judged(**fields)


def judge(
  learner: learner_lib.Learner,
  critic_params: Any,
  replay: replay_lib.Replay,
  rows: np.ndarray,
  policy_actions: Callable[[np.ndarray], types.Array],
  *,
  batch_size: int,
  progress: Callable[[int], None],
) -> Judged:
  """Has a critic of actions judge the chunks that start at some rows.

  Args:
    learner: of the critic.
    critic_params: of the critic.
    replay: the buffer.
    rows: [R] of `replay.starts`, ascending.
    policy_actions: rows [B] to actions [B, M, h, A] of the policy that enters the actor phase.
    batch_size: chunks per call.
    progress: told the chunks done so far.
  """
  parts = []
  for start in range(0, len(rows), batch_size):
    # The last batch is filled up with the last row, so that one program serves them all.
    chosen = rows[np.minimum(np.arange(start, start + batch_size), len(rows) - 1)]
    batch = replay.actor_batch(chosen)
    found = _judged(learner, critic_params, batch, policy_actions(chosen))
    count = min(batch_size, len(rows) - start)
    parts.append([np.asarray(x)[:count] for x in (*found, batch.returns)])
    progress(start + count)
  return Judged(rows, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def weigh(judged: Judged, settings: Any, trust: float, rows: int) -> chunk_weights.Weights:
  """Weights of chunks by as much of their advantage as is believed.

  Args:
    judged: the chunks.
    settings: `agent.Settings`: `beta`, `beta_unit`, `clip`, `reward_scale`.
    trust: share of the advantage, 0 to 1. At 0 all weigh the same.
    rows: N, of the buffer.
  """
  unit = learner_lib.advantage_unit(judged.advantage, settings) / max(trust, _LEAST)
  over = judged.advantage / unit - losses.soft_value(judged.sampled / unit, settings.beta)
  weight = learner_lib.relative_weights(over, settings)
  found = np.zeros((3, rows), np.float32)
  found[:, judged.row] = weight, judged.advantage, over / settings.beta
  return chunk_weights.Weights(found[0], found[1], judged.row, exponent=found[2])


def draw(rows: np.ndarray, weight: np.ndarray, seed: int) -> np.ndarray:
  """Each row as often as its weight says, `COPIES` times on average.

  A batch of rows so drawn has as many different ones as it is large. In a batch whose loss is
  weighted few rows do most, and the others make noise. What is left over of a whole number decides
  by chance, with one random number for all rows (systematic resampling, Kitagawa, 1996).

  Args:
    rows: [R].
    weight: [R], of mean one.
    seed: of the random number.

  Returns:
    [COPIES * R], ascending where `rows` are.
  """
  total = COPIES * len(rows)
  ends = np.cumsum(weight, dtype=np.float64)
  ends *= total / ends[-1]
  upto = np.floor(ends + np.random.default_rng(seed).uniform()).astype(np.int64).clip(max=total)
  upto[-1] = total
  return np.repeat(rows, np.diff(upto, prepend=0))


@functools.partial(jax.jit, static_argnums=0)
def _judged(
  learner: learner_lib.Learner, params: Any, batch: types.ActorBatch, policy_action: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Advantage [B], that of the samples [B, M], and V [B]."""
  critic, settings = learner.networks.critic, learner.settings
  reads_prompt, pessimism = settings.critic_reads_prompt, settings.pessimism
  action, valid = action_critic.read(batch, policy_action, settings)
  seen = batch.observation
  q = action_critic.evaluate(critic, params, seen, action, valid, reads_prompt=reads_prompt)
  samples = action_critic.evaluate_samples(
    critic, params, seen, policy_action, reads_prompt=reads_prompt
  )
  v = losses.state_value(samples, pessimism)
  sampled = losses.pessimistic_q(samples, pessimism) - v[None]
  return losses.advantage(losses.pessimistic_q(q, pessimism), v), jnp.transpose(sampled), v
