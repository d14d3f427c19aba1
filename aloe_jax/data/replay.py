"""The replay buffer: episodes on disk to batches, each a pure function of (seed, step).

Legend of shapes: N rows (steps of all episodes laid end to end), n batches, B batch, h horizon.
"""

from collections.abc import Callable, Sequence
import dataclasses

import jax
import numpy as np

from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import fragments as fragments_lib
from aloe_jax.data import rlds

Tokenizer = Callable[[str], tuple[np.ndarray, np.ndarray]]


def sample_rows(rows: np.ndarray, seed: int, first: int, count: int) -> np.ndarray:
  """Samples `first` .. `first + count` - 1 of an endless stream over `rows`.

  Each pass visits every row once, in an order that is a function of (seed, pass). There is no
  iterator to save: the same numbers give the same rows on any host, after any restart.

  Args:
    rows: [R] int, what to sample from.
    seed: of the order.
    first: position in the stream.
    count: how many samples.

  Returns:
    [count] of `rows`.
  """
  if not len(rows):
    raise ValueError('there is no row to sample: no chunk of the buffer is of the wanted kind.')
  passes = range(first // len(rows), -(-(first + count) // len(rows)))
  orders = [
    np.random.Generator(np.random.Philox(key=[seed, number])).permutation(rows) for number in passes
  ]
  start = first - passes.start * len(rows)
  return np.concatenate(orders)[start : start + count]


@dataclasses.dataclass(frozen=True)
class Chunking:
  """How episodes are cut and labelled.

  Attributes:
    horizon: h of the actor's chunks.
    critic_horizon: steps that the critic's backup spans, at most h.
    discount: gamma, per environment step.
    fail_cost: C_fail, in steps.
    timeout: 'failure' or 'bootstrap', see `rewards.is_terminal`.
    takeover: 'failure' or 'continue', see `rewards.is_terminal`.
  """

  horizon: int
  critic_horizon: int
  discount: float
  fail_cost: float
  timeout: str = 'failure'
  takeover: str = 'failure'

  @property
  def reward_scale(self) -> float:
    """See `rewards.reward_scale`."""
    return rewards.reward_scale(self.discount, self.fail_cost)


class Replay:
  """All steps collected so far, D_i of Algorithm 1.

  Args:
    episodes: as read from disk; at least one.
    tokenizer: prompt to tokens [L] and mask [L].
    chunking: how to cut and label them.
  """

  def __init__(self, episodes: Sequence[rlds.Episode], tokenizer: Tokenizer, chunking: Chunking):
    lengths = np.array([len(episode) for episode in episodes])
    self.chunking = chunking
    self.source = np.concatenate([episode.source for episode in episodes])
    self.end_reason = np.concatenate([episode.end_reason for episode in episodes])
    self._proprio = np.concatenate([episode.proprio for episode in episodes])
    self._features = np.concatenate([episode.features for episode in episodes])
    self._action = np.concatenate([episode.action for episode in episodes])
    prompts = sorted({episode.language_instruction for episode in episodes})
    tokens = [tokenizer(prompt) for prompt in prompts]
    self._tokens = np.stack([token for token, _ in tokens])
    self._token_mask = np.stack([mask for _, mask in tokens])
    self._prompt = np.repeat(
      [prompts.index(episode.language_instruction) for episode in episodes], lengths
    )
    is_first = np.zeros(lengths.sum(), bool)
    is_first[np.cumsum(lengths) - lengths] = True
    rules = dict(timeout=chunking.timeout, takeover=chunking.takeover)
    self._fragments = fragments_lib.index(self.source, self.end_reason, is_first, **rules)
    fragments_lib.check_horizon(self._fragments.lengths, chunking.horizon)
    reward = rewards.step_rewards(self.end_reason, fail_cost=chunking.fail_cost, **rules)
    self._reward = reward * np.float32(chunking.reward_scale)
    self._returns = rewards.monte_carlo_returns(
      self._reward, self._fragments.last, chunking.discount
    )
    self.starts = fragments_lib.starts(self._fragments)

  def __len__(self) -> int:
    """N, rows."""
    return len(self.source)

  def observation(self, rows: np.ndarray) -> types.Observation:
    """What was seen at rows of any shape [...]."""
    prompt = self._prompt[rows]
    return types.Observation(
      proprio=self._proprio[rows],
      prompt_tokens=self._tokens[prompt],
      prompt_mask=self._token_mask[prompt],
      features=self._features[rows],
    )

  def critic_batches(
    self, seed: int, step: int, count: int, size: int, bank: np.ndarray | None
  ) -> types.CriticBatch:
    """Batches `step` .. `step + count` - 1 of the critic's stream over all chunks.

    Each pass over the chunks takes the next of the bank's M actions, and neighbouring chunks of
    a pass, which may bootstrap from one state, take different ones.

    Args:
      seed: of the order.
      step: first batch.
      count: n, number of batches.
      size: B.
      bank: [N, M, h, A] actions of the policy, of which one is taken per next state, or None
        to have them sampled inside the train step.

    Returns:
      Leaves [n, B, ...].
    """
    rows = sample_rows(self.starts, seed, step * size, count * size)
    horizon = self.chunking.critic_horizon
    chunk = fragments_lib.chunk(
      self._fragments, rows, horizon, self._reward, self.chunking.discount
    )
    next_action = own_action = None
    if bank is not None:
      number = np.arange(step * size, (step + count) * size) // len(self.starts)
      member = (rows + number) % bank.shape[1]
      next_action = bank[chunk.next_row, member][:, None]
      own_action = bank[rows, member]
    batch = types.CriticBatch(
      observation=self.observation(rows),
      action=self._action[chunk.action_row],
      valid=chunk.valid,
      reward=chunk.reward,
      discount=chunk.discount,
      returns=self._returns[rows],
      next_observation=self.observation(chunk.next_row),
      ended=chunk.discount == 0,
      next_action=next_action,
      own_action=own_action,
      row=np.tile(np.arange(size, dtype=np.int32), count),
    )
    return _stack(batch, count, size)

  def actor_batches(
    self,
    seed: int,
    step: int,
    count: int,
    size: int,
    rows: np.ndarray,
    weight: np.ndarray | None,
  ) -> types.ActorBatch:
    """Batches `step` .. `step + count` - 1 of the actor's stream.

    Args:
      seed: of the order.
      step: first batch.
      count: n, number of batches.
      size: B.
      rows: [R] rows of `starts` that the actor learns from.
      weight: [N] weight of each row's chunk, or None.

    Returns:
      Leaves [n, B, ...].
    """
    sampled = sample_rows(rows, seed, step * size, count * size)
    batch = self.actor_batch(sampled, weight)
    batch = dataclasses.replace(batch, row=np.tile(np.arange(size, dtype=np.int32), count))
    return _stack(batch, count, size)

  def actor_batch(self, rows: np.ndarray, weight: np.ndarray | None = None) -> types.ActorBatch:
    """The chunks [B, h, A] that start at some rows [B] of `starts`."""
    chunk = fragments_lib.chunk(
      self._fragments, rows, self.chunking.horizon, self._reward, self.chunking.discount
    )
    return types.ActorBatch(
      observation=self.observation(rows),
      action=self._action[chunk.action_row],
      valid=chunk.valid,
      ended=chunk.discount == 0,
      returns=self._returns[rows],
      weight=None if weight is None else weight[rows],
      row=np.arange(len(rows), dtype=np.int32),
    )


def _stack(batch, count: int, size: int):
  """Leaves [n * B, ...] to [n, B, ...]."""
  return jax.tree.map(lambda x: x.reshape(count, size, *x.shape[1:]), batch)
