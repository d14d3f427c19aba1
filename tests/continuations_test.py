"""What ended chunks are filled up with, against what a search of all chunks finds."""

import dataclasses

import numpy as np
import pytest

from aloe_jax.data import continuations

HORIZON = 4


def recorded(state, action, steps, group=None):
  """Chunks that are rows of their own: 10 rows apart, the first action at the first."""
  starts = 10 * np.arange(len(steps))
  return continuations.Recorded(
    starts=starts,
    steps=np.asarray(steps),
    ended=np.asarray(steps) < HORIZON,
    group=np.zeros(len(steps), int) if group is None else np.asarray(group),
    state=lambda rows: np.asarray(state, np.float32)[rows // 10],
    action=lambda source: np.asarray(action, np.float32)[source // 10, np.arange(HORIZON)],
    horizon=HORIZON,
  )


def random(seed, count, ended, groups=1):
  rng = np.random.default_rng(seed)
  state = rng.standard_normal((count, 3))
  action = 0.5 * rng.standard_normal((count, HORIZON, 2))
  for k in range(1, HORIZON):
    action[:, k] += 0.6 * action[:, k - 1] + 0.3 * state[:, :2]
  steps = np.full(count, HORIZON)
  steps[rng.choice(count, ended, replace=False)] = rng.integers(1, HORIZON, ended)
  return recorded(state, action, steps, rng.integers(0, groups, count))


def searched(chunks):
  """{row: source [h]} found one chunk and one donor at a time, the longest played first."""
  source = {row: np.full(HORIZON, row) for row in chunks.starts}
  state = chunks.state(chunks.starts)
  state = np.clip((state - state.mean(axis=0)) / (state.std(axis=0) + 1e-6), -5, 5)
  whole = chunks.steps == HORIZON

  def told(numbers, played):
    action = np.stack([chunks.action(source[chunks.starts[n]][None])[0] for n in numbers])
    known = np.clip(action[:, :played].reshape(len(numbers), -1), -3, 3)
    return np.column_stack([np.ones(len(numbers)), state[numbers], known]), action[:, played:]

  for played in range(HORIZON - 1, 0, -1):
    x, y = told(np.flatnonzero(whole), played)
    y = np.clip(y.reshape(len(y), -1), -3, 3)
    ridge = continuations.RIDGE * len(x) * np.eye(x.shape[1])
    weight = np.linalg.solve(x.T @ x + ridge, x.T @ y)
    left = np.sqrt((y * (y - x @ weight)).sum(axis=0) / len(x))
    found = {}
    for asked in np.flatnonzero(chunks.steps == played):
      able = np.flatnonzero((chunks.steps > played) & (chunks.group == chunks.group[asked]))
      own, theirs = told([asked], played)[0], told(able, played)[0]
      distance = np.square((theirs - own) @ weight / left).sum(axis=1)
      distance += continuations.SAME * np.square(theirs - own)[:, 1:].mean(axis=1)
      found[chunks.starts[asked]] = source[chunks.starts[able[distance.argmin()]]][played:]
    for row, rest in found.items():
      source[row][played:] = rest
  return source


@pytest.mark.parametrize('groups', [1, 3])
def test_the_donor_is_the_chunk_of_which_the_same_is_told(groups):
  chunks = random(0, 400, ended=60, groups=groups)
  found, expected = continuations.find(chunks), searched(chunks)
  assert found.rows.tolist() == chunks.starts[chunks.ended].tolist()
  same = [(source == expected[row]).all() for row, source in zip(*_fields(found), strict=True)]
  assert np.mean(same) > 0.95  # but for ties, of two donors that are as near


def _fields(found):
  return found.rows, found.source


def test_what_was_played_stays():
  chunks = random(1, 300, ended=50)
  found = continuations.find(chunks)
  for row, source in zip(*_fields(found), strict=True):
    played = chunks.steps[row // 10]
    np.testing.assert_array_equal(source[:played], row)
    assert (source[played:] != row).all()


def alike(kinds, ended, steps):
  """Whole chunks of one beginning that go on in some ways, {last actions: how many}."""
  whole = [(1, 1, *rest) for rest, count in kinds.items() for _ in range(count)]
  action = np.array([*whole, *[(1, 1, 0, 0)] * ended])[..., None]
  return recorded(np.ones((len(action), 2)), action, [HORIZON] * len(whole) + [steps] * ended)


@pytest.mark.parametrize('seed', range(3))
def test_donors_that_are_alike_are_drawn_in_their_proportions(seed):
  kinds = {(1, 1): 120, (1, -1): 60, (-1, 1): 20}
  chunks = alike(kinds, ended=40, steps=2)
  found = continuations.find(chunks, seed=seed)
  drawn = [tuple(chunks.action(source[None])[0, 2:, 0].astype(int)) for source in found.source]
  for kind, count in kinds.items():
    assert abs(drawn.count(kind) - count / 5) <= 1, kind
  assert len(set(found.source[:, 2])) == 40  # nobody is taken twice while there are others


def test_of_few_chunks_each_donor_is_as_likely_as_another():
  chunks = alike({(1, 1): 3, (-1, 1): 1}, ended=1, steps=2)
  drawn = [continuations.find(chunks, seed=seed).source[0, 2] for seed in range(800)]
  _, counts = np.unique(drawn, return_counts=True)
  # 200 of each: five deviations of sqrt(800 / 4 * 3 / 4).
  assert len(counts) == 4 and np.abs(counts - 200).max() < 5 * np.sqrt(150)


def test_a_donor_that_ended_later_hands_on_what_it_was_given():
  near, far = [1.0, 1.0], [-1.0, -1.0]
  actions = [[9, 0, 0, 0], [9, 8, 0, 0], [9, 8, 7, 0], [9, 8, 7, 6], [0, 0, 0, 0], [0, 0, 0, 1]]
  state = [near, near, near, near, far, far]
  found = continuations.find(recorded(state, np.array(actions)[..., None], [1, 2, 3, 4, 4, 4]))
  np.testing.assert_array_equal(found.source[2], [20, 20, 20, 30])
  assert found.source[1, 2] in (20, 30) and found.source[1, 3] == 30
  assert found.source[0, 1] in (10, 20, 30) and found.source[0, 3] == 30


def test_where_the_model_tells_the_same_the_state_and_the_beginning_decide():
  # Half of the chunks go straight on, half either way: the mean is the same.
  state = np.repeat([[1.0], [-1.0]], 200, axis=0)
  later = np.where(state > 0, 0, np.tile([[1], [-1]], (200, 1)))
  action = np.stack([np.zeros_like(later), *[later] * 3], axis=1)
  steps = np.full(400, HORIZON)
  steps[[0, 1, 200, 201]] = 1
  chunks = recorded(state, action, steps)
  found = continuations.find(chunks)
  assert (chunks.action(found.source[:2])[:, 1:] == 0).all()
  assert (chunks.action(found.source[2:])[:, 1:] != 0).all()


def test_donors_are_of_the_same_group_or_of_any_where_it_has_none():
  action = np.zeros((6, HORIZON, 1))
  found = continuations.find(recorded(np.zeros((6, 1)), action, [1, 1, 4, 4, 4, 4], range(6)))
  assert set(found.source[:, 1]) <= {20, 30, 40, 50}
  group = [0, 1, 0, 1, 0, 1]
  found = continuations.find(recorded(np.zeros((6, 1)), action, [1, 1, 4, 4, 4, 4], group))
  assert found.source[0, 1] in (20, 40) and found.source[1, 1] in (30, 50)


def test_the_same_chunks_give_the_same_twice():
  chunks = random(2, 500, ended=80)
  np.testing.assert_array_equal(
    continuations.find(chunks).source, continuations.find(chunks).source
  )


def test_donors_are_drawn_where_there_are_many(monkeypatch):
  monkeypatch.setattr(continuations, 'DONORS', 50)
  chunks = random(3, 2000, ended=100)
  found = continuations.find(chunks)
  donors = set(found.source.reshape(-1)) - set(found.rows)
  assert 10 < len(donors) <= 50
  assert (found.source[:, 1:] != found.rows[:, None])[:, -1].all()


def test_progress_is_told_up_to_the_last_chunk():
  told = []
  continuations.find(random(4, 900, ended=400), progress=told.append)
  assert told[-1] == 400 and told == sorted(told)


def test_without_an_ended_chunk_nothing_is_found():
  found = continuations.find(random(5, 20, ended=0))
  ended, source = found.of(np.array([0, 10]))
  assert not ended.any() and source.shape == (0, HORIZON)


def test_an_end_that_nobody_went_beyond_is_refused():
  chunks = recorded(np.zeros((3, 1)), np.zeros((3, HORIZON, 1)), [2, 2, 1])
  with pytest.raises(ValueError, match='after 2 steps, but none of the 3 chunks'):
    continuations.find(chunks)


def test_numbers_that_never_move_choose_no_donor():
  chunks = random(3, count=400, ended=60)
  still = np.full((HORIZON, 5), -1.0)

  def with_still(source):
    own = chunks.action(source)
    return np.concatenate([own, np.broadcast_to(still, (len(own), *still.shape))], axis=2)

  widened = dataclasses.replace(chunks, action=with_still)
  found, expected = continuations.find(widened), continuations.find(chunks)
  np.testing.assert_array_equal(found.source, expected.source)


def test_where_donors_are_drawn_small_prompts_keep_all_of_theirs(monkeypatch):
  monkeypatch.setattr(continuations, 'DONORS', 40)
  group = np.repeat([0, 1, 2], [200, 150, 6])
  drawn = continuations._drawn(np.arange(356), group, np.random.default_rng(0))
  assert np.bincount(group[drawn]).tolist() == [17, 17, 6]


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_state_that_is_no_number_is_named(value):
  state = np.zeros((3, 1))
  state[1] = value
  chunks = recorded(state, np.zeros((3, HORIZON, 1)), [HORIZON, HORIZON, 1])
  with pytest.raises(ValueError, match='row 10 of the buffer are not finite'):
    continuations.find(chunks)


def test_the_largest_states_are_compared_too():
  chunks = recorded(np.full((3, 1), 3e38), np.zeros((3, HORIZON, 1)), [HORIZON, HORIZON, 1])
  assert continuations.find(chunks).source[0, -1] in (0, 10)
