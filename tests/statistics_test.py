"""Statistics of the chunks that the actor learns from, against all of them written out."""

import dataclasses

import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.data import statistics
from aloe_jax.preprocessing import normalize

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = types.EndReason
CHUNKING = replay.Chunking(horizon=3, critic_horizon=3, discount=0.9, fail_cost=5.0)


class Refused:
  """A normaliser that nothing may be put through."""

  def __call__(self, x):
    raise AssertionError('statistics are of what is not normalised yet')

  inverse = __call__


INPUTS = dataclasses.replace(
  tiny.INPUTS, state=Refused(), action=Refused(), state_size=2, delta=(1, -1)
)


def make_episode(ends, state, action):
  episode = tiny.make_episode(np.random.default_rng(0), ends)
  proprio = np.zeros_like(episode.state)
  proprio[:, :2] = state
  return dataclasses.replace(episode, state=proprio, action=np.float32(action))


def test_a_short_episodes_statistics_are_those_worked_out_by_hand():
  episode = make_episode(
    [NONE, NONE, SUCCESS], [[1, 5], [3, 5], [4, 8]], [[2, 10], [3, 20], [7, 60]]
  )
  stats = statistics.compute(tiny.make_steps([episode]), INPUTS, CHUNKING)
  # Chunks of 3, 2 and 1 steps; the first number is relative to the state that each starts from.
  relative = [2 - 1, 3 - 1, 7 - 1, 3 - 3, 7 - 3, 7 - 4]
  absolute = [10, 20, 60, 20, 60, 60]
  np.testing.assert_allclose(stats['actions'].mean, [16 / 6, 230 / 6], rtol=1e-12)
  np.testing.assert_allclose(stats['actions'].std, [np.std(relative), np.std(absolute)], rtol=1e-9)
  np.testing.assert_allclose(stats['state'].mean, [8 / 3, 6], rtol=1e-12)
  np.testing.assert_allclose(stats['state'].std, [np.sqrt(14) / 3, np.sqrt(2)], rtol=1e-9)
  np.testing.assert_allclose(stats['actions'].q01, [0, 10], atol=0.02)
  np.testing.assert_allclose(stats['actions'].q99, [6, 60], atol=0.02)


def test_no_chunk_reaches_into_another_fragment_or_past_a_cut(monkeypatch):
  monkeypatch.setattr(statistics, 'ROWS', 4)  # several updates of the running statistics
  rng = np.random.default_rng(1)
  kinds = ([NONE] * 4 + [TAKEOVER, NONE, SUCCESS], [NONE, NONE, NONE, CUT], [NONE, FAILURE])
  fragments = ((0, 5), (5, 7)), ((0, 3),), ((0, 2),)  # the last step before a cut is left out
  episodes, actions, told = [], [], []
  for ends, spans in zip(kinds, fragments, strict=True):
    state, action = rng.normal(size=(len(ends), 2)), rng.normal(size=(len(ends), 2))
    episodes.append(make_episode(ends, state, action))
    for first, last in spans:
      for t in range(first, last):
        actions += [action[k] - [state[t, 0], 0] for k in range(t, min(t + 3, last))]
  stats = statistics.compute(tiny.make_steps(episodes), INPUTS, CHUNKING, told.append)
  np.testing.assert_allclose(stats['actions'].mean, np.mean(actions, axis=0), atol=1e-6)
  np.testing.assert_allclose(stats['actions'].std, np.std(actions, axis=0), atol=1e-6)
  states = np.concatenate([episode.state[:, :2] for episode in episodes])
  np.testing.assert_allclose(stats['state'].mean, states.mean(axis=0), atol=1e-6)
  assert told == [4, 8, 13]


def test_what_is_normalised_by_them_has_mean_zero_and_deviation_one():
  rng = np.random.default_rng(2)
  state, action = 5 + 3 * rng.normal(size=(40, 2)), -2 + 7 * rng.normal(size=(40, 2))
  episodes = [make_episode([NONE] * 39 + [SUCCESS], state, action)]
  stats = statistics.compute(tiny.make_steps(episodes), INPUTS, CHUNKING)
  scores = [normalize.ZScore(stats[key], key) for key in ('state', 'actions')]
  inputs = dataclasses.replace(INPUTS, state=scores[0], action=scores[1])
  buffer = replay.Replay(tiny.make_steps(episodes), inputs, CHUNKING)
  shown = buffer.observation(np.arange(40)).proprio
  chunk, valid = buffer.chunks(buffer.starts)
  for x in (shown[:, :2], chunk[valid]):
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)
