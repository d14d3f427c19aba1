"""The replay's streams and batches against the episodes they were cut from."""

import dataclasses
import io
import os

import jax
import numpy as np
from PIL import Image
import pytest
import simplejpeg
import tiny

from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer

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


def make_replay(episodes, critic_horizon=2, **changes):
  chunking = replay.Chunking(tiny.HORIZON, critic_horizon, DISCOUNT, FAIL_COST)
  return replay.Replay(
    tiny.make_steps(episodes), dataclasses.replace(tiny.INPUTS, **changes), chunking
  )


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
  proprio = np.concatenate([episode.state for episode in episodes])
  return [int(np.flatnonzero((proprio == shown).all(1))[0]) for shown in observation.proprio]


def check_observation(observation, episodes, rows):
  for b, row in enumerate(rows):
    episode, t = place(episodes, row)
    tokens, mask = ENCODE(episode.prompt)
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
    np.testing.assert_array_equal(batch.position, [0, 1])
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
  np.testing.assert_array_equal(batch.position, np.arange(5))
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


@pytest.mark.parametrize('hosts', [2, 4])
def test_hosts_together_read_the_batches_that_one_would(episodes, hosts):
  rng = np.random.default_rng(0)
  bank = rng.random((15, 2, 3, 2)).astype(np.float32)
  whole = make_replay(episodes).critic_batches(1, 3, 5, 8, bank)
  weight = np.arange(15, dtype=np.float32)
  whole_actor = make_replay(episodes).actor_batches(1, 3, 5, 8, np.arange(5), weight)
  chunking = replay.Chunking(tiny.HORIZON, 2, DISCOUNT, FAIL_COST)
  shares, actor_shares = [], []
  for host in range(hosts):
    buffer = replay.Replay(tiny.make_steps(episodes), tiny.INPUTS, chunking, host=(host, hosts))
    shares.append(buffer.critic_batches(1, 3, 5, 8, bank))
    actor_shares.append(buffer.actor_batches(1, 3, 5, 8, np.arange(5), weight))

  def joined(*parts):
    return np.concatenate(parts, axis=1)

  jax.tree.map(np.testing.assert_array_equal, jax.tree.map(joined, *shares), whole)
  jax.tree.map(np.testing.assert_array_equal, jax.tree.map(joined, *actor_shares), whole_actor)


def test_rewards_that_are_trusted_take_the_place_of_those_of_the_outcome(episodes):
  recorded = tiny.Recorded(episodes)
  recorded.reward = np.arange(15, dtype=np.float32)
  chunking = replay.Chunking(tiny.HORIZON, 2, DISCOUNT, FAIL_COST)
  buffer = replay.Replay(steps_lib.Steps([recorded]), tiny.INPUTS, chunking)
  batch = at(buffer.critic_batches(0, 0, 1, 14, None), 0)
  rows = np.array(find(episodes, batch.observation))
  (first,) = np.flatnonzero(rows == 2)
  np.testing.assert_allclose(batch.reward[first], (2 + DISCOUNT * 3) * SCALE, rtol=1e-6)


def test_a_row_succeeded_if_its_own_fragment_ended_in_success():
  rng = np.random.default_rng(0)
  saved = tiny.make_episode(rng, [NONE, NONE, TAKEOVER, NONE, NONE, SUCCESS])
  failed = tiny.make_episode(rng, [NONE, NONE, NONE, FAILURE])
  found = make_replay([saved, failed]).succeeded
  np.testing.assert_array_equal(found, [False] * 3 + [True] * 3 + [False] * 4)


def test_a_horizon_longer_than_every_fragment_is_refused():
  rng = np.random.default_rng(0)
  with pytest.raises(ValueError, match='longest of 2 fragments has 2 steps, but a chunk has 3'):
    make_replay([tiny.make_episode(rng, [NONE, TAKEOVER, NONE, SUCCESS])])


# Images, and the units and words of a robot


def colour(number, camera, step):
  """A colour of its own for every step of every camera of every episode."""
  return np.array([60 * number + 20, 50 * camera + 40, 30 * step + 30], np.uint8)


def flat(number, camera, length, height, width):
  """Images of those colours, [T, H, W, 3]."""
  colours = np.stack([colour(number, camera, step) for step in range(length)])
  return np.tile(colours[:, None, None], (1, height, width, 1))


def png(image):
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, 'png')
  return stream.getvalue()


@pytest.fixture(scope='module')
def filmed(episodes):
  """Episodes of 6, 5 and 4 steps: in bytes, with a camera missing; as arrays; not filmed."""
  jpegs = [simplejpeg.encode_jpeg(x, quality=95) for x in flat(0, 0, 6, 16, 16)]
  pngs = [png(x) for x in flat(0, 1, 6, 4, 16)]
  arrays = {camera: flat(1, view, 5, 16, 8) for view, camera in enumerate(types.CAMERAS)}
  images = ({'head': jpegs, 'left_wrist': pngs}, arrays, None)
  return [
    dataclasses.replace(episode, images=shown)
    for episode, shown in zip(episodes, images, strict=True)
  ]


# On a square of 8: rows and columns that hold the image, the rest is black.
INSIDE = {
  (0, 'head'): np.s_[:, :],
  (0, 'left_wrist'): np.s_[3:5, :],  # 4 x 16 becomes 2 x 8
  (1, 'head'): np.s_[:, 2:6],  # 16 x 8 becomes 8 x 4
  (1, 'left_wrist'): np.s_[:, 2:6],
  (1, 'right_wrist'): np.s_[:, 2:6],
}


def test_images_are_those_of_their_row_and_camera_fitted_into_the_networks_square(filmed):
  buffer = make_replay(filmed, image_size=8)
  rows = np.array([8, 3, 12, 0, 5, 10])
  observation = buffer.observation(rows, images=True)
  for b, row in enumerate(rows):
    number, t = (0, row) if row < 6 else (1, row - 6) if row < 11 else (2, row - 11)
    for view, camera in enumerate(types.CAMERAS):
      expected = np.zeros((8, 8, 3), np.uint8)
      there = (number, camera) in INSIDE
      if there:
        expected[INSIDE[number, camera]] = colour(number, view, t)
      assert observation.image_masks[camera][b] == there
      found = observation.images[camera][b]
      assert found.dtype == np.uint8
      lossy = (number, camera) == (0, 'head')  # a JPEG
      np.testing.assert_allclose(found.astype(int), expected, atol=3 if lossy else 0)
  assert buffer.observation(rows).images is None


def test_batches_hold_the_images_of_now_and_next_where_they_are_asked_for(filmed):
  buffer = make_replay(filmed, image_size=8)
  batch = at(buffer.critic_batches(0, 0, 1, 6, None, images=True), 0)
  for shown in (batch.observation, batch.next_observation):
    expected = buffer.observation(np.array(find(filmed, shown)), images=True)
    jax.tree.map(np.testing.assert_array_equal, shown, expected)
  batch = at(buffer.actor_batches(0, 0, 1, 6, buffer.starts, None, images=True), 0)
  expected = buffer.observation(np.array(find(filmed, batch.observation)), images=True)
  jax.tree.map(np.testing.assert_array_equal, batch.observation, expected)
  assert buffer.actor_batches(0, 0, 1, 6, buffer.starts, None).observation.images is None


@pytest.mark.parametrize('threads', [1, 2, 16])
def test_the_number_of_threads_changes_nothing(filmed, threads, monkeypatch):
  buffer, rows = make_replay(filmed, image_size=8), np.array([8, 3, 12, 0, 5, 10, 10, 1])
  expected = buffer.observation(rows, images=True)
  monkeypatch.setattr(os, 'cpu_count', lambda: threads)
  jax.tree.map(np.testing.assert_array_equal, buffer.observation(rows, images=True), expected)


def test_chunks_count_from_the_state_they_start_in_and_are_then_normalised(episodes):
  state = np.zeros((4, types.PROPRIO_SIZE), np.float32)
  state[:, :2] = [[1, 9], [2, 9], [4, 9], [8, 9]]
  action = np.float32([[3, 10], [5, 14], [9, 18], [17, 22]])
  short = dataclasses.replace(episodes[2], state=state, action=action)  # its end is a cut
  stats = normalize.Stats(np.array([1.0, 10]), np.array([2.0, 4]))
  score, other = normalize.ZScore(stats, 'actions'), normalize.ZScore(stats, 'state')
  buffer = make_replay([short], action=score, state=other, state_size=2, delta=(1, -1))
  np.testing.assert_array_equal(buffer.starts, [0, 1, 2])
  # The first number is relative: 3 - 1, 5 - 1, 9 - 1 from the first state; then (x - 1) / 2.
  # The second is (x - 10) / 4. Past the end the last action is repeated.
  expected = [
    [[0.5, 0], [1.5, 1], [3.5, 2]],
    [[1, 1], [3, 2], [3, 2]],
    [[2, 2], [2, 2], [2, 2]],
  ]
  chunk, valid = buffer.chunks(buffer.starts)
  np.testing.assert_allclose(chunk, expected, atol=1e-5)
  np.testing.assert_array_equal(valid, [[1, 1, 1], [1, 1, 0], [1, 0, 0]])
  np.testing.assert_array_equal(buffer.actor_batch(buffer.starts).action, chunk)
  critics = at(buffer.critic_batches(0, 0, 1, 3, None), 0)
  shown = buffer.observation(buffer.starts).proprio
  rows = (critics.observation.proprio[:, None] == shown).all(-1).argmax(-1)
  np.testing.assert_array_equal(critics.action, chunk[rows, :2])


def test_the_prompt_of_a_row_tells_its_normalised_state(episodes):
  encode = tokenizer.PromptTokenizer(tokenizer.Words(50_000), 20, discrete_state=True)
  score = normalize.ZScore(normalize.Stats(np.full(3, 0.25), np.full(3, 4.0)), 'state')
  buffer = make_replay(episodes, tokenizer=encode, state=score, state_size=3)
  rows = np.array([7, 0, 13, 5])
  observation = buffer.observation(rows)
  for b, row in enumerate(rows):
    episode, t = place(episodes, row)
    state = (episode.state[t, :3] - 0.25) / 4
    np.testing.assert_allclose(observation.proprio[b], np.pad(state, (0, 29)), atol=1e-5)
    tokens, mask = encode(episode.prompt, state)
    np.testing.assert_array_equal(observation.prompt_tokens[b], tokens)
    np.testing.assert_array_equal(observation.prompt_mask[b], mask)
  assert len(np.unique(observation.prompt_tokens, axis=0)) == 4


def test_fragments_that_failed_can_be_left_out(episodes):
  steps = tiny.make_steps(episodes)
  starts = {}
  for failures in (True, False):
    chunking = replay.Chunking(tiny.HORIZON, 2, DISCOUNT, FAIL_COST, failures=failures)
    starts[failures] = replay.Replay(steps, tiny.INPUTS, chunking).starts
  # Rows 6 and 7 ended in a take-over, 8 to 10 in a failure; the cut at row 14 is none.
  assert set(starts[True]) - set(starts[False]) == set(range(6, 11)) & set(starts[True])
  assert set(starts[False]) == set(starts[True]) - set(range(6, 11))
  assert {0, 11} <= set(starts[False])
  assert {6, 8} <= set(starts[True])
