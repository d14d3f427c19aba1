"""An update of the critic is the one worked out in NumPy, with a bank of actions or without."""

import dataclasses
from unittest import mock

import jax
import numpy as np
import pytest
import tiny
import updates

from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay
from aloe_jax.learning import action_bank
from aloe_jax.models import flow
from aloe_jax.parallel import sharding

pytestmark = pytest.mark.usefixtures('quick_compilation')


def test_a_critic_of_monte_carlo_returns_does_not_bootstrap():
  learner = updates.make_linear(backup='monte_carlo')
  batches = updates.critic_batches(samples=2)
  _, metrics = updates.step(learner, tiny.make_state(learner), batches)
  scale = learner.settings.reward_scale
  np.testing.assert_allclose(metrics['critic']['target'], batches.returns.mean() / scale, 1e-5)
  other = dataclasses.replace(batches, next_action=3 * batches.next_action)
  _, same = updates.step(learner, tiny.make_state(learner), other)
  assert same['critic']['loss'] == metrics['critic']['loss']


def linear_q(params, action, valid):
  x = (action * valid[..., None]).sum(axis=1)
  return params['w'] @ x.T + params['b'][:, None], x


@pytest.mark.parametrize('target', ['mean', 'min', 'independent'])
def test_a_critic_update_is_the_one_worked_out_by_hand(target):
  learner = updates.make_linear(target=target)
  state, batches = tiny.make_state(learner), updates.critic_batches(samples=2)
  after, metrics = updates.step(learner, state, batches)

  batch = jax.tree.map(lambda x: x[0], batches)
  params, averaged = (
    jax.tree.map(np.asarray, p['params']) for p in (state.critic, state.critic_target)
  )
  everything = np.ones((updates.BATCH, tiny.HORIZON), bool)
  next_q = np.mean(
    [linear_q(averaged, batch.next_action[:, m], everything)[0] for m in range(2)], axis=0
  )  # the expectation of Eq. (7)
  if target != 'independent':
    next_q = np.tile(getattr(next_q, target)(axis=0), (2, 1))
  y = batch.reward + batch.discount * next_q
  # What a terminal end left unplayed is filled up; any other end is masked.
  ended = batch.ended[:, None]
  filled = np.where((ended & ~batch.valid)[..., None], batch.unplayed, batch.action)
  q, x = linear_q(params, filled, batch.valid | ended)
  gradient = {
    'w': 2 * (q - y) @ x / (2 * updates.BATCH),
    'b': 2 * (q - y).sum(axis=1) / (2 * updates.BATCH),
  }
  new = {name: params[name] - updates.RATE * gradient[name] for name in params}
  omega = updates.SETTINGS['polyak']
  new_average = {name: omega * new[name] + (1 - omega) * averaged[name] for name in params}

  numbers = metrics['critic']
  np.testing.assert_allclose(numbers['loss'], np.square(q - y).mean(), rtol=1e-5)
  np.testing.assert_allclose(
    numbers['target'], y.mean() / updates.SETTINGS['reward_scale'], rtol=1e-5
  )
  norm = np.sqrt(sum(np.square(g).sum() for g in gradient.values()))
  np.testing.assert_allclose(numbers['gradient_norm'], norm, rtol=1e-5)
  updates.assert_trees_close(after.critic['params'], new)
  updates.assert_trees_close(after.critic_target['params'], new_average)
  updates.assert_trees_equal((after.actor, after.actor_ema), (state.actor, state.actor_ema))


def test_no_gradient_reaches_target_networks_or_next_actions():
  learner = updates.make_linear()
  state = tiny.make_state(learner)
  batch = jax.tree.map(lambda x: x[0], updates.critic_batches())

  def loss(target, next_action):
    given = dataclasses.replace(batch, next_action=next_action)
    return learner.agent.critic_loss(
      state.critic, target, given, critic=updates.LinearCritic(), settings=learner.settings
    )[0]

  gradients = jax.grad(loss, argnums=(0, 1))(state.critic_target, batch.next_action)
  updates.assert_trees_equal(gradients, jax.tree.map(np.zeros_like, gradients))


def test_actions_past_the_end_of_a_fragment_cannot_change_the_critics_update():
  learner = updates.LEARNER
  state, batches = tiny.make_state(learner), updates.critic_batches()
  padded = np.where(batches.valid[..., None], batches.action, 50)
  assert (padded != batches.action).any()
  changed = dataclasses.replace(batches, action=padded)
  updates.assert_trees_equal(
    updates.step(learner, state, batches), updates.step(learner, state, changed)
  )


def test_without_a_bank_the_step_draws_the_next_actions_that_its_state_determines():
  learner = updates.LEARNER
  state, batches = tiny.make_state(learner), updates.critic_batches(samples=None)
  batch = jax.tree.map(lambda x: x[0], batches)
  drawn = jax.jit(learner.sample, static_argnames='samples')(
    state, batch.next_observation, batch.position, samples=1
  )
  own = jax.jit(learner.sample, static_argnames='samples')(
    state, batch.observation, batch.position, samples=1
  )
  given = dataclasses.replace(batches, next_action=drawn[None], policy_action=own[None])
  updates.assert_trees_close(
    updates.step(learner, state, batches), updates.step(learner, state, given)
  )


def test_with_and_without_a_bank_equal_noise_gives_equal_targets(tmp_path):
  learner = tiny.make_learner(past_end='mask')
  state = tiny.make_state(learner)
  rng = np.random.default_rng(0)
  ends = [types.EndReason.NONE] * 9 + [types.EndReason.SUCCESS]
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, 0.9, 5.0)
  buffer = replay.Replay(tiny.make_steps([tiny.make_episode(rng, ends)]), tiny.INPUTS, chunking)
  policy = tiny.make_policy(
    params=state.actor_ema, actor=learner.networks.actor, flow_steps=updates.SETTINGS['flow_steps']
  )
  # Noise is keyed by an index and by a draw. The indices are made the same here, rows of the
  # buffer, and so is the draw: that of the bank and that of the step go to one key.
  chunk_noise = flow.chunk_noise

  def of_one_key(key, index, samples, chunk):
    del key
    return chunk_noise(jax.random.key(77), index, samples, chunk)

  with mock.patch.object(flow, 'chunk_noise', of_one_key):
    key = action_bank.make_key(policy, seed=0, samples=1, rows=len(buffer), data='')
    bank = action_bank.draw(
      policy,
      buffer.observation,
      key,
      tmp_path,
      layout=sharding.Pmap(),
      batch_size=4,
      progress=lambda done: None,
    )
    banked = buffer.critic_batches(0, 0, 1, 8, bank.action)
    sampled = buffer.critic_batches(0, 0, 1, 8, None)
    shown = sampled.next_observation.proprio
    every = buffer.observation(np.arange(10)).proprio
    next_row = (shown[:, :, None] == every).all(-1).argmax(-1).astype(np.int32)
    sampled = dataclasses.replace(sampled, position=next_row)
    with_bank, without = (updates.step(learner, state, batches) for batches in (banked, sampled))
  for metrics in (with_bank[1], without[1]):
    assert abs(metrics['critic']['target']) > 0.1
  updates.assert_trees_close(with_bank, without)
  other = dataclasses.replace(banked, next_action=np.roll(banked.next_action, 1, axis=1))
  changed = updates.step(learner, state, other)[1]['critic']
  assert abs(changed['target'] - with_bank[1]['critic']['target']) > 1e-4


def test_only_the_option_mask_shows_the_critic_that_a_terminal_end_comes():
  batch = jax.tree.map(lambda x: x[0], updates.critic_batches())
  for past_end, filler in (('executed', batch.unplayed), ('policy', batch.policy_action[:, 0])):
    settings = tiny.make_settings(past_end=past_end)
    action, valid = action_critic.read(batch, batch.policy_action, settings)
    for b in range(updates.BATCH):
      n = batch.valid[b].sum()
      np.testing.assert_array_equal(action[b, :n], batch.action[b, :n])
      if batch.ended[b]:
        assert valid[b].all()
        np.testing.assert_array_equal(action[b, n:], filler[b, n:])
      else:
        np.testing.assert_array_equal(valid[b], batch.valid[b])
  settings = tiny.make_settings(past_end='mask')
  _, masked = action_critic.read(batch, batch.policy_action, settings)
  np.testing.assert_array_equal(masked, batch.valid)


@pytest.mark.parametrize('past_end, missing', [('executed', 'unplayed'), ('policy', None)])
def test_a_batch_without_what_ended_chunks_are_filled_up_with_is_refused(past_end, missing):
  batch = jax.tree.map(lambda x: x[0], updates.critic_batches())
  policy_action = batch.policy_action
  if missing:
    batch = dataclasses.replace(batch, **{missing: None})
  else:
    policy_action = None
  with pytest.raises(ValueError, match=f"critic.past_end is '{past_end}', but .*continue_ended"):
    action_critic.read(batch, policy_action, tiny.make_settings(past_end=past_end))


def test_a_critic_reads_as_many_steps_of_a_longer_chunk_as_its_own():
  batch = jax.tree.map(lambda x: x[0], updates.actor_batches())
  short = dataclasses.replace(batch, unplayed=batch.unplayed[:, :2])
  action, valid = action_critic.read(short, None, tiny.make_settings(past_end='executed'))
  whole, whole_valid = action_critic.read(batch, None, tiny.make_settings(past_end='executed'))
  np.testing.assert_array_equal(action, whole[:, :2])
  np.testing.assert_array_equal(valid, whole_valid[:, :2])
