"""The replay's streams and batches against the episodes they were cut from."""

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import replay

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = types.EndReason
DISCOUNT, FAIL_COST = 0.9, 6.0
SCALE = 1 / (1 / (1 - DISCOUNT) + FAIL_COST)

ENDS = (
  [NONE] * 5 + [SUCCESS],
  [NONE, TAKEOVER, NONE, NONE, FAILURE],
  [NONE] * 3 + [CUT],
)
PROMPTS = ('put it there', 'and back', 'put it there')
TERMINAL = (SUCCESS, FAILURE, TIMEOUT, TAKEOVER)


@pytest.fixture(scope='module')
def episodes():
  rng = np.random.default_rng(0)
  made = [
    tiny.make_episode(rng, ends, source, prompt)
    for ends, source, prompt in zip(ENDS, types.Source, PROMPTS, strict=True)
  ]
  made[1].source[:2], made[1].source[2:] = types.Source.POLICY, types.Source.HUMAN
  return made


ENCODE = tiny.INPUTS.tokenizer


def make_replay(episodes, critic_horizon=2):
  chunking = replay.Chunking(tiny.HORIZON, critic_horizon, DISCOUNT, FAIL_COST)
  return replay.Replay(episodes, tiny.INPUTS, chunking)


def place(episodes, row):
  """The episode that a row lies in and its step there."""
  for episode in episodes:
    if row < len(episode):
      return episode, row
    row -= len(episode)
  raise IndexError(row)


def walk(episode, t, horizon):
  """The chunk at step t and the return from it: one step after the other, as on the robot."""
  reward, discount, steps, terminal = 0.0, 1.0, 0, False
  while steps < horizon:
    end = episode.end_reason[t + steps]
    if end == CUT:  # the state after it was not recorded: its last step cannot be backed up
      break
    step_reward = {NONE: -1, SUCCESS: 0}.get(end, -FAIL_COST)
    reward, discount, steps = reward + discount * step_reward, discount * DISCOUNT, steps + 1
    if end in TERMINAL:
      terminal = True
      break
  return reward * SCALE, 0.0 if terminal else discount, steps


def monte_carlo(episode, t):
  end = episode.end_reason[t]
  reward = {NONE: -1, SUCCESS: 0, CUT: -1}.get(end, -FAIL_COST) * SCALE
  return reward if end != NONE else reward + DISCOUNT * monte_carlo(episode, t + 1)


def find(episodes, observation):
  """Rows [B] whose content the observations show."""
  proprio = np.concatenate([episode.proprio for episode in episodes])
  return [int(np.flatnonzero((proprio == shown).all(1))[0]) for shown in observation.proprio]


def check_observation(observation, episodes, rows):
  for b, row in enumerate(rows):
    episode, t = place(episodes, row)
    tokens, mask = ENCODE(episode.language_instruction)
    np.testing.assert_array_equal(observation.features[b], episode.features[t])
    np.testing.assert_array_equal(observation.prompt_tokens[b], tokens)
    np.testing.assert_array_equal(observation.prompt_mask[b], mask)


def check_chunk(batch, b, episode, t, steps, horizon):
  """n actions of the episode, then the last of them again."""
  played = [episode.action[t + min(k, steps - 1)] for k in range(horizon)]
  np.testing.assert_array_equal(batch.action[b], played)
  np.testing.assert_array_equal(batch.valid[b], np.arange(horizon) < steps)


def at(batches, number):
  return jax.tree.map(lambda leaf: leaf[number], batches)


@pytest.mark.parametrize('horizon', [1, 2, 3])
def test_critic_batches_are_what_a_walk_along_the_episodes_finds(episodes, horizon):
  buffer = make_replay(episodes, horizon)
  batches = buffer.critic_batches(seed=3, step=0, count=7, size=2, bank=None)
  seen = []
  for number in range(7):
    batch = at(batches, number)
    rows = find(episodes, batch.observation)
    seen += rows
    check_observation(batch.observation, episodes, rows)
    next_rows = find(episodes, batch.next_observation)
    check_observation(batch.next_observation, episodes, next_rows)
    for b, row in enumerate(rows):
      episode, t = place(episodes, row)
      reward, discount, steps = walk(episode, t, horizon)
      check_chunk(batch, b, episode, t, steps, horizon)
      np.testing.assert_allclose(batch.reward[b], reward, rtol=1e-6)
      np.testing.assert_allclose(batch.discount[b], discount, rtol=1e-6)
      np.testing.assert_allclose(batch.returns[b], monte_carlo(episode, t), rtol=1e-6)
      if discount:
        assert next_rows[b] == row + steps
    np.testing.assert_array_equal(batch.row, [0, 1])
    assert batch.next_action is None
  # one pass over the 15 rows, all of which can start a chunk but the one that was cut off
  assert sorted(seen) == list(range(14))


def test_actor_batches_have_whole_chunks_with_their_weights_and_returns(episodes):
  buffer = make_replay(episodes)
  rows = np.array([0, 5, 6, 8, 12])
  weight = np.arange(15, dtype=np.float32) / 8
  batches = buffer.actor_batches(seed=3, step=0, count=1, size=5, rows=rows, weight=weight)
  batch = at(batches, 0)
  found = find(episodes, batch.observation)
  assert sorted(found) == rows.tolist()
  check_observation(batch.observation, episodes, found)
  np.testing.assert_array_equal(batch.weight, weight[found])
  np.testing.assert_array_equal(batch.row, np.arange(5))
  for b, row in enumerate(found):
    episode, t = place(episodes, row)
    check_chunk(batch, b, episode, t, walk(episode, t, tiny.HORIZON)[2], tiny.HORIZON)
    np.testing.assert_allclose(batch.returns[b], monte_carlo(episode, t), rtol=1e-6)


def test_actor_batches_carry_no_weights_where_the_step_computes_them(episodes):
  buffer = make_replay(episodes)
  assert buffer.actor_batches(0, 0, 1, 2, buffer.starts, None).weight is None


def test_next_actions_are_the_banks_at_the_state_that_is_bootstrapped_from(episodes):
  buffer, samples = make_replay(episodes), 3
  name = np.arange(15)[:, None] * samples + np.arange(samples)  # of each row's each sample
  bank = np.broadcast_to(name[..., None, None], (15, samples, 3, 2)).astype(np.float32)
  batches = buffer.critic_batches(seed=3, step=0, count=samples, size=14, bank=bank)
  used = []
  for number in range(samples):
    batch = at(batches, number)
    assert batch.next_action.shape == (14, 1, 3, 2)
    drawn = batch.next_action[:, 0, 0, 0].astype(int)
    live = batch.discount > 0
    np.testing.assert_array_equal(
      (drawn // samples)[live], np.array(find(episodes, batch.next_observation))[live]
    )
    used.append((drawn % samples)[np.argsort(find(episodes, batch.observation))])
  # M passes take all M samples of every state
  np.testing.assert_array_equal(np.sort(used, axis=0), np.tile(np.arange(3)[:, None], (1, 14)))


def test_batches_of_any_range_are_a_slice_of_one_stream(episodes):
  buffer = make_replay(episodes)
  bank = np.random.default_rng(0).random((15, 2, 3, 2)).astype(np.float32)
  whole = buffer.critic_batches(seed=1, step=0, count=9, size=4, bank=bank)
  part = buffer.critic_batches(seed=1, step=5, count=3, size=4, bank=bank)
  jax.tree.map(np.testing.assert_array_equal, part, jax.tree.map(lambda x: x[5:8], whole))
  weight = np.ones(15, np.float32)
  whole = buffer.actor_batches(1, 0, 9, 4, buffer.starts, weight)
  part = buffer.actor_batches(1, 5, 3, 4, buffer.starts, weight)
  jax.tree.map(np.testing.assert_array_equal, part, jax.tree.map(lambda x: x[5:8], whole))


def test_every_pass_visits_every_row_once_in_an_order_of_its_own():
  rows = np.array([2, 3, 5, 7, 11, 13, 17])
  passes = replay.sample_rows(rows, seed=4, first=0, count=28).reshape(4, 7)
  for one in passes:
    np.testing.assert_array_equal(np.sort(one), rows)
  assert len({tuple(one) for one in passes}) == 4


@pytest.mark.parametrize('first, count', [(0, 1), (3, 4), (6, 2), (7, 7), (13, 15), (20, 0)])
def test_samples_depend_on_seed_and_position_alone(first, count):
  rows = np.arange(100, 107)
  stream = replay.sample_rows(rows, seed=4, first=0, count=40)
  part = replay.sample_rows(rows, seed=4, first=first, count=count)
  np.testing.assert_array_equal(part, stream[first : first + count])


def test_another_seed_gives_another_order():
  rows = np.arange(50)
  streams = [replay.sample_rows(rows, seed=seed, first=0, count=50) for seed in range(3)]
  assert (streams[0] != streams[1]).any()
  assert (streams[1] != streams[2]).any()


def test_sampling_from_no_rows_says_so():
  with pytest.raises(ValueError, match='there is no row to sample'):
    replay.sample_rows(np.array([], int), seed=0, first=0, count=1)


def test_a_horizon_longer_than_every_fragment_is_refused():
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match='longest of 2 fragments has 2 steps, but a chunk has 3'):
    make_replay([tiny.make_episode(rng, [NONE, TAKEOVER, NONE, SUCCESS])])
