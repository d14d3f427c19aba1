import itertools

import jax
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import sampler
from aloe_jax.run import streams


def test_no_two_streams_seeds_or_numbers_share_an_integer_or_a_key():
  every = list(itertools.product((0, 1, 7), streams.Stream, (0, 1, 2, 4095)))
  assert len({streams.integer(*each) for each in every}) == len(every)
  keys = {tuple(jax.random.key_data(streams.key(*each)).tolist()) for each in every}
  assert len(keys) == len(every)


def test_integers_are_those_that_runs_were_made_with():
  assert streams.integer(3, streams.Stream.ACTOR_ROWS, 4) == (3 * 16 + 5) * 4096 + 4


def test_more_iterations_than_a_stream_has_room_for_are_refused():
  with pytest.raises(ValueError, match='number 4096 of the stream BANK: expected 0 to 4095'):
    streams.integer(0, streams.Stream.BANK, 4096)


def test_with_ratios_no_source_of_any_iteration_is_drawn_in_the_order_of_another():
  rows = np.arange(300)
  ratios = dict(demo=1.0, policy=1.0, human=1.0)
  orders = []
  for iteration in range(4):
    seed = streams.integer(0, streams.Stream.CRITIC_ROWS, 2 * iteration)
    for kind in types.Source:
      alone = sampler.Sampler(rows, np.full(300, kind, np.int8), ratios)
      orders.append(alone.batches(seed, 0, 1, 300)[0])
    orders.append(sampler.sample_rows(rows, seed, 0, 300))
  for one, other in itertools.combinations(orders, 2):
    assert (one == other).mean() < 0.05
