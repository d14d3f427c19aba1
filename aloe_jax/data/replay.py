"""The replay buffer: episodes on disk to batches, each a pure function of (seed, step).

Legend of shapes: N rows (steps of all episodes laid end to end), n batches, B batch, h horizon.
"""

import dataclasses
import functools

import jax
import numpy as np

from aloe_jax import inputs as inputs_lib
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import fragments as fragments_lib
from aloe_jax.data import pictures as pictures_lib
from aloe_jax.data import steps as steps_lib


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
  orders = np.concatenate([_order(seed, number, len(rows)) for number in passes])
  start = first - passes.start * len(rows)
  return rows[orders[start : start + count]]


@functools.lru_cache(4)
def _order(seed: int, number: int, size: int) -> np.ndarray:
  """The order of one pass over `size` rows, kept for the calls that share it."""
  return np.random.Generator(np.random.Philox(key=[seed, number])).permutation(size)


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
    steps: of all datasets.
    inputs: how states, actions and prompts are put to the networks.
    chunking: how to cut and label them.
  """

  def __init__(self, steps: steps_lib.Steps, inputs: inputs_lib.Inputs, chunking: Chunking):
    self.chunking = chunking
    self.source = steps.source
    self.end_reason = steps.end_reason
    self._steps = steps
    self._inputs = inputs
    self._pictures = pictures_lib.Pictures(steps, inputs.image_size)
    inputs.check_prompts(steps.prompts)
    self._tokens = None
    if not inputs.tokenizer.discrete_state:
      self._tokens = inputs.prompts(steps.prompts, None)
    rules = dict(timeout=chunking.timeout, takeover=chunking.takeover)
    self._fragments = fragments_lib.index(self.source, self.end_reason, steps.is_first, **rules)
    fragments_lib.check_horizon(self._fragments.lengths, chunking.horizon)
    reward = steps.reward
    if reward is None:
      reward = rewards.step_rewards(self.end_reason, fail_cost=chunking.fail_cost, **rules)
    self._reward = reward * np.float32(chunking.reward_scale)
    self._returns = rewards.monte_carlo_returns(
      self._reward, self._fragments.last, chunking.discount
    )
    self.starts = fragments_lib.starts(self._fragments)

  def __len__(self) -> int:
    """N, rows."""
    return len(self.source)

  def observation(self, rows: np.ndarray, *, images: bool = False) -> types.Observation:
    """What was seen at rows [B], with its decoded pictures if they are wanted."""
    proprio = self._inputs.proprio(self._steps.proprio(rows))
    prompt = self._steps.prompt[rows]
    if self._tokens is None:
      tokens, mask = self._inputs.prompts([self._steps.prompts[n] for n in prompt], proprio)
    else:
      tokens, mask = (x[prompt] for x in self._tokens)
    pictures, present = self._pictures.read(rows) if images else (None, None)
    return types.Observation(
      proprio=proprio,
      prompt_tokens=tokens,
      prompt_mask=mask,
      features=self._steps.features(rows) if self._steps.has_features else None,
      images=pictures,
      image_masks=present,
    )

  def critic_batches(
    self,
    seed: int,
    step: int,
    count: int,
    size: int,
    bank: np.ndarray | None,
    *,
    images: bool = False,
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
      images: give the pictures too, for sampling inside the step.

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
      observation=self.observation(rows, images=images),
      action=self._chunks(rows, chunk),
      valid=chunk.valid,
      reward=chunk.reward,
      discount=chunk.discount,
      returns=self._returns[rows],
      next_observation=self.observation(chunk.next_row, images=images),
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
    *,
    images: bool = False,
  ) -> types.ActorBatch:
    """Batches `step` .. `step + count` - 1 of the actor's stream.

    Args:
      seed: of the order.
      step: first batch.
      count: n, number of batches.
      size: B.
      rows: [R] rows of `starts` that the actor learns from.
      weight: [N] weight of each row's chunk, or None.
      images: give the pictures too, for an actor that reads them.

    Returns:
      Leaves [n, B, ...].
    """
    sampled = sample_rows(rows, seed, step * size, count * size)
    batch = self.actor_batch(sampled, weight, images=images)
    batch = dataclasses.replace(batch, row=np.tile(np.arange(size, dtype=np.int32), count))
    return _stack(batch, count, size)

  def actor_batch(
    self, rows: np.ndarray, weight: np.ndarray | None = None, *, images: bool = False
  ) -> types.ActorBatch:
    """The chunks [B, h, A] that start at some rows [B] of `starts`."""
    chunk = fragments_lib.chunk(
      self._fragments, rows, self.chunking.horizon, self._reward, self.chunking.discount
    )
    return types.ActorBatch(
      observation=self.observation(rows, images=images),
      action=self._chunks(rows, chunk),
      valid=chunk.valid,
      ended=chunk.discount == 0,
      returns=self._returns[rows],
      weight=None if weight is None else weight[rows],
      row=np.arange(len(rows), dtype=np.int32),
    )

  def chunks(self, rows: np.ndarray) -> tuple[types.Array, np.ndarray]:
    """Normalised actions [B, h, A] and validity [B, h] of the chunks that start at rows [B]."""
    chunk = fragments_lib.chunk(
      self._fragments, rows, self.chunking.horizon, self._reward, self.chunking.discount
    )
    return self._chunks(rows, chunk), chunk.valid

  def _chunks(self, rows: np.ndarray, chunk: fragments_lib.Chunks) -> types.Array:
    return self._inputs.chunk(self._steps.action(chunk.action_row), self._steps.proprio(rows))


def _stack(batch, count: int, size: int):
  """Leaves [n * B, ...] to [n, B, ...]."""
  return jax.tree.map(lambda x: x.reshape(count, size, *x.shape[1:]), batch)
