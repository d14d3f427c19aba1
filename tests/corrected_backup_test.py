"""Targets that span a chunk where the critic reads less of it, less the advantages on the way.

The exact world: somebody walks a rope in state 0, is blown to 1 by gusts, and there either balances
back or walks on to 2, from where walking on may end in a fall. The policy plans h = 10 steps, plays
one, and plans anew. The data are all walks of 10 steps there are, with their probabilities, so that
what is left over is bias and no sampling noise.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from aloe_jax import losses
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.agents import aloe
from aloe_jax.data import replay
from aloe_jax.data import rlds

NONE, SUCCESS, FAILURE, _, _, CUT = types.EndReason
WALK, BALANCE = 0, 1
HORIZON, DISCOUNT, FAIL_COST = 10, 0.95, 20.0
GUST, DONE, FALL = 0.4, 0.1, 0.5
POLICY = np.array([[1.0, 0.0], [0.2, 0.8], [0.2, 0.8]])  # [state, action]
OTHER = np.array([[1.0, 0.0], [0.7, 0.3], [0.5, 0.5]])
SAMPLES = 5  # of the policy in the bank: in its proportions
SETTINGS = tiny.make_settings(reward_scale=rewards.reward_scale(DISCOUNT, FAIL_COST))


def outcomes(state, action):
  """What can follow: [(probability, next state, end reason)]."""
  if state == 0:
    return [(DONE, 0, SUCCESS), (GUST, 1, NONE), (1 - DONE - GUST, 0, NONE)]
  if action == BALANCE:
    return [(1.0, state - 1, NONE)]
  return [(1.0, 2, NONE)] if state == 1 else [(FALL, 2, FAILURE), (1 - FALL, 2, NONE)]


def exact():
  """Q [state, action] of the policy that looks at every step."""
  q = np.zeros((3, 2))
  for _ in range(2000):
    value = (POLICY * q).sum(axis=1)
    for s, a in np.ndindex(3, 2):
      q[s, a] = sum(
        p * {SUCCESS: 0, FAILURE: -FAIL_COST, NONE: -1 + DISCOUNT * value[there]}[end]
        for p, there, end in outcomes(s, a)
      )
  return q


def walks(behaviour):
  """All walks of at most 10 steps: [(probability, steps (state, action, end reason))]."""
  made, unfinished = [], [(1.0, [], 1)]
  while unfinished:
    weight, steps, state = unfinished.pop()
    if len(steps) == HORIZON:
      made.append((weight, [*steps, (state, WALK, CUT)]))  # to be bootstrapped from
      continue
    for action, chance in enumerate(behaviour[state]):
      for probability, there, end in outcomes(state, action) if chance else ():
        total, path = weight * chance * probability, [*steps, (state, action, end)]
        if end == NONE:
          unfinished.append((total, path, there))
        else:
          made.append((total, path))
  return made


class Table:
  """Q of states and first actions, asked as a module is; its parameters are the numbers [3, 2]."""

  def apply(self, params, features, proprio, action, valid, prompt=None):
    del features, valid, prompt
    return jnp.asarray(params)[jnp.argmax(proprio, axis=1), action[:, 0, 0].astype(int)][None]


@pytest.fixture(scope='module')
def passes():
  """The chunks of all walks, once with each of the bank's samples; and the weights of rows."""
  made = walks(OTHER)
  state, action, end = np.array([step for _, path in made for step in path]).T
  rows = np.arange(len(state))
  # The second number of an action does nothing; it tells the row.
  steps = np.stack([action, rows], axis=1).astype(np.float32)
  first = np.cumsum([0, *(len(path) for _, path in made)])
  episodes = [
    rlds.Episode(
      state=np.eye(types.PROPRIO_SIZE, dtype=np.float32)[state[a:b]],
      features=None,
      images=None,
      action=steps[a:b],
      source=np.full(b - a, types.Source.POLICY, np.int8),
      end_reason=end[a:b].astype(np.int8),
      prompt='put it there',
      metadata={},
    )
    for a, b in itertools.pairwise(first)
  ]
  chunking = replay.Chunking(HORIZON, 1, DISCOUNT, FAIL_COST, spans=HORIZON)
  buffer = replay.Replay(tiny.make_steps(episodes), tiny.INPUTS, chunking)
  buffer.continue_ended()
  balances = np.arange(SAMPLES) >= (POLICY[state, WALK] * SAMPLES)[:, None]
  bank = np.tile(balances[..., None, None].astype(np.float32), (1, 1, 1, tiny.ACTION))
  drawn = [
    small(jax.tree.map(lambda x: x[0], buffer.critic_batches(0, n, 1, len(buffer.starts), bank)))
    for n in range(SAMPLES)
  ]
  weight = np.concatenate([np.full(len(path), chance) for chance, path in made])
  return drawn, weight


def small(batch):
  """A batch whose observations hold no more than the table reads."""

  def seen(observation):
    return observation.replace(proprio=observation.proprio[..., :3], features=None)

  between = batch.between.replace(observation=seen(batch.between.observation))
  return batch.replace(
    observation=seen(batch.observation),
    next_observation=seen(batch.next_observation),
    between=between,
  )


@functools.partial(jax.jit, static_argnames='corrected')
def target(batch, q, *, corrected):
  """Of each row, in scaled rewards, put together as `aloe.critic_loss` does."""
  reads_prompt = SETTINGS.critic_reads_prompt
  next_q = action_critic.evaluate_samples(
    Table(), q, batch.next_observation, batch.next_action, reads_prompt=reads_prompt
  ).mean(axis=1)
  if not corrected:
    return losses.td_target(batch.reward, batch.discount, next_q)[0]
  advantage = action_critic.advantage_between(Table(), q, batch.between, SETTINGS)
  told = losses.corrected_target(
    batch.reward, batch.discount, next_q, advantage, batch.between.discount
  )
  return told[0]


def backups(passes, count, *, corrected):
  """Tables [count, 3, 2] of least square error to the targets of all rows, in steps."""
  drawn, weight = passes
  q, tables = np.zeros((3, 2), np.float32), []
  for _ in range(count):
    total, share = np.zeros((3, 2)), np.full((3, 2), 1e-12)
    for batch in drawn:
      entry = batch.observation.proprio.argmax(axis=1), batch.action[:, 0, 0].astype(int)
      own = weight[batch.action[:, 0, 1].astype(int)]
      np.add.at(total, entry, own * np.asarray(target(batch, q, corrected=corrected)))
      np.add.at(share, entry, own)
    q = (total / share).astype(np.float32)
    tables.append(q / SETTINGS.reward_scale)
  return np.array(tables)


def test_the_value_of_the_policy_is_found_in_the_walks_of_another_in_a_few_backups(passes):
  found = backups(passes, 9, corrected=True)
  known = OTHER > 0
  error = np.abs(found - exact())[:, known].max(axis=1) / np.ptp(exact()[known])
  assert error[-1] < 1e-3
  assert error[5] < 0.01
  # One step at a time 0.95 of the error would be left by each backup, 0.7 of it after 8.


def test_the_loss_is_the_error_to_these_targets(passes):
  batch, q = passes[0][0], -np.arange(6, dtype=np.float32).reshape(3, 2) / 10
  told = target(batch, q, corrected=True)
  critic_loss = functools.partial(aloe.critic_loss, critic=Table(), settings=SETTINGS)
  loss, metrics = jax.jit(critic_loss)(q, q, batch)
  asked = Table().apply(q, None, batch.observation.proprio, batch.action, None)[0]
  np.testing.assert_allclose(loss, np.square(asked - told).mean(), rtol=1e-4)
  np.testing.assert_allclose(metrics['target'], told.mean() / SETTINGS.reward_scale, rtol=1e-4)


def test_uncorrected_the_value_is_that_of_whoever_walked(passes):
  found = backups(passes, 8, corrected=False)[-1]
  known = OTHER > 0
  assert np.abs(found - exact())[known].max() > 0.1 * np.ptp(exact()[known])
