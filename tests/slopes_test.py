"""Outcomes of chunks, worked out by hand, and what their slope on the advantage tells."""

import numpy as np
import pytest
import report_numbers_test

from aloe_jax import estimates
from aloe_jax import types
from aloe_jax.learning import outcomes
from aloe_jax.reporting import card
from aloe_jax.reporting import slopes

SUCCESS, FAILURE, CUT = (types.EndReason[name] for name in ('SUCCESS', 'FAILURE', 'CUT'))
POLICY = types.Source.POLICY


def realised(judged, discount):
  """Outcomes of two steps."""
  told = judged.row, judged.left, judged.terminal, judged.returns, judged.v
  return outcomes.realised(*told, after=2, discount=discount)


def test_an_outcome_is_two_steps_of_reward_and_the_value_after_them_or_the_return():
  rewards, v = [-1.0, -1, -1, -8], np.array([-3.0, -4, -5, -6])
  returns = [-1 + 0.5 * (-1 + 0.5 * (-1 + 0.5 * -8)), -1 + 0.5 * (-1 + 0.5 * -8), -5.0, -8]
  judged, _ = report_numbers_test.make_judgement(
    (rewards, FAILURE, POLICY), returns=np.array(returns), v=v
  )
  expected = [
    -1 - 0.5 + 0.25 * -5 - -3,  # V two steps on
    -1 - 0.5 + 0.25 * -6 - -4,
    -1 + 0.5 * -8 - -5,  # ended before
    -8 - -6,
  ]
  np.testing.assert_allclose(realised(judged, 0.5), expected)


def test_what_a_cut_leaves_open_and_other_fragments_are_left_out():
  judged, _ = report_numbers_test.make_judgement(
    ([1.0, 2, 3], CUT, POLICY), ([4.0, 5], SUCCESS, POLICY), v=np.zeros(5)
  )
  found = realised(judged, 1.0)
  # The returns of a cut fragment hold over the steps that it has.
  np.testing.assert_array_equal(found, [1 - 3, np.nan, np.nan, 4, 5])


@pytest.mark.parametrize('horizon, execute, steps', [(8, 2, 16), (50, 15, 105), (1, 1, 2)])
def test_steps_are_two_chunks_up_to_where_a_chunk_is_planned(horizon, execute, steps):
  assert outcomes.steps(horizon, execute) == steps


def noise(rng, tells):
  """Fragments of 20 chunks, of whose return the advantage tells a share."""
  v, advantage, luck = 10 * rng.normal(size=(3, 4000))
  fragments = [([0] * 20, SUCCESS, POLICY)] * 200
  returns = tells * advantage + luck  # V tells nothing at all
  return report_numbers_test.make_judgement(
    *fragments, advantage=advantage - v, v=v, returns=returns
  )


@pytest.mark.parametrize('tells', [0, 0.5, 1])
def test_a_slope_is_what_the_advantage_tells_though_it_shares_the_errors_of_v(tells):
  judged, episode = noise(np.random.default_rng(0), tells)
  found = slopes.measure(judged, episode, horizon=4, execute=1, discount=0.9)
  full = found['advantage_slope_full']
  assert full.low < tells < full.high
  assert full.high - full.low < 0.15


@pytest.mark.parametrize(
  'value, low, high, verdict',
  [
    (0.9, 0.7, 1.1, 'good'),
    (0.3, 0.1, 0.5, 'fair'),
    (2, 1.5, 2.5, 'fair'),
    (0.2, -0.1, 0.5, 'fair'),
    (0.1, -0.1, 0.25, 'bad'),
    (0.2, 0.15, 0.25, 'bad'),
  ],
)
def test_a_slope_is_bad_where_it_is_surely_small(value, low, high, verdict):
  (line,) = card.lines({'advantage_slope': estimates.Estimate(value, low, high)})
  assert line.verdict == verdict
