"""Whether ended chunks show their end: can a network tell them from chunks that went on?

A critic that can tell them puts down to how they look what can befall any chunk. To see it, chunks
that were played whole are cut at random and filled up as the critic would read them had they ended
there. A small network learns, on half of the episodes, to tell these from the same chunks as they
were played. Both come with the same states, so that a state tells nothing by itself.

Legend of shapes: R chunks, W of them that were played whole, h the critic's horizon, A action
width, F numbers that the network is told.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aloe_jax import estimates
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.agents import agent
from aloe_jax.data import replay as replay_lib

CHUNKS = 16_384  # at most so many are cut, drawn where there are more
FOLDS = 4  # of half of the episodes: the donors of a chunk are of its half's other folds
FEWEST = 4  # episodes: two to learn from and two to be asked, as none is its own donor

WIDTH, BATCH = 256, 256  # of the network and its training
UPDATES, PASSES = 2000, 200  # at most, of either: few chunks are soon known by heart
LR, WEIGHT_DECAY = 3e-3, 1e-2
FAR = 5.0  # standard deviations

Plan = Callable[[np.ndarray], np.ndarray]  # rows [B] to a chunk of the policy at each, [B, h, A]


def auroc(
  replay: replay_lib.Replay,
  settings: agent.Settings,
  rows: np.ndarray,
  episode: np.ndarray,
  plan: Plan,
  *,
  seed: int = 0,
) -> estimates.Estimate:
  """Chance that of a chunk cut short and one that was not, the network finds out which is which.

  Args:
    replay: the buffer.
    settings: whose `past_end` says what ended chunks are filled up with.
    rows: [R] ascending, out of `replay.starts`.
    episode: [R] int, that each lies in.
    plan: of the policy that the critic judges; asked where `past_end` is 'policy'.
    seed: of the halves, the cuts and the network.

  Returns:
    0.5 where nothing shows, 1 where everything does, over the episodes that the network has not
    seen; NaN where there is nothing to tell or there are too few episodes.
  """
  rng = np.random.default_rng(seed)
  horizon, chunk = replay.chunking.critic_horizon, replay.transitions(rows)
  whole = chunk.valid[:, -1]
  ended = (chunk.discount == 0) & ~whole
  names = rng.permutation(np.unique(episode[whole]))
  if horizon == 1 or len(names) < FEWEST:
    return estimates.Estimate(np.nan, np.nan, np.nan)
  fold = np.full(episode.max() + 1, -1)
  fold[names] = np.arange(len(names)) % (2 * FOLDS)  # even ones are learnt from
  cut = np.sort(rng.permutation(np.flatnonzero(whole))[:CHUNKS])
  steps = rng.choice(chunk.steps[ended] if ended.any() else np.arange(1, horizon), len(cut))
  unplayed = None
  if settings.past_end == 'executed':
    lent = rows[whole | ended], fold[episode[whole | ended]]
    unplayed = _continued(replay, rows[cut], steps, fold[episode[cut]], *lent)
  batch = replay.actor_batch(rows[cut])
  action, valid = np.asarray(batch.action)[:, :horizon], np.arange(horizon) < steps[:, None]
  batch = dataclasses.replace(
    batch, action=action, valid=valid, ended=np.ones(len(cut), bool), unplayed=unplayed
  )
  asked = plan(rows[cut])[:, None] if settings.past_end == 'policy' else None
  as_cut = _told(batch.observation, *action_critic.read(batch, asked, settings))
  as_played = _told(batch.observation, action, np.ones_like(valid))
  told, is_cut = np.concatenate([as_played, as_cut]), np.repeat([False, True], len(cut))
  learnt = np.tile(fold[episode[cut]] % 2 == 0, 2)
  score = _score(told[learnt], is_cut[learnt], told[~learnt], seed)
  statistic = estimates.auroc(score, is_cut[~learnt])
  return estimates.estimate(statistic, np.tile(episode[cut], 2)[~learnt])


def _continued(
  replay: replay_lib.Replay,
  rows: np.ndarray,
  steps: np.ndarray,
  fold: np.ndarray,
  lent: np.ndarray,
  lent_fold: np.ndarray,
) -> np.ndarray:
  """Chunks [W, h, A] at `rows`, cut after `steps`, each continued by other folds of its half.

  What is learnt from and what is asked share no donor: a network that knew a donor as it was
  played would take what borrowed from it for played, too.
  """
  parts = []
  for name in range(2 * FOLDS):
    own = fold == name
    donors = lent[(lent_fold % 2 == name % 2) & (lent_fold != name) & (lent_fold >= 0)]
    if own.any():
      parts.append((np.flatnonzero(own), replay.continued(rows[own], steps[own], donors)))
  order = np.argsort(np.concatenate([place for place, _ in parts]))
  return np.concatenate([action for _, action in parts])[order]


def _told(observation: types.Observation, action: types.Array, valid: types.Array) -> np.ndarray:
  """[W, F] float32, all that a critic is told of chunks [W, h, A]; what is masked is zero."""
  action, valid = np.asarray(action), np.asarray(valid)
  parts = [observation.proprio, np.where(valid[..., None], action, 0), valid]
  if observation.features is not None:
    parts.append(observation.features)
  return np.concatenate([np.asarray(x, np.float32).reshape(len(x), -1) for x in parts], axis=1)


class _Network(nn.Module):
  """Two layers: [B, F] to logits [B]."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    for _ in range(2):
      x = nn.gelu(nn.Dense(WIDTH)(x))
    return nn.Dense(1)(x)[..., 0]


def _score(told: np.ndarray, label: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
  """Logits of `asked` [B, F], by a network that has learnt `label` [N] bool of `told` [N, F]."""
  mean, deviation = told.mean(axis=0), told.std(axis=0)
  deviation = np.where(deviation > 1e-6, deviation, 1)
  # What varied little among the episodes that are learnt from may lie far out in others.
  told, asked = (np.clip((x - mean) / deviation, -FAR, FAR) for x in (told, asked))
  rng = np.random.default_rng(seed)
  updates = min(UPDATES, PASSES * len(told) // BATCH + 1)
  passes = [rng.permutation(len(told)) for _ in range(updates * BATCH // len(told) + 1)]
  order = np.concatenate(passes)[: updates * BATCH].reshape(updates, BATCH)
  params = _learn(told, label.astype(np.float32), order, jax.random.key(seed))
  return np.asarray(_Network().apply(params, asked))


@jax.jit
def _learn(told: jax.Array, label: jax.Array, order: jax.Array, key: jax.Array) -> Any:
  """Parameters after one update for each row of `order` [updates, B]."""
  network = _Network()
  schedule = optax.cosine_decay_schedule(LR, len(order))
  optimizer = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)
  params = network.init(key, told[:1])

  def loss(params: Any, rows: jax.Array) -> jax.Array:
    logits = jnp.asarray(network.apply(params, told[rows]))
    return optax.sigmoid_binary_cross_entropy(logits, label[rows]).mean()

  def update(state: Any, rows: jax.Array) -> tuple[Any, None]:
    params, moments = state
    change, moments = optimizer.update(jax.grad(loss)(params, rows), moments, params)
    return (optax.apply_updates(params, change), moments), None

  (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), order)
  return params
