"""The later chunks that a critic's target spans: from the replay, and in an update by hand."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
import updates

from aloe_jax import types
from aloe_jax.data import replay

NONE, SUCCESS, FAILURE, _, TAKEOVER, CUT = types.EndReason
DISCOUNT, FAIL_COST = 0.9, 6.0
ENDS = ([NONE] * 6 + [SUCCESS], [NONE] * 4 + [FAILURE], [NONE, TAKEOVER], [NONE] * 4 + [CUT])
SAMPLES = 2


@pytest.fixture(scope='module')
def episodes():
  rng = np.random.default_rng(0)
  return [tiny.make_episode(rng, ends, types.Source.POLICY) for ends in ENDS]


def make_replay(episodes, read, spans):
  chunking = replay.Chunking(tiny.HORIZON, read, DISCOUNT, FAIL_COST, spans=spans)
  buffer = replay.Replay(tiny.make_steps(episodes), tiny.INPUTS, chunking)
  buffer.continue_ended()
  return buffer


def named_bank(rows):
  """Actions [N, M, h, A] of which each tells its row and its sample."""
  name = np.arange(rows)[:, None] * SAMPLES + np.arange(SAMPLES)
  shape = rows, SAMPLES, tiny.HORIZON, tiny.ACTION
  return np.broadcast_to(name[..., None, None], shape).astype(np.float32)


def draw(buffer):
  """One batch of all chunks, in the order of their rows, which are given too."""
  bank = named_bank(len(buffer))
  batches = buffer.critic_batches(1, 0, 1, len(buffer.starts), bank)
  batch = jax.tree.map(lambda x: x[0], batches)
  rows = (batch.policy_action[:, 0, 0, 0] // SAMPLES).astype(int)
  return jax.tree.map(lambda x: x[np.argsort(rows)], batch), np.sort(rows)


@pytest.mark.parametrize('read, spans', [(1, 3), (2, 2), (1, 2)])
def test_between_are_the_chunks_that_follow_while_the_fragment_lasts(episodes, read, spans):
  buffer = make_replay(episodes, read, spans)
  batch, rows = draw(buffer)
  own, _ = draw(make_replay(episodes, read, 1))  # what the critic reads at every row
  place = {row: n for n, row in enumerate(rows)}
  assert own.between is None
  np.testing.assert_array_equal(rows, buffer.starts)
  last = buffer.fragments.last[rows]
  counted = 0
  for n, row in enumerate(rows):
    for c in range(spans - 1):
      after = row + read * (c + 1)
      # The step before a cut cannot be backed up: what follows it was not recorded.
      lasts = after <= last[n] - (buffer.end_reason[last[n]] == CUT)
      found = jax.tree.map(lambda x, n=n, c=c: x[n, c], batch.between)
      assert found.discount == pytest.approx(DISCOUNT ** (read * (c + 1)) if lasts else 0)
      if not lasts:
        continue
      counted += 1
      there = jax.tree.map(lambda x, at=place[after]: x[at], own)
      updates.assert_trees_equal(found.observation, there.observation)
      for field in ('action', 'valid', 'ended', 'unplayed'):
        np.testing.assert_array_equal(getattr(found, field), getattr(there, field))
      assert found.policy_action.shape == (1, read, tiny.ACTION)
      assert set(found.policy_action.ravel() // SAMPLES) == {after}
  assert counted > len(rows) / 3


@pytest.mark.parametrize('read, spans', [(1, 3), (2, 2)])
def test_the_reward_and_the_bootstrap_are_of_all_that_is_spanned(episodes, read, spans):
  buffer = make_replay(episodes, read, spans)
  batch, rows = draw(buffer)
  whole, _ = draw(make_replay(episodes, read * spans, 1))
  np.testing.assert_array_equal(batch.reward, whole.reward)
  np.testing.assert_array_equal(batch.discount, whole.discount)
  updates.assert_trees_equal(batch.next_observation, whole.next_observation)
  assert batch.action.shape == (len(rows), read, tiny.ACTION)
  # Whether the chunk that is read meets an end, and not whether what is spanned does.
  short, _ = draw(make_replay(episodes, read, 1))
  np.testing.assert_array_equal(batch.ended, short.ended)
  assert batch.ended.sum() < (batch.discount == 0).sum()


@pytest.mark.parametrize('target', ['mean', 'min', 'independent'])
def test_an_update_takes_off_what_was_played_better_than_the_policy(target):
  learner = updates.make_linear(target=target)
  state, batches = tiny.make_state(learner), updates.critic_batches(samples=1)
  rng, later = np.random.default_rng(5), 2
  shape = 1, updates.BATCH, later
  between = types.Between(
    observation=tiny.make_observation(rng, *shape),
    action=tiny.normal(rng, *shape, tiny.HORIZON, tiny.ACTION),
    valid=tiny.make_valid(rng, *shape),
    ended=rng.random(shape) < 0.5,
    discount=np.tile(np.float32([0.9, 0.0]), (1, updates.BATCH, 1)),
    policy_action=tiny.normal(rng, *shape, 1, tiny.HORIZON, tiny.ACTION),
    unplayed=tiny.normal(rng, *shape, tiny.HORIZON, tiny.ACTION),
  )
  _, metrics = updates.step(learner, state, dataclasses.replace(batches, between=between))

  batch, one = (jax.tree.map(lambda x: x[0], tree) for tree in (batches, between))
  params, averaged = (
    jax.tree.map(np.asarray, p['params']) for p in (state.critic, state.critic_target)
  )

  def q(params, action):  # [..., h, A] -> [K, ...]
    return np.einsum('ka,...a->k...', params['w'], action.sum(-2)) + params['b'].reshape(
      -1, *[1] * (action.ndim - 2)
    )

  def read(x):
    fill = x.ended[..., None] & ~x.valid
    action = np.where(fill[..., None], x.unplayed, x.action)
    return action * (x.valid | x.ended[..., None])[..., None]

  better = q(averaged, read(one)) - q(averaged, one.policy_action[:, :, 0])
  after = batch.discount * q(averaged, batch.next_action[:, 0]) - 0.9 * better[..., 0]
  if target != 'independent':
    after = np.tile(getattr(after, target)(axis=0), (2, 1))
  expected = np.square(q(params, read(batch)) - (batch.reward + after)).mean()
  np.testing.assert_allclose(metrics['critic']['loss'], expected, rtol=1e-4)
