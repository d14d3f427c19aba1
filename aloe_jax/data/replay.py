"""The replay buffer: episodes on disk to batches, each a pure function of (seed, step).

Legend of shapes: N rows (steps of all episodes laid end to end), n batches, B batch, h horizon.
"""

from collections.abc import Mapping
import dataclasses
from typing import TypeVar

import jax
import numpy as np

from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import continuations as continuations_lib
from aloe_jax.data import fragments as fragments_lib
from aloe_jax.data import held_out
from aloe_jax.data import image_reader
from aloe_jax.data import sampler
from aloe_jax.data import steps as steps_lib
from aloe_jax.data import tags as tags_lib
from aloe_jax.preprocessing import inputs as inputs_lib

_Batch = TypeVar('_Batch', types.CriticBatch, types.ActorBatch)


@dataclasses.dataclass(frozen=True)
class Chunking:
  """How episodes are cut and labelled.

  Attributes:
    horizon: h of the actor's chunks.
    critic_horizon: steps that the critic reads, at most h.
    discount: gamma, per environment step.
    fail_cost: C_fail, in steps.
    timeout: 'failure' or 'bootstrap', see `rewards.is_terminal`.
    takeover: 'failure' or 'continue', see `rewards.is_terminal`.
    failures: whether chunks of fragments that ended in a failure are learnt from.
    spans: of the critic's horizons, how many its targets span: 1, or as many as an actor's chunk
      has, less the advantages of what was played after the first (`losses.corrected_target`).
  """

  horizon: int
  critic_horizon: int
  discount: float
  fail_cost: float
  timeout: str = 'failure'
  takeover: str = 'failure'
  failures: bool = True
  spans: int = 1

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
    ratios: {source: its share of every batch}; by default every chunk is as likely as another.
    host: number of this host, and how many there are: each computes the order of the whole batch
      and reads its own rows, so that the order does not depend on how many there are.

  Attributes:
    source: [N] int8, `types.Source`.
    end_reason: [N] int8, `types.EndReason`.
    fragments: of every row.
    starts: [at most N] rows at which a chunk starts, ascending.
    succeeded: [N] bool, whether the fragment of each row ended in success.
    holds: [N] bool, whether the robot held at a step of the chunk that starts at each row.
    episode: [N] int, number of the episode of each row.
    held_out: [N] bool, rows of the episodes that a critic leaves out where it is tested on them.
    step_cost: scaled reward that an ordinary step takes; 0 where recorded rewards take none.
  """

  def __init__(
    self,
    steps: steps_lib.Steps,
    inputs: inputs_lib.Inputs,
    chunking: Chunking,
    ratios: Mapping[str, float] | None = None,
    host: tuple[int, int] = (0, 1),
  ):
    self._host = host
    self._ratios = ratios or dict.fromkeys((kind.name.lower() for kind in types.Source), 0.0)
    self._sampler: sampler.Sampler | None = None  # of the rows that were sampled last
    self._continuations: continuations_lib.Continuations | None = None
    self.chunking = chunking
    self.source = steps.source
    self.end_reason = steps.end_reason
    self._steps = steps
    self._inputs = inputs
    self._images = image_reader.ImageReader(steps, inputs.image_size)
    inputs.check_prompts(steps.prompts)
    self._tokens = None
    if not inputs.tokenizer.discrete_state:
      texts = steps.prompts
      told = [inputs.prompts(texts, None, [tag] * len(texts)) for tag in inputs.tags]
      self._tokens = [np.stack(x) for x in zip(*told, strict=True)]  # [tags, texts, L]
    rules = dict(timeout=chunking.timeout, takeover=chunking.takeover)
    self.fragments = fragments_lib.index(self.source, self.end_reason, steps.is_first, **rules)
    fragments_lib.check_horizon(self.fragments.lengths, chunking.horizon)
    reward = steps.reward
    if reward is None:
      reward = rewards.step_rewards(self.end_reason, fail_cost=chunking.fail_cost, **rules)
    self._reward = reward * np.float32(chunking.reward_scale)
    self.step_cost = max(0.0, -float(np.median(self._reward)))
    self._returns = rewards.monte_carlo_returns(
      self._reward, self.fragments.last, chunking.discount
    )
    ends = self.end_reason[self.fragments.last]
    self.succeeded = ends == types.EndReason.SUCCESS
    before = np.concatenate([[0], np.cumsum(steps.held)])
    row = np.arange(len(self))
    after = np.minimum(row + chunking.horizon, self.fragments.last + 1)
    self.holds = before[after] > before[row]
    self.episode = np.cumsum(steps.is_first) - 1
    self.held_out = held_out.rows(self.source, steps.is_first)
    self.starts = fragments_lib.starts(self.fragments)
    if not chunking.failures:
      failed = rewards.is_terminal(ends, **rules) & ~self.succeeded
      self.starts = self.starts[~failed[self.starts]]

  def __len__(self) -> int:
    """N, rows."""
    return len(self.source)

  def continue_ended(self, rows: np.ndarray | None = None) -> None:
    """Finds what stands in for the actions that terminal ends left unplayed.

    Batches have it from then on as `unplayed`; see `data.continuations`.

    Args:
      rows: [R] of `starts`: the chunks that are continued, out of one another; all by default.

    Raises:
      ValueError: none of them went on where some chunk ended.
    """
    recorded = self._recorded(self.starts if rows is None else np.unique(rows))
    count = int(recorded.ended.sum())
    if not count:
      self._continuations = continuations_lib.find(recorded)
      return
    with progress.bar('Ended chunks', count, 'chunks') as advance:
      self._continuations = continuations_lib.find(recorded, progress=advance)

  def continued(self, rows: np.ndarray, steps: np.ndarray, donors: np.ndarray) -> np.ndarray:
    """Chunks [R, h, A] as they would be continued had a terminal end cut them short.

    Args:
      rows: [R] of `starts`, ascending.
      steps: [R] int, after which each is cut: at least 1 and less than h, the critic's horizon.
      donors: [D] of `starts`, none of `rows`: the chunks that lend what follows.

    Raises:
      ValueError: none of the donors went on for longer than some chunk, or a chunk is no such cut.
    """
    if (steps < 1).any() or (steps >= self.chunking.critic_horizon).any():
      raise ValueError(
        f'chunks are cut after {steps.min()} to {steps.max()} steps; expected 1 to '
        f'{self.chunking.critic_horizon - 1}.'
      )
    if np.isin(rows, donors).any():
      raise ValueError('a chunk that is cut is among the donors; expected others.')
    recorded = self._recorded(np.union1d(rows, donors))
    cut = np.searchsorted(recorded.starts, rows)
    recorded.steps[cut], recorded.ended[cut] = steps, True
    lends = np.isin(recorded.starts, donors)
    found = continuations_lib.find(dataclasses.replace(recorded, lends=lends))
    return self._composed(found.of(rows)[1])

  def return_range(self, kept: tuple[float, float]) -> tuple[float, float]:
    """Between which scaled returns its chunks lie, see `rewards.return_range`.

    Those of Eq. (14)'s rewards lie within `rewards.RETURN_RANGE`, but for rounding; recorded ones
    may be anywhere.
    """
    if self._steps.reward is None and kept == rewards.RETURN_RANGE:
      return kept
    return rewards.return_range(self._returns[self.starts], kept)

  def observation(
    self, rows: np.ndarray, tag: np.ndarray | None = None, *, images: bool = False
  ) -> types.Observation:
    """What was seen at rows [B], with its decoded images if they are wanted.

    Args:
      rows: [B].
      tag: [B] `types.Tag` that the prompts are given; None for none.
      images: give the images too.
    """
    tag = np.zeros(len(rows), np.int8) if tag is None else tag
    proprio = self._inputs.proprio(self._steps.state(rows))
    prompt = self._steps.prompt[rows]
    if self._tokens is None:
      tokens, mask = self._inputs.prompts([self._steps.prompts[n] for n in prompt], proprio, tag)
    else:
      tokens, mask = (x[tag, prompt] for x in self._tokens)
    shown, present = self._images.read(rows) if images else (None, None)
    return types.Observation(
      proprio=proprio,
      prompt_tokens=tokens,
      prompt_mask=mask,
      features=self._steps.features(rows) if self._steps.has_features else None,
      images=shown,
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
    rows: np.ndarray | None = None,
    images: bool = False,
  ) -> types.CriticBatch:
    """Batches `step` .. `step + count` - 1 of the critic's stream over chunks.

    Each visit of a chunk takes the next of the bank's M actions, and neighbouring chunks of a
    pass, which may bootstrap from one state, take different ones.

    Args:
      seed: of the order.
      step: first batch.
      count: n, number of batches.
      size: B.
      bank: [N, M, h, A] actions of the policy, of which one is taken per next state, or None
        to have them sampled inside the train step.
      rows: [R] of `starts` that the critic learns from; all by default.
      images: give the images too, for sampling inside the step.

    Returns:
      Leaves [n, B, ...], B being this host's share.
    """
    among = self.starts if rows is None else rows
    rows, position, visit = self._sampled(among, seed, step, count, size)
    chunk = self.transitions(rows)
    target = self.transitions(rows, self.chunking.spans)
    next_action = policy_action = between = None
    if bank is not None:
      member = (rows + visit) % bank.shape[1]
      next_action = bank[target.next_row, member][:, None]
      policy_action = bank[rows, member][:, None]
      if self.chunking.spans > 1:
        between = self._between(rows, target.steps, visit, bank)
    batch = types.CriticBatch(
      observation=self.observation(rows, images=images),
      action=self._chunks(rows, chunk),
      valid=chunk.valid,
      reward=target.reward,
      discount=target.discount,
      returns=self._returns[rows],
      next_observation=self.observation(target.next_row, images=images),
      ended=chunk.discount == 0,
      next_action=next_action,
      policy_action=policy_action,
      unplayed=self._unplayed(rows),
      position=(position % size).astype(np.int32),
      between=between,
    )
    return _stack(batch, count)

  def actor_batches(
    self,
    seed: int,
    step: int,
    count: int,
    size: int,
    rows: np.ndarray,
    weight: np.ndarray | None,
    tags: tags_lib.Tags | None = None,
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
      tags: what prompts say of each row's chunk, or None for nothing.
      images: give the images too, for an actor that reads them.

    Returns:
      Leaves [n, B, ...], B being this host's share.
    """
    sampled, position, _ = self._sampled(rows, seed, step, count, size)
    tag = None if tags is None else tags.of(sampled, seed, position)
    batch = self.actor_batch(sampled, weight, tag, images=images)
    batch = dataclasses.replace(batch, position=(position % size).astype(np.int32))
    return _stack(batch, count)

  def actor_batch(
    self,
    rows: np.ndarray,
    weight: np.ndarray | None = None,
    tag: np.ndarray | None = None,
    *,
    images: bool = False,
  ) -> types.ActorBatch:
    """The chunks [B, h, A] that start at some rows [B] of `starts`.

    Args:
      rows: [B].
      weight: [N] weight of each row's chunk, or None.
      tag: [B] `types.Tag` that the prompts are given; None for none.
      images: give the images too.
    """
    chunk = fragments_lib.chunk(
      self.fragments, rows, self.chunking.horizon, self._reward, self.chunking.discount
    )
    return types.ActorBatch(
      observation=self.observation(rows, tag, images=images),
      action=self._chunks(rows, chunk),
      valid=chunk.valid,
      ended=chunk.discount == 0,
      returns=self._returns[rows],
      weight=None if weight is None else weight[rows],
      unplayed=self._unplayed(rows),
      position=np.arange(len(rows), dtype=np.int32),
    )

  def _sampled(
    self, rows: np.ndarray, seed: int, step: int, count: int, size: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """This host's share of n batches of `rows`; their positions in the stream of all; visits."""
    if self._sampler is None or self._sampler.rows is not rows:
      self._sampler = sampler.Sampler(rows, self.source, self._ratios)
    chosen = self._sampler.batches(seed, step, count, size)
    position = np.arange(step * size, (step + count) * size).reshape(count, size)
    visit = self._sampler.visits(step, count, size)
    host, hosts = self._host
    own = slice(host * size // hosts, (host + 1) * size // hosts)
    return chosen[:, own].reshape(-1), position[:, own].reshape(-1), visit[:, own].reshape(-1)

  def transitions(self, rows: np.ndarray, spans: int = 1) -> fragments_lib.Chunks:
    """The chunks that the critic reads at rows [B] of `starts`, or `spans` of them in a row.

    That is what a backup spans (Eq. 7); rewards are scaled.
    """
    horizon, discount = spans * self.chunking.critic_horizon, self.chunking.discount
    return fragments_lib.chunk(self.fragments, rows, horizon, self._reward, discount)

  def _between(
    self, rows: np.ndarray, steps: np.ndarray, visit: np.ndarray, bank: np.ndarray
  ) -> types.Between:
    """The chunks after the first that targets span from rows [B] on, which take `steps` [B].

    Args:
      rows: [B].
      steps: [B].
      visit: [B], of each chunk: which of the bank's actions it takes.
      bank: [N, M, h, A].
    """
    read = self.chunking.critic_horizon
    after = read * np.arange(1, self.chunking.spans)
    played = after < steps[:, None]
    # Where a fragment is over before, its row stands for a chunk that does not count.
    at = np.where(played, rows[:, None] + after, rows[:, None])
    flat, shape = at.reshape(-1), at.shape
    chunk = self.transitions(flat)
    member = (at + visit[:, None]) % bank.shape[1]
    between = types.Between(
      observation=self.observation(flat),
      action=self._chunks(flat, chunk),
      valid=chunk.valid,
      ended=chunk.discount == 0,
      discount=np.where(played, self.chunking.discount**after, 0).astype(np.float32).reshape(-1),
      policy_action=bank[flat, member.reshape(-1), :read][:, None],
      unplayed=self._unplayed(flat),
    )
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), between)

  def chunks(self, rows: np.ndarray) -> tuple[types.Array, np.ndarray]:
    """Normalised actions [B, h, A] and validity [B, h] of the chunks that start at rows [B]."""
    chunk = fragments_lib.chunk(
      self.fragments, rows, self.chunking.horizon, self._reward, self.chunking.discount
    )
    return self._chunks(rows, chunk), chunk.valid

  def _recorded(self, rows: np.ndarray) -> continuations_lib.Recorded:
    """What is known of the chunks that start at rows [R], ascending."""
    chunk = self.transitions(rows)
    return continuations_lib.Recorded(
      starts=rows,
      steps=chunk.steps,
      ended=(chunk.discount == 0) & ~chunk.valid[:, -1],
      group=self._steps.prompt[rows],
      state=self._told,
      action=self._composed,
      horizon=self.chunking.critic_horizon,
    )

  def _unplayed(self, rows: np.ndarray) -> np.ndarray | None:
    """[B, h, A] of the chunks that start at rows [B], h the critic's, ended ones continued."""
    if self._continuations is None:
      return None
    chunk = self.transitions(rows)
    action = np.array(self._chunks(rows, chunk))
    ended, source = self._continuations.of(rows)
    left_out = (chunk.discount == 0) & ~chunk.valid[:, -1] & ~ended
    if left_out.any():
      raise ValueError(
        f'the chunk at row {rows[left_out][0]} of the buffer met a terminal end, and '
        '`continue_ended` was called for other rows; expected a call for all that are read.'
      )
    action[ended] = self._composed(source)
    return action

  def _composed(self, source: np.ndarray) -> np.ndarray:
    """Normalised actions [B, h, A], the k-th that of the chunk that starts at source [B, h].

    Any action will do past the buffer's end, where nothing was played or found as yet.
    """
    row = np.minimum(source + np.arange(source.shape[1]), len(self) - 1)
    action = self._steps.action(row)
    state = self._steps.state(source)
    return np.asarray(self._inputs.chunk(action[:, :, None], state))[:, :, 0]

  def _told(self, rows: np.ndarray) -> np.ndarray:
    """[B, D] float32 that the critic is told of the states at rows [B]."""
    told = [self._inputs.proprio(self._steps.state(rows))]
    if self._steps.has_features:
      told.append(np.asarray(self._steps.features(rows), np.float32).reshape(len(rows), -1))
    return np.concatenate(told, axis=1)

  def _chunks(self, rows: np.ndarray, chunk: fragments_lib.Chunks) -> types.Array:
    return self._inputs.chunk(self._steps.action(chunk.action_row), self._steps.state(rows))


def _stack(batch: _Batch, count: int) -> _Batch:
  """Leaves [n * B, ...] to [n, B, ...]."""
  return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
