"""What stands in for the actions that ends left unplayed, from episodes to the critic's update."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny
import updates

from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.data import replay

pytestmark = pytest.mark.usefixtures('quick_compilation')

NONE, SUCCESS, FAILURE, _, TAKEOVER, CUT = types.EndReason
LENGTH = 9


def make_replay(
  ends, prompts=None, critic_horizon=tiny.HORIZON, inputs=tiny.INPUTS, continued=True, **given
):
  """Episodes of 9 steps, one for every end."""
  rng = np.random.default_rng(0)
  prompts = prompts or ['put it there'] * len(ends)
  episodes = [
    tiny.make_episode(rng, [NONE] * (LENGTH - 1) + [end], types.Source.POLICY, prompt)
    for end, prompt in zip(ends, prompts, strict=True)
  ]
  chunking = replay.Chunking(tiny.HORIZON, critic_horizon, 0.9, 5.0)
  buffer = replay.Replay(tiny.make_steps(episodes), inputs, chunking, **given)
  if continued:
    buffer.continue_ended()
  state, action = (np.concatenate([getattr(e, x) for e in episodes]) for x in ('state', 'action'))
  return buffer, state, action


def donors(buffer, action):
  """{(row, step): row of the action} of what stands in for unplayed ones."""
  batch = buffer.actor_batch(buffer.starts)
  found = {}
  for b, row in enumerate(buffer.starts):
    for k in np.flatnonzero(~batch.valid[b, : batch.unplayed.shape[1]] & batch.ended[b]):
      same = np.flatnonzero((action == batch.unplayed[b, k]).all(axis=1))
      assert len(same) == 1
      found[int(row), int(k)] = int(same[0])
  return found


def test_the_critic_reads_what_was_executed_where_others_went_on():
  buffer, _, action = make_replay([SUCCESS, FAILURE, TAKEOVER, FAILURE])
  filled = donors(buffer, action)
  # The last two steps of every episode start chunks that lack one action and two.
  assert sorted(filled) == [
    key for last in (8, 17, 26, 35) for key in ((last - 1, 2), (last, 1), (last, 2))
  ]
  for (row, step), donor in filled.items():
    assert donor % LENGTH >= step  # the action of that step of a chunk of the donor's episode
    assert donor - step != row
  batch = buffer.actor_batch(buffer.starts)
  action, valid = action_critic.read(batch, None, tiny.make_settings(past_end='executed'))
  assert valid.all()
  np.testing.assert_array_equal(action, batch.unplayed)
  played = batch.valid[..., None]
  np.testing.assert_array_equal(np.where(played, action, 0), np.where(played, batch.action, 0))


def test_an_end_that_is_not_terminal_stays_masked():
  buffer, _, _ = make_replay([SUCCESS, CUT])
  batch = buffer.actor_batch(buffer.starts)
  _, valid = action_critic.read(batch, None, tiny.make_settings(past_end='executed'))
  cut = buffer.end_reason[buffer.fragments.last[buffer.starts]] == CUT
  np.testing.assert_array_equal(valid[cut], batch.valid[cut])
  assert not batch.valid[cut].all() and valid[~cut].all()


def test_donors_are_asked_for_the_same_thing():
  prompts = ['put it there', 'and back'] * 3
  buffer, _, action = make_replay([SUCCESS, FAILURE] * 3, prompts)
  for (row, _), donor in donors(buffer, action).items():
    assert prompts[row // LENGTH] == prompts[donor // LENGTH]


def test_who_is_asked_for_something_else_alone_is_given_what_others_did():
  buffer, _, action = make_replay([SUCCESS, FAILURE], ['put it there', 'and back'])
  rows = np.setdiff1d(buffer.starts, np.arange(LENGTH, 2 * LENGTH - 1))  # of the second, the last
  buffer.continue_ended(rows)
  batch = buffer.actor_batch(rows[-1:])
  assert (action[:LENGTH] == batch.unplayed[0, 1]).all(axis=1).any()


def test_relative_actions_are_relative_to_the_state_of_their_own_chunk():
  inputs = dataclasses.replace(tiny.INPUTS, delta=(1, -1))
  buffer, state, action = make_replay([SUCCESS, FAILURE, FAILURE], inputs=inputs)
  rows = np.array([8, 16, 26])
  batch = buffer.actor_batch(rows)
  for b, row in enumerate(rows):
    for k in np.flatnonzero(~batch.valid[b]):
      donor = int(np.flatnonzero(action[:, 1] == batch.unplayed[b, k, 1])[0])
      assert donor - k != row
      relative = action[donor, 0] - state[donor - k, 0]
      assert batch.unplayed[b, k, 0] == pytest.approx(relative, abs=1e-6)


def test_a_critic_of_fewer_steps_than_the_actor_continues_fewer():
  buffer, _, action = make_replay([SUCCESS, FAILURE], critic_horizon=2)
  assert sorted(donors(buffer, action)) == [(8, 1), (17, 1)]
  batch = buffer.actor_batch(buffer.starts)
  assert batch.unplayed.shape[1] == 2 and batch.action.shape[1] == 3
  read, valid = action_critic.read(batch, None, tiny.make_settings(past_end='executed'))
  assert read.shape[1] == 2 and valid.all()


def test_a_critic_of_single_steps_has_nothing_to_continue():
  buffer, _, _ = make_replay([SUCCESS, FAILURE], critic_horizon=1)
  batch = buffer.actor_batch(buffer.starts)
  np.testing.assert_array_equal(batch.unplayed, batch.action[:, :1])


def test_where_nothing_ended_chunks_stay_as_they_are():
  buffer, _, _ = make_replay([CUT, CUT])
  batch = buffer.actor_batch(buffer.starts)
  np.testing.assert_array_equal(batch.unplayed, batch.action)


def test_chunks_of_some_rows_are_continued_out_of_one_another():
  buffer, _, action = make_replay([SUCCESS, FAILURE, FAILURE], continued=False)
  assert buffer.actor_batch(buffer.starts).unplayed is None
  rows = np.array([3, 7, 8])
  buffer.continue_ended(rows)
  batch = buffer.actor_batch(rows)
  np.testing.assert_array_equal(batch.unplayed[1, 2], action[5])
  assert (batch.unplayed[2, 2] == action[[5, 7]]).all(axis=1).any()


def test_two_hosts_read_what_one_reads():
  (alone, *_), parts = make_replay([SUCCESS, FAILURE]), []
  for number in range(2):
    half, *_ = make_replay([SUCCESS, FAILURE], host=(number, 2))
    parts.append(half.critic_batches(3, 0, 4, 6, None).unplayed)
  whole = alone.critic_batches(3, 0, 4, 6, None)
  np.testing.assert_array_equal(whole.unplayed, np.concatenate(parts, axis=1))
  again, *_ = make_replay([SUCCESS, FAILURE])
  np.testing.assert_array_equal(whole.unplayed, again.critic_batches(3, 0, 4, 6, None).unplayed)


@pytest.mark.parametrize('backup', ['td', 'monte_carlo'])
@pytest.mark.parametrize('banked', [True, False])
def test_every_critic_of_actions_learns_from_it(backup, banked):
  learner = tiny.make_learner(backup=backup, past_end='executed')
  state, (buffer, *_) = tiny.make_state(learner), make_replay([SUCCESS, FAILURE])
  bank = tiny.normal(np.random.default_rng(1), len(buffer), 2, tiny.HORIZON, tiny.ACTION)
  batches = buffer.critic_batches(3, 0, 1, len(buffer.starts), bank if banked else None)
  unplayed = (batches.ended[..., None] & ~batches.valid)[..., None]
  assert unplayed.any()

  def updated(shift):
    changed = dataclasses.replace(batches, unplayed=batches.unplayed + shift)
    return updates.step(learner, state, changed)[0].critic

  before = updated(0)
  updates.assert_trees_equal(before, updated(np.where(unplayed, 0, 1)))
  other = updated(np.where(unplayed, 1, 0))
  moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, other)
  assert max(jax.tree.leaves(moved)) > 1e-4


def test_a_buffer_of_nothing_but_ended_chunks_is_refused():
  buffer, *_ = make_replay([SUCCESS], continued=False)
  with pytest.raises(ValueError, match='after 2 steps, but none of the 1 chunks'):
    buffer.continue_ended(np.array([7]))
