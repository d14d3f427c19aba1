"""Fragments and chunks against a brute-force backup that walks every episode step by step."""

import dataclasses

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import fragments

DEMO, POLICY, HUMAN = types.Source
NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = types.EndReason
DISCOUNT = 0.9
FAIL_COST = 7.0

options = strategies.fixed_dictionaries(
  {
    'timeout': strategies.sampled_from(['failure', 'bootstrap']),
    'takeover': strategies.sampled_from(['failure', 'continue']),
  }
)


@dataclasses.dataclass
class Step:
  source: types.Source
  end_reason: types.EndReason


@strategies.composite
def fragment(draw, ends):
  """One fragment of 1 to 6 steps; where a human hands back to the policy, it goes on."""
  length = draw(strategies.integers(1, 6))
  human = draw(strategies.integers(0, length))
  sources = draw(
    strategies.sampled_from([[DEMO] * length, [HUMAN] * human + [POLICY] * (length - human)])
  )
  end = draw(strategies.sampled_from(ends))
  return [Step(s, NONE) for s in sources[:-1]] + [Step(sources[-1], end)]


def buffers(ends=(SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT)):
  """One to four episodes, each of one to four fragments, as lists of `Step`."""
  episode = strategies.lists(fragment(ends), min_size=1, max_size=4).map(
    lambda parts: [step for part in parts for step in part]
  )
  return strategies.lists(episode, min_size=1, max_size=4)


def columns(episodes):
  """Source, end reason and first-step mark of all episodes laid end to end."""
  source = np.array([s.source for e in episodes for s in e], np.int8)
  end_reason = np.array([s.end_reason for e in episodes for s in e], np.int8)
  is_first = np.array([t == 0 for e in episodes for t in range(len(e))])
  return source, end_reason, is_first


def walk(episode, start, horizon, *, timeout, takeover):
  """Takes up to `horizon` steps from `start`, never past a fragment's end.

  Returns:
    The steps taken, the discounted reward seen, and the step whose state is bootstrapped
    from, or None where the walk reaches a terminal end.
  """
  failures = [FAILURE]
  if timeout == 'failure':
    failures.append(TIMEOUT)
  if takeover == 'failure':
    failures.append(TAKEOVER)
  taken, total, t = [], 0.0, start
  while len(taken) < horizon:
    end = episode[t].end_reason
    reward, ends_here, goes_on = -1.0, end != NONE, end == NONE
    if end == SUCCESS:
      reward = 0.0
    elif end in failures:
      reward = -FAIL_COST
    elif end == TAKEOVER and t + 1 < len(episode):
      goes_on = True
    elif end != NONE:
      return taken, total, t  # what this step led to was never seen
    total += DISCOUNT ** len(taken) * reward
    taken.append(t)
    if not goes_on:
      return taken, total, None
    t += 1
    if ends_here:
      break
  return taken, total, t


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
@hypothesis.given(buffers(), strategies.integers(1, 8), options)
def test_chunks_equal_a_walk_along_the_episode(episodes, horizon, option):
  source, end_reason, is_first = columns(episodes)
  table = fragments.index(source, end_reason, is_first, **option)
  reward = rewards.step_rewards(end_reason, fail_cost=FAIL_COST, **option).astype(np.float64)
  rows = fragments.starts(table)
  chunks = fragments.chunk(table, rows, horizon, reward, DISCOUNT)

  expected_rows, i = [], 0
  for offset, episode in zip(np.flatnonzero(is_first), episodes, strict=True):
    for start in range(len(episode)):
      taken, total, bootstrap = walk(episode, start, horizon, **option)
      if not taken:
        continue
      expected_rows.append(offset + start)
      n = len(taken)
      padded = taken + [taken[-1]] * (horizon - n)
      np.testing.assert_array_equal(chunks.action_row[i], offset + np.array(padded))
      np.testing.assert_array_equal(chunks.valid[i], np.arange(horizon) < n)
      assert chunks.steps[i] == n
      np.testing.assert_allclose(chunks.reward[i], total)
      if bootstrap is None:
        assert chunks.discount[i] == 0
        assert 0 <= chunks.next_row[i] < len(source)
      else:
        np.testing.assert_allclose(chunks.discount[i], DISCOUNT**n)
        assert chunks.next_row[i] == offset + bootstrap
      i += 1
  np.testing.assert_array_equal(rows, expected_rows)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(buffers(ends=(SUCCESS, FAILURE, TIMEOUT, TAKEOVER)), strategies.integers(1, 8))
def test_where_every_end_is_terminal_any_horizon_backs_up_the_monte_carlo_return(episodes, horizon):
  source, end_reason, is_first = columns(episodes)
  table = fragments.index(source, end_reason, is_first)
  reward = rewards.step_rewards(end_reason, fail_cost=FAIL_COST).astype(np.float64)
  returns = rewards.monte_carlo_returns(reward, table.last, DISCOUNT)
  rows = fragments.starts(table)
  np.testing.assert_array_equal(rows, np.arange(len(source)))
  chunks = fragments.chunk(table, rows, horizon, reward, DISCOUNT)
  np.testing.assert_allclose(chunks.reward + chunks.discount * returns[chunks.next_row], returns)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(buffers(), options)
def test_fragments_are_the_runs_between_ends(episodes, option):
  _, end_reason, is_first = columns(episodes)
  table = fragments.index(*columns(episodes), **option)
  ends = [row for row, end in enumerate(end_reason) if end != NONE]
  assert table.lengths.tolist() == np.diff([-1, *ends]).tolist()
  for row in range(len(end_reason)):
    last = min(end for end in ends if end >= row)
    first = max([end + 1 for end in ends if end < row], default=0)
    assert (table.first[row], table.last[row]) == (first, last)
    assert not is_first[first + 1 : last + 1].any()


def test_a_cut_bootstraps_from_the_last_recorded_state():
  table = fragments.index(
    np.array([POLICY] * 4), np.array([NONE, NONE, NONE, CUT]), np.array([1, 0, 0, 0], bool)
  )
  rows = fragments.starts(table)
  np.testing.assert_array_equal(rows, [0, 1, 2])  # what the action of row 3 led to is unknown
  chunks = fragments.chunk(table, rows, 2, np.full(4, -1.0), 0.5)
  np.testing.assert_allclose(chunks.reward, [-1.5, -1.5, -1])
  np.testing.assert_allclose(chunks.discount, [0.25, 0.25, 0.5])
  np.testing.assert_array_equal(chunks.next_row, [2, 3, 3])


def test_a_takeover_that_continues_bootstraps_from_the_first_state_of_the_human():
  columns_of_takeover = (
    np.array([POLICY, POLICY, HUMAN, POLICY]),
    np.array([NONE, TAKEOVER, NONE, SUCCESS]),
    np.array([True, False, False, False]),
  )
  reward = np.array([-1.0, -1.0, -1.0, 0.0])
  table = fragments.index(*columns_of_takeover, takeover='continue')
  chunks = fragments.chunk(table, np.arange(4), 3, reward, 0.5)
  np.testing.assert_array_equal(chunks.steps, [2, 1, 2, 1])
  np.testing.assert_allclose(chunks.discount, [0.25, 0.5, 0, 0])
  np.testing.assert_array_equal(chunks.next_row[:2], [2, 2])

  table = fragments.index(*columns_of_takeover)
  chunks = fragments.chunk(table, np.arange(4), 3, reward, 0.5)
  np.testing.assert_allclose(chunks.discount, [0, 0, 0, 0])


def test_reward_and_discount_keep_the_type_of_the_rewards():
  table = fragments.index(np.array([DEMO]), np.array([SUCCESS]), np.array([True]))
  chunks = fragments.chunk(table, np.array([0]), 2, np.float32([0]), 0.99)
  assert chunks.reward.dtype == chunks.discount.dtype == np.float32


def test_an_episode_without_an_end_is_refused_by_name():
  is_first = np.array([True, False, True, False, True])
  end_reason = np.array([NONE, SUCCESS, NONE, NONE, CUT])
  with pytest.raises(ValueError, match=r'step 1 of episode 1 is the last.*end_reason NONE'):
    fragments.index(np.full(5, DEMO), end_reason, is_first)


def test_a_takeover_that_is_not_marked_is_refused_by_name():
  source = np.array([DEMO, POLICY, POLICY, HUMAN])
  end_reason = np.array([SUCCESS, NONE, NONE, SUCCESS])
  with pytest.raises(ValueError, match=r'step 1 of episode 1 is the last of the policy.*TAKEOVER'):
    fragments.index(source, end_reason, np.array([True, True, False, False]))


def test_a_buffer_that_starts_in_the_middle_of_an_episode_is_refused():
  with pytest.raises(ValueError, match='does not begin with the first step'):
    fragments.index(np.array([DEMO]), np.array([SUCCESS]), np.array([False]))


def test_a_chunk_longer_than_every_fragment_is_refused_with_both_lengths():
  fragments.check_horizon(np.array([3, 5, 2]), 5)
  with pytest.raises(ValueError, match='longest of 3 fragments has 5 steps, but a chunk has 6'):
    fragments.check_horizon(np.array([3, 5, 2]), 6)
