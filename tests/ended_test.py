"""Whether ended chunks show their end is measured on a world where the answer is known.

Every episode has a number that is in its state. Its actions lie around that number, each near the
one before; the policy plans them around zero.
"""

import dataclasses

import numpy as np
import pytest
import tiny

from aloe_jax import estimates
from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.reporting import card
from aloe_jax.reporting import ended

NONE, SUCCESS, FAILURE = types.EndReason.NONE, types.EndReason.SUCCESS, types.EndReason.FAILURE
CUT = types.EndReason.CUT


def make_buffer(episodes=32, length=25, horizon=tiny.HORIZON, end=FAILURE, seed=0):
  rng = np.random.default_rng(seed)
  made = []
  for _ in range(episodes):
    episode = tiny.make_episode(rng, [NONE] * (length - 1) + [end])
    number, action = rng.normal(), np.empty_like(episode.action)
    action[0] = rng.normal(size=tiny.ACTION)
    for step in range(1, length):
      action[step] = 0.5 * action[step - 1] + rng.normal(scale=0.75, size=tiny.ACTION)
    state = np.zeros_like(episode.state)
    state[:, 0] = number
    made.append(dataclasses.replace(episode, action=action + np.float32(number), state=state))
  chunking = replay.Chunking(horizon, horizon, discount=0.9, fail_cost=5.0)
  return replay.Replay(tiny.make_steps(made), tiny.INPUTS, chunking)


def episode(buffer, rows):
  return np.unique(buffer.fragments.first, return_inverse=True)[1][rows]


def measure(buffer, past_end, **changes):
  asked = []

  def plan(rows):
    asked.append(rows)
    rng = np.random.default_rng(1)
    return tiny.normal(rng, len(rows), buffer.chunking.horizon, tiny.ACTION)

  settings, rows = tiny.make_settings(past_end=past_end), buffer.starts
  found = ended.auroc(buffer, settings, rows, episode(buffer, rows), plan, **changes)
  assert bool(asked) == (past_end == 'policy')
  return found


def test_plans_that_leave_the_episode_behind_are_told_from_what_was_executed():
  found = measure(make_buffer(), 'policy')
  assert found.value > found.low > 0.65
  (line,) = card.lines({'ended_auroc': found})
  assert line.verdict == 'bad'


def test_what_others_executed_after_a_like_beginning_is_not():
  found = measure(make_buffer(), 'executed')
  assert found.low < 0.55
  assert found.value < 0.6


def test_a_mask_shows_every_end():
  found = measure(make_buffer(), 'mask')
  assert (found.value, found.low, found.high) == (1, 1, 1)


def test_a_seed_repeats_itself_to_the_last_bit():
  buffer = make_buffer(episodes=8)
  assert measure(buffer, 'policy', seed=3) == measure(buffer, 'policy', seed=3)
  assert measure(buffer, 'policy', seed=3) != measure(buffer, 'policy', seed=4)


def test_where_nothing_ended_cuts_are_anywhere():
  assert measure(make_buffer(end=CUT), 'mask').value == 1


@pytest.mark.parametrize('past_end', ['executed', 'policy', 'mask'])
@pytest.mark.parametrize('why', ['too few episodes', 'one step', 'no whole chunk'])
def test_where_there_is_nothing_to_tell_it_is_not_defined(why, past_end):
  buffer = make_buffer(
    episodes=3 if why == 'too few episodes' else 6, horizon=1 if why == 'one step' else 3
  )
  rows = buffer.starts
  if why == 'no whole chunk':
    rows = rows[~buffer.transitions(rows).valid[:, -1]]
  settings = tiny.make_settings(past_end=past_end)
  found = ended.auroc(buffer, settings, rows, episode(buffer, rows), None)
  assert np.isnan([found.value, found.low, found.high]).all()
  (line,) = card.lines({'ended_auroc': found})
  assert line.verdict == 'undefined'


def test_a_cut_chunk_goes_on_as_donors_alone_did():
  buffer = make_buffer(episodes=8)
  whole = buffer.starts[buffer.transitions(buffer.starts).valid[:, -1]]
  own = episode(buffer, whole)
  rows, donors = whole[own < 2], whole[own >= 4]
  steps = np.arange(len(rows)) % 2 + 1
  action = buffer.continued(rows, steps, donors)
  executed, lent = (np.asarray(buffer.chunks(x)[0]) for x in (rows, donors))
  for index, played in enumerate(steps):
    np.testing.assert_array_equal(action[index, :played], executed[index, :played])
    assert (lent[:, played:] == action[index, played:]).all(axis=(1, 2)).any()


@pytest.mark.parametrize(
  'value, low, high, verdict',
  [
    (0.52, 0.49, 0.55, 'good'),
    (0.56, 0.54, 0.58, 'good'),  # may be 0.55
    (0.57, 0.56, 0.58, 'fair'),
    (0.52, 0.3, 0.7, 'fair'),  # may be anything
    (0.8, 0.5, 0.95, 'fair'),  # may be a coin
    (0.7, 0.6, 0.75, 'bad'),
  ],
)
def test_what_shows_is_judged_by_what_its_interval_allows(value, low, high, verdict):
  (line,) = card.lines({'ended_auroc': estimates.Estimate(value, low, high)})
  assert line.verdict == verdict
