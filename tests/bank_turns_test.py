"""Which of the bank's M actions a chunk is given: all of them in turn, whoever acted in it."""

import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import replay

NONE, SUCCESS = types.EndReason.NONE, types.EndReason.SUCCESS
SAMPLES = 3
LENGTHS = {types.Source.DEMO: 4, types.Source.POLICY: 11, types.Source.HUMAN: 7}
PLAIN = dict(demo=0.0, policy=0.0, human=0.0)


def drawn(ratios, count, host=(0, 1)):
  """Rows and members [n, B] of the bank that batches of 6 chunks take, at s_t and after."""
  rng = np.random.default_rng(0)
  episodes = [
    tiny.make_episode(rng, [NONE] * (length - 1) + [SUCCESS], source, 'put it there')
    for source, length in LENGTHS.items()
  ]
  steps = tiny.make_steps(episodes)
  chunking = replay.Chunking(tiny.HORIZON, 1, 0.9, 6.0)
  buffer = replay.Replay(steps, tiny.INPUTS, chunking, ratios, host)
  number = np.arange(len(steps))[:, None] * SAMPLES + np.arange(SAMPLES)
  bank = np.broadcast_to(number[..., None, None], (*number.shape, tiny.HORIZON, tiny.ACTION))
  batch = buffer.critic_batches(5, 0, count, 6, bank.astype(np.float32))
  now, after = (x[:, :, 0, 0, 0].astype(int) for x in (batch.policy_action, batch.next_action))
  return now // SAMPLES, now % SAMPLES, after % SAMPLES


@pytest.mark.parametrize(
  'ratios',
  [PLAIN, dict(demo=1.0, policy=1.0, human=1.0), dict(demo=0.6, policy=0.1, human=0.3)],
)
def test_every_visit_of_a_chunk_takes_the_next_member_and_neighbours_take_different_ones(ratios):
  rows, now, after = drawn(ratios, 120)
  np.testing.assert_array_equal(now, after)
  taken = {row: [] for row in range(sum(LENGTHS.values()))}
  for row, member in zip(rows.reshape(-1), now.reshape(-1), strict=True):
    taken[row].append(member)
  for row, members in taken.items():
    assert len(members) >= SAMPLES
    expected = (row + np.arange(len(members))) % SAMPLES
    np.testing.assert_array_equal(members, expected)
    following = taken.get(row + 1, [])
    of_one_pass = zip(members, following, strict=False)
    assert all(one != other for one, other in of_one_pass)


def test_hosts_take_the_members_that_one_would():
  ratios = dict(demo=0.6, policy=0.1, human=0.3)
  shares = [drawn(ratios, 40, (host, 2)) for host in range(2)]
  for whole, *parts in zip(drawn(ratios, 40), *shares, strict=True):
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
