"""What a critic says of chunks that were executed, beside what came of them.

Legend of shapes: R chunks, S states at which the policy was asked, K critics, M samples, h horizon.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay as replay_lib
from aloe_jax.learning import learner as learner_lib


@dataclasses.dataclass(frozen=True)
class Judgement:
  """R chunks, in the order of the buffer; all values are in environment steps.

  Attributes:
    row: [R] of the buffer, at which each starts.
    first: [R] row at which its fragment starts.
    left: [R] steps until its fragment's last; 0 there.
    source: [R] `types.Source`.
    end: [R] `types.EndReason` of its fragment.
    terminal: [R] bool, whether that end is terminal, so that `returns` miss nothing.
    returns: [R] discounted return from its state to the fragment's end.
    score: [R] what the critic says of it: pessimistic Q (Eq. 9), or V where it is of states.
    advantage: [R] as the agent defines it.
    v: [R] value of its state; of an action critic that of Eq. (10), over samples of the policy.
    q: [K, R] of the chunk; None where the critic is of states.
    sampled_q: [K, R] mean over the policy's samples at its state; None likewise.
    td_error: [R] target of Eq. (7), by the critic itself, less `q`, means over the ensemble and
      the samples; None likewise.
  """

  row: np.ndarray
  first: np.ndarray
  left: np.ndarray
  source: np.ndarray
  end: np.ndarray
  terminal: np.ndarray
  returns: np.ndarray
  score: np.ndarray
  advantage: np.ndarray
  v: np.ndarray
  q: np.ndarray | None = None
  sampled_q: np.ndarray | None = None
  td_error: np.ndarray | None = None

  @property
  def age(self) -> np.ndarray:
    """[R] steps since the fragment began."""
    return self.row - self.first


def planned(replay: replay_lib.Replay, execute: int) -> np.ndarray:
  """Rows at which a policy that executes e steps of a chunk plans the next one, [R] ascending."""
  age = replay.starts - replay.fragments.first[replay.starts]
  return replay.starts[age % execute == 0]


def states(replay: replay_lib.Replay, rows: np.ndarray) -> np.ndarray:
  """Rows [S] at which the policy's actions are needed to judge the chunks that start at `rows`."""
  chunk = replay.transitions(rows)
  return np.union1d(rows, chunk.next_row[chunk.discount > 0])


def judge(
  learner: learner_lib.Learner,
  critic_params: Any,
  replay: replay_lib.Replay,
  rows: np.ndarray,
  actions: np.ndarray | None,
  *,
  batch_size: int,
  progress: Callable[[int], None],
) -> Judgement:
  """Has a critic judge the chunks that start at some rows.

  Args:
    learner: of the critic, whose agent has an advantage.
    critic_params: of the critic.
    replay: the buffer.
    rows: [R] ascending, out of `replay.starts`.
    actions: [S, M, h, A] of the policy at `states(replay, rows)`; None for a critic of states.
    batch_size: chunks per call.
    progress: told the chunks done so far.
  """
  scale = learner.settings.reward_scale
  fragments = replay.fragments
  known = dict(
    row=rows,
    first=fragments.first[rows],
    left=fragments.last[rows] - rows,
    source=replay.source[rows],
    end=replay.end_reason[fragments.last[rows]],
    terminal=fragments.terminal[rows],
  )
  if actions is None:

    def judge_states(index: np.ndarray) -> Any:
      batch = replay.actor_batch(rows[index])
      return batch.returns, *_judge_states(learner, critic_params, batch)

    returns, v, advantage = _sweep(judge_states, len(rows), batch_size, progress)
    found = dict(returns=returns, score=v, v=v, advantage=advantage)
    return Judgement(**known, **{name: x / scale for name, x in found.items()})

  asked = states(replay, rows)

  def judge_samples(index: np.ndarray) -> Any:
    return _judge_samples(learner, critic_params, replay.observation(asked[index]), actions[index])

  def judge_chunks(index: np.ndarray) -> Any:
    batch = replay.actor_batch(rows[index])
    first_sample = actions[np.searchsorted(asked, rows[index])][:, 0]
    return batch.returns, _judge_chunks(learner, critic_params, batch, first_sample)

  half = len(asked)  # of the work
  sampled_q, v = _sweep(judge_samples, len(asked), batch_size, progress)
  returns, q = _sweep(judge_chunks, len(rows), batch_size, lambda done: progress(half + done))
  chunk, own = replay.transitions(rows), np.searchsorted(asked, rows)
  after = np.searchsorted(asked, chunk.next_row).clip(max=len(asked) - 1)  # any where it is 0
  target = chunk.reward + chunk.discount * sampled_q[:, after].mean(axis=0)
  score = losses.pessimistic_q(q, learner.settings.pessimism)
  advantage = score - v[own]
  if learner.agent.advantage is not action_critic.advantage:  # which is what is at hand already

    def ask(index: np.ndarray) -> Any:
      samples = actions[np.searchsorted(asked, rows[index])]
      return [_advantage(learner, critic_params, replay.actor_batch(rows[index]), samples)]

    (advantage,) = _sweep(ask, len(rows), batch_size, lambda done: None)
  found = dict(
    returns=returns,
    score=score,
    advantage=advantage,
    v=v[own],
    q=q,
    sampled_q=sampled_q[:, own],
    td_error=target - q.mean(axis=0),
  )
  return Judgement(**known, **{name: x / scale for name, x in found.items()})


def values(
  learner: learner_lib.Learner,
  critic_params: Any,
  replay: replay_lib.Replay,
  rows: np.ndarray,
  actions: np.ndarray,
  *,
  batch_size: int,
) -> np.ndarray:
  """V of Eq. (10) for a policy, by a critic of actions, in environment steps.

  Args:
    learner: of the critic.
    critic_params: of the critic.
    replay: the buffer.
    rows: [R] of it, whose states are asked about.
    actions: [R, M, h, A] of that policy there.
    batch_size: states per call.

  Returns:
    [R].
  """

  def judge_samples(index: np.ndarray) -> Any:
    return _judge_samples(learner, critic_params, replay.observation(rows[index]), actions[index])

  _, value = _sweep(judge_samples, len(rows), batch_size, lambda done: None)
  return value / learner.settings.reward_scale


def _sweep(
  function: Callable[[np.ndarray], Any], count: int, size: int, progress: Callable[[int], None]
) -> list[np.ndarray]:
  """Calls a function of [size] indices for all of them; joins what it returns at the last axis."""
  parts = []
  for start in range(0, count, size):
    # The last batch is filled up with the last index, so that one program serves them all.
    found = function(np.minimum(np.arange(start, start + size), count - 1))
    parts.append([np.asarray(x)[..., : count - start] for x in found])
    progress(min(start + size, count))
  return [np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)]


@functools.partial(jax.jit, static_argnums=0)
def _judge_samples(
  learner: learner_lib.Learner, params: Any, observation: types.Observation, actions: Any
) -> tuple[jax.Array, jax.Array]:
  """Mean Q over M samples [B, M, h, A] of the policy, [K, B], and V, [B]."""
  critic, settings = learner.networks.critic, learner.settings
  q = action_critic.evaluate_samples(
    critic, params, observation, actions, reads_prompt=settings.critic_reads_prompt
  )
  return q.mean(axis=1), losses.state_value(q, settings.pessimism)


@functools.partial(jax.jit, static_argnums=0)
def _judge_chunks(
  learner: learner_lib.Learner, params: Any, batch: types.ActorBatch, policy_action: Any
) -> jax.Array:
  """Q [K, B] of the chunks as the critic's loss reads them."""
  settings = learner.settings
  action, valid = action_critic.read(batch, policy_action[:, None], settings)
  critic, observation = learner.networks.critic, batch.observation
  return action_critic.evaluate(
    critic, params, observation, action, valid, reads_prompt=settings.critic_reads_prompt
  )


@functools.partial(jax.jit, static_argnums=0)
def _advantage(
  learner: learner_lib.Learner, params: Any, batch: types.ActorBatch, policy_action: Any
) -> jax.Array:
  """[B] as the agent defines it, from M samples [B, M, h, A] of the policy."""
  critic, settings = learner.networks.critic, learner.settings
  judge: Any = learner.agent.advantage
  return judge(params, batch, policy_action, critic=critic, settings=settings)


@functools.partial(jax.jit, static_argnums=0)
def _judge_states(
  learner: learner_lib.Learner, params: Any, batch: types.ActorBatch
) -> tuple[jax.Array, jax.Array]:
  """V and the advantage, [B] each."""
  critic, settings = learner.networks.critic, learner.settings
  value: Any = learner.agent.state_value
  judge: Any = learner.agent.advantage
  v = value(critic, params, batch.observation, settings)
  return v, judge(params, batch, None, critic=critic, settings=settings)
