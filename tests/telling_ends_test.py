"""Whether what the critic reads of a chunk tells that it ended, to a classifier that looks for it.

A point is pushed about by noise while a policy, which plans anew every few steps, leads it to the
middle. Any step may end the episode, whatever was done: what is read should tell nothing of it.
"""

import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay
from aloe_jax.data import rlds
from aloe_jax.preprocessing import inputs
from aloe_jax.preprocessing import normalize

NONE, FAILURE, CUT = types.EndReason.NONE, types.EndReason.FAILURE, types.EndReason.CUT
STEPS, LENGTH, EPISODES, HAZARD = 8, 40, 600, 0.02
PUSH, HAND = 0.3, 0.1  # deviations of the noise of the world, and of the policy's first action
INPUTS = inputs.Inputs(
  tokenizer=tiny.INPUTS.tokenizer,
  state=normalize.Identity(),
  action=normalize.Identity(),
  state_size=2,
)


def plan(rng, state):
  """[B, 8, 2] what the policy plans at states [B, 2]: to the middle, at a bounded speed."""
  place, actions = state.copy(), []
  drift = HAND * rng.standard_normal(state.shape)  # of a hand that errs, throughout a plan
  for _ in range(STEPS):
    actions.append(np.clip(-0.5 * place, -0.4, 0.4) + drift)
    place = place + actions[-1]
  return np.stack(actions, axis=1)


def play(rng, execute):
  """Episodes of a policy that plans anew every `execute` steps."""
  place = rng.uniform(-2, 2, (EPISODES, 2))
  states, actions = [], []
  for step in range(LENGTH):
    if step % execute == 0:
      planned = plan(rng, place)
    states.append(place)
    actions.append(planned[:, step % execute])
    place = place + actions[-1] + PUSH * rng.standard_normal(place.shape)
  state, action = np.stack(states, axis=1), np.stack(actions, axis=1)
  left = rng.geometric(HAZARD, EPISODES)
  return [_episode(s[:n], a[:n], n <= LENGTH) for s, a, n in zip(state, action, left, strict=True)]


def _episode(state, action, failed):
  end_reason = np.full(len(state), NONE, np.int8)
  end_reason[-1] = FAILURE if failed else CUT
  return rlds.Episode(
    state=state.astype(np.float32),
    features=None,
    images=None,
    action=action.astype(np.float32),
    source=np.full(len(state), types.Source.POLICY, np.int8),
    end_reason=end_reason,
    prompt='to the middle',
    metadata={},
  )


def auc(score, label):
  """Probability that a score of True is above one of False."""
  rank = np.empty(len(score))
  rank[np.argsort(score)] = np.arange(len(score))
  true = label.sum()
  return (rank[label].sum() - true * (true - 1) / 2) / (true * (~label).sum())


def products(x):
  """All numbers [B, F], their products, and a one."""
  x = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
  first, second = np.triu_indices(x.shape[1])
  return np.column_stack([np.ones(len(x)), x, np.clip(x[:, first] * x[:, second], -9, 9)])


def told(x, label, trained):
  """AUC on the chunks that are held out, of a logistic regression on the others."""
  x = products(x)
  share = np.where(label, 0.5 / label[trained].mean(), 0.5 / (~label[trained]).mean())[trained]
  weight = np.zeros(x.shape[1])
  for _ in range(8):  # of Newton's method
    chance = 1 / (1 + np.exp(-np.clip(x[trained] @ weight, -30, 30)))
    slope = x[trained].T @ (share * (label[trained] - chance)) - weight
    curve = (x[trained] * (share * chance * (1 - chance))[:, None]).T @ x[trained]
    weight = weight + np.linalg.solve(curve + np.eye(len(weight)), slope)
  return auc(x[~trained] @ weight, label[~trained])


@pytest.mark.parametrize('execute', [1, 2, 8])
def test_no_classifier_tells_ended_chunks_from_those_that_went_on(execute):
  rng = np.random.default_rng(execute)
  chunking = replay.Chunking(STEPS, STEPS, 0.99, 100.0)
  buffer = replay.Replay(tiny.make_steps(play(rng, execute)), INPUTS, chunking)
  buffer.continue_ended()
  batch = buffer.actor_batch(buffer.starts)
  state = batch.observation.proprio[:, :2]
  own = plan(rng, state)[:, None].astype(np.float32)
  trained = buffer.fragments.first[buffer.starts] < len(buffer) / 2
  found = {}
  for past_end in ('executed', 'policy'):
    action, valid = action_critic.read(batch, own, tiny.make_settings(past_end=past_end))
    whole = np.asarray(valid).all(axis=1)
    ended = batch.ended & ~batch.valid[:, -1]
    x = np.concatenate([state, np.asarray(action).reshape(len(state), -1)], axis=1)[whole]
    found[past_end] = told(x, ended[whole], trained[whole])
  found['state'] = told(state[whole], ended[whole], trained[whole])
  assert found['state'] < 0.55
  assert found['executed'] < 0.55
  assert found['policy'] > 0.8
