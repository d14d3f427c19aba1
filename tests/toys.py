"""Three worlds of one state in which a hazard ends chunks, and their exact values.

A chunk has 8 binary actions. Each step costs one and may end the episode for FAIL_COST; after 8
chunks it succeeds. The data are whole chunks and ended ones in the proportions in which they
occur, to within one: what is left over is bias and no sampling noise.
"""

from collections.abc import Callable
import dataclasses
import itertools

import numpy as np
import tiny

from aloe_jax import losses
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay
from aloe_jax.data import rlds
from aloe_jax.preprocessing import inputs
from aloe_jax.preprocessing import normalize

STEPS, STAGES, DISCOUNT, FAIL_COST = 8, 8, 0.99, 117.0
CHUNKS = np.array(list(itertools.product((0, 1), repeat=STEPS)))
CUT, FAILURE, NONE = types.EndReason.CUT, types.EndReason.FAILURE, types.EndReason.NONE
INPUTS = inputs.Inputs(
  tokenizer=tiny.INPUTS.tokenizer,
  state=normalize.Identity(),
  action=normalize.Identity(),
  state_size=STEPS + 1,
)

Law = Callable[[np.ndarray], float]  # of a chunk [8], its probability


@dataclasses.dataclass(frozen=True)
class Toy:
  """A world, what is executed in it, and the policy whose value is asked for.

  Attributes:
    executed: the law of what is executed while nothing ends.
    plans: the law of the policy's plans. Played in the world they are `carried_out`.
    hazard: of a step with each action, (of 0, of 1).
    carried_out: the law of what is executed where the policy acts.
  """

  executed: Law
  plans: Law
  hazard: tuple[float, float]
  carried_out: Law

  def alive(self) -> np.ndarray:
    """[chunks, 9] probability to come to each step of a chunk."""
    lives = 1 - np.array(self.hazard)[CHUNKS]
    return np.cumprod(np.concatenate([np.ones((len(CHUNKS), 1)), lives], axis=1), axis=1)

  def exact(self) -> tuple[np.ndarray, float]:
    """Q [chunks] and V of the policy with 8 chunks to go, in steps."""
    alive, ends = self.alive(), np.array(self.hazard)[CHUNKS]
    powers = DISCOUNT ** np.arange(STEPS)
    reward = (alive[:, :-1] * powers * -(FAIL_COST * ends + 1 - ends)).sum(axis=1)
    law = probabilities(self.carried_out)
    value = 0.0
    for _ in range(STAGES):
      q = reward + DISCOUNT**STEPS * alive[:, -1] * value
      value = float(law @ q)
    return q, value


def reacting(share: float, every: int) -> Law:
  """What is seen is answered with a 1 of a probability, every so many steps; else a 0 stands."""

  def law(chunk):
    odds = np.where(chunk, share, 1 - share)
    planned = (np.arange(STEPS) % every) > 0
    return float(np.where(planned, chunk == 0, odds).prod())

  return law


def moody(careless: float) -> Law:
  """Eight ones of a probability, else eight zeros."""
  return lambda chunk: careless * (chunk.sum() == STEPS) + (1 - careless) * (chunk.sum() == 0)


def probabilities(law: Law) -> np.ndarray:
  """[chunks]."""
  return np.array([law(chunk) for chunk in CHUNKS])


def play(toy: Toy, whole: int, ended: int) -> tuple[replay.Replay, np.ndarray, np.ndarray]:
  """Episodes of one chunk each, which go on into the next one unless they end.

  Ended ones may be more than their share; weights put that right.

  Args:
    toy: the world.
    whole: how many chunks are played to their end.
    ended: how many are not.

  Returns:
    The buffer; rows [R] at which those chunks start, and their weights [R]. Chunks start at every
    other row as well, but no policy plans there.
  """
  alive, law = toy.alive(), probabilities(toy.executed)
  mass: dict[tuple[int, ...], float] = {}  # of what was played
  for chunk, share, lives in zip(CHUNKS.tolist(), law, alive, strict=True):
    for n in range(1, STEPS + 1):
      key = tuple(chunk[:n])
      mass[key] = mass.get(key, 0.0) + share * (lives[n - 1] - lives[n])
  survived = dict(zip(map(tuple, CHUNKS.tolist()), law * alive[:, -1], strict=True))
  episodes, weights = [], []
  for shares, count, goes_on in ((survived, whole, True), (mass, ended, False)):
    counts = _in_proportion(np.array(list(shares.values())), count)
    for (played, share), number in zip(shares.items(), counts, strict=True):
      episodes += [_episode(played, goes_on)] * number
      weights += [share / max(number, 1)] * number
  order = np.random.default_rng(0).permutation(len(episodes))
  chunking = replay.Chunking(STEPS, STEPS, DISCOUNT, FAIL_COST)
  buffer = replay.Replay(tiny.make_steps([episodes[n] for n in order]), INPUTS, chunking)
  return buffer, np.unique(buffer.fragments.first), np.array(weights)[order]


def _in_proportion(shares: np.ndarray, count: int) -> np.ndarray:
  """[n] whole numbers of sum `count`, each within one of its share."""
  upto = np.floor(np.cumsum(shares) / shares.sum() * count + 0.5).astype(int)
  return np.diff(upto, prepend=0)


def _episode(played: tuple[int, ...], goes_on: bool) -> rlds.Episode:
  """One chunk, of which the state tells the step; where it goes on, the state after it too."""
  length = len(played) + goes_on
  end_reason = np.full(length, NONE, np.int8)
  end_reason[-1] = CUT if goes_on else FAILURE
  return rlds.Episode(
    state=np.eye(STEPS + 1, dtype=np.float32)[:length],
    features=None,
    images=None,
    action=np.array([*played, 0][:length], np.float32)[:, None],
    source=np.full(length, types.Source.POLICY, np.int8),
    end_reason=end_reason,
    prompt='put it there',
    metadata={},
  )


def evaluate(
  toy: Toy, buffer: replay.Replay, rows: np.ndarray, weights: np.ndarray, past_end: str
) -> tuple[np.ndarray, float]:
  """Q [chunks] and V of a table that is fitted to Eq. (7), chunk by chunk, in steps.

  Args:
    toy: the world.
    buffer: what was recorded there.
    rows: [R] at which chunks start.
    weights: [R] of them.
    past_end: what fills up ended ones.
  """
  batch, chunk = buffer.actor_batch(rows), buffer.transitions(rows)
  plans = probabilities(toy.plans)
  rng = np.random.default_rng(1)
  own = CHUNKS[rng.permutation(np.repeat(np.arange(len(CHUNKS)), _in_proportion(plans, len(rows))))]
  own = own[:, None, :, None].astype(np.float32)
  action, valid = action_critic.read(batch, own, tiny.make_settings(past_end=past_end))
  assert np.asarray(valid).all()
  entry = (np.asarray(action)[:, :, 0] @ 2 ** np.arange(STEPS)[::-1]).astype(int)
  total = np.bincount(entry, weights, len(CHUNKS))
  value = 0.0
  for _ in range(STAGES):
    next_q = np.full((1, len(rows)), value * buffer.chunking.reward_scale, np.float32)
    target = np.asarray(losses.td_target(chunk.reward, chunk.discount, next_q))[0]
    fitted = np.bincount(entry, weights * target, len(CHUNKS)) / np.maximum(total, 1e-12)
    q = fitted / buffer.chunking.reward_scale
    value = float(plans @ q)
  assert total[plans > 0].all()
  return q, value
