"""The card's numbers on fragments small enough to work them out by hand."""

import numpy as np
import pytest

from aloe_jax import estimates
from aloe_jax import types
from aloe_jax.reporting import card
from aloe_jax.reporting import judgement
from aloe_jax.reporting import numbers as report_numbers

SUCCESS, FAILURE, TAKEOVER, TIMEOUT, CUT = (
  types.EndReason[name] for name in ('SUCCESS', 'FAILURE', 'TAKEOVER', 'TIMEOUT', 'CUT')
)
DEMO, POLICY, HUMAN = types.Source


def make_judgement(*fragments, **columns):
  """Every step judged of fragments (scores, end, source), an episode each; and the episodes."""
  lengths = [len(scores) for scores, *_ in fragments]
  first = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
  row = np.arange(sum(lengths))
  last = np.repeat(np.cumsum(lengths) - 1, lengths)
  score = np.concatenate([np.array(scores, float) for scores, *_ in fragments])
  end = np.repeat([end for _, end, _ in fragments], lengths)
  known = dict(
    row=row,
    first=first,
    left=last - row,
    source=np.repeat([source for *_, source in fragments], lengths),
    end=end,
    terminal=end != CUT,
    returns=score.copy(),
    score=score,
    advantage=score.copy(),
    v=score.copy(),
  )
  episode = np.repeat(np.arange(len(fragments)), lengths)
  return judgement.Judgement(**known | columns), episode


def measure(judged, episode, horizon=2):
  found = report_numbers.measure(judged, episode, horizon=horizon, discount=0.9)
  return {name: x.value for name, x in found.items()}


def test_a_rise_is_the_last_chunks_over_the_earlier_ones_without_the_last_step():
  scores = [-5, -7, -2, -4, 100]  # of a horizon of 3: -2 and -4 reach the end; 100 is the end
  judged, _ = make_judgement((scores, FAILURE, POLICY), ([1, 2], FAILURE, POLICY))
  start, rise = report_numbers.rises(judged, np.ones(7, bool), horizon=3)
  np.testing.assert_array_equal(start, [0])  # the other is too short
  np.testing.assert_array_equal(rise, [-3 - (-6)])


def test_falls_are_counted_among_failures_and_takeovers_against_successes():
  judged, episode = make_judgement(
    ([-4, -4, -9, -9], FAILURE, POLICY),
    ([-4, -4, -5, -9], TAKEOVER, POLICY),
    ([-4, -4, -3, -9], FAILURE, POLICY),
    ([-4, -4, -3, 0], SUCCESS, POLICY),
    ([-4, -4, -9, 0], SUCCESS, POLICY),
    ([-4, -4, -9, 0], TIMEOUT, POLICY),  # has no failing step
    ([-4, -4, -9, 0], FAILURE, HUMAN),  # is not the policy's
    ([-4, -4, -9, 0], CUT, POLICY),
  )
  numbers = measure(judged, episode)
  assert numbers['falls_failure'] == pytest.approx(2 / 3)
  assert numbers['falls_success'] == pytest.approx(1 / 2)
  assert numbers['falls_gap'] == pytest.approx(2 / 3 - 1 / 2)


def test_calibration_is_of_bins_of_equally_many_chunks():
  score, returns = np.array([4.0, 1, 2, 3]), np.array([1.0, 2, 4, 3])
  predicted, realised, count = report_numbers.calibration(score, returns, bins=2)
  np.testing.assert_array_equal(predicted, [1.5, 3.5])
  np.testing.assert_array_equal(realised, [3, 2])
  np.testing.assert_array_equal(count, [2, 2])
  assert report_numbers.calibration_error(score, returns) == (1 + 2 + 0 + 3) / 4  # a bin each


def test_bias_is_by_source_and_only_where_the_return_is_whole():
  scores = [-3.0, -2, -1]
  judged, episode = make_judgement(
    (scores, SUCCESS, POLICY), (scores, SUCCESS, HUMAN), (scores, CUT, POLICY)
  )
  judged.returns[:3] += 2  # the score lies 2 below what came
  judged.returns[3:6] -= 1
  judged.returns[6:] += 50
  numbers = measure(judged, episode)
  assert numbers['bias_policy'] == pytest.approx(-2)
  assert numbers['bias_human'] == pytest.approx(1)
  assert 'bias_demo' not in numbers
  assert numbers['returns_std'] == pytest.approx(np.std(scores))


def test_early_is_the_first_quarter_of_the_mean_length():
  # Of 8 steps: the first three chunks, up to two steps old; later ones would turn the order round.
  judged, episode = make_judgement(
    ([-2, -2, -2, -9, -9, -9, -9, -9], SUCCESS, POLICY),
    ([-3, -3, -3, 9, 9, 9, 9, 9], FAILURE, POLICY),
  )
  judged.returns[:] = np.where(judged.end == SUCCESS, -1.0, -2.0)
  numbers = measure(judged, episode)
  assert numbers['auroc_early'] == 1
  assert numbers['spearman_early'] == pytest.approx(1)
  assert numbers['spearman_own'] < 0


def test_doubts_are_compared_between_what_leads_into_failures_and_successes():
  q = np.array([[0, 0, 1, 0, 4, 4], [2, 2, 5, 2, 4, 8]], float)
  columns = dict(
    q=q,
    sampled_q=q + 1,
    td_error=np.array([1.0, -1, -3, 9, 2, -2]),
    advantage=np.array([9.0, 9, -5, 9, 1, 3]),
    returns=np.zeros(6),
    v=np.array([3.0, 3, 3, 3, 9, 9]),
  )
  judged, episode = make_judgement(
    ([0, 0, 0, 0], FAILURE, POLICY), ([0, 0], SUCCESS, POLICY), **columns
  )
  numbers = measure(judged, episode)  # of a horizon of 2 chunk 2 alone leads into the failure
  assert numbers['spread_gap'] == 2 - (0 + 2) / 2
  assert numbers['td_error_gap'] == 3 - 2
  assert numbers['advantage_gap'] == -5 - 2
  assert numbers['overestimation'] == pytest.approx(q.mean() + 1)
  assert numbers['bias_v'] == pytest.approx(5)


@pytest.mark.parametrize(
  'mean, verdict', [(0.5, 'good'), (-0.5, 'good'), (1.5, 'fair'), (3, 'bad'), (-3, 'bad')]
)
def test_a_mean_advantage_is_measured_by_the_deviation_of_advantages(mean, verdict):
  exact = {'advantage': mean, 'advantage_std': 10.0}
  numbers = {name: estimates.Estimate(x, np.nan, np.nan) for name, x in exact.items()}
  (line,) = card.lines(numbers)
  assert line.verdict == verdict
  assert ('try critic.horizon=execute' in line.advice) == (verdict == 'bad')


def judged_noise(q, v, returns):
  """As many chunks as numbers are given, of one success after the other."""
  fragments = [([0] * 10, SUCCESS, POLICY)] * (len(v) // 10)
  columns = dict(q=np.stack([q, q]), sampled_q=np.stack([v, v]), td_error=np.zeros(len(v)))
  return make_judgement(*fragments, advantage=q - v, v=v, returns=returns, **columns)


def test_what_advantages_promise_is_held_against_what_came_where_v_is_alike():
  v = np.repeat(np.arange(10.0), 10)  # ten groups; in each the two highest and the two lowest
  order = np.tile(np.arange(10.0), 10)
  judged, episode = judged_noise(q=v + order, v=v, returns=-50 + 3 * v + order / 2)
  numbers = measure(judged, episode)
  assert numbers['advantage_promised'] == (8 + 9) / 2 - (0 + 1) / 2
  assert numbers['advantage_kept'] == pytest.approx(8 / 2)


def test_a_critic_of_noise_keeps_nothing_though_v_is_in_its_advantage():
  rng = np.random.default_rng(0)
  judged, episode = judged_noise(*(40 * rng.normal(size=(3, 20_000))))
  numbers = measure(judged, episode)
  assert numbers['advantage_promised'] > 80
  assert abs(numbers['advantage_kept']) < 2


@pytest.mark.parametrize(
  'name, low, high, verdict',
  [
    ('advantage_gap', -2, -1, 'good'),
    ('advantage_gap', -1, 1, 'fair'),
    ('advantage_gap', 1, 2, 'bad'),
    ('advantage_kept', 1, 3, 'good'),
    ('advantage_kept', -1, 3, 'fair'),
    ('advantage_kept', -3, 1, 'fair'),
    ('advantage_kept', -3, -1, 'bad'),
    ('auroc_early', 0.6, 0.9, 'good'),
    ('auroc_early', 0.4, 0.7, 'fair'),
    ('auroc_early', 0.3, 0.4, 'bad'),
  ],
)
def test_a_sign_that_chance_could_give_is_no_verdict(name, low, high, verdict):
  (line,) = card.lines({name: estimates.Estimate((low + high) / 2, low, high)})
  assert line.verdict == verdict


def test_how_far_the_discount_looks():
  judged, episode = make_judgement(
    ([-1, -1, -1], SUCCESS, POLICY),
    ([-1], SUCCESS, POLICY),
    ([-7, -1], TIMEOUT, POLICY),
    ([-9], FAILURE, HUMAN),
  )
  numbers = measure(judged, episode)
  assert numbers['effective_horizon'] == pytest.approx(10)
  assert numbers['success_length'] == 2
  assert numbers['end_weight'] == pytest.approx(0.81)
  assert numbers['return_gap'] == numbers['score_gap'] == -1 - (-7)


def test_what_no_episode_shows_is_null_and_told_as_such():
  judged, episode = make_judgement(([-2, -1, -1], FAILURE, POLICY))
  numbers = report_numbers.measure(judged, episode, horizon=2, discount=0.9)
  flat = report_numbers.flat(numbers)
  assert flat['falls_success'] is None
  assert flat['auroc_early'] is None
  assert 'overestimation' not in flat  # is of a critic of actions
  lines = {line.name: line for line in card.lines(numbers)}
  assert (lines['falls_gap'].verdict, lines['falls_gap'].value) == ('undefined', 'not defined')


def test_weights_are_shared_by_source():
  told = {'clipped_high': 0.25, 'clipped_low': 0.5, 'effective_sample_size': 0.5}
  weight, source = np.array([3.0, 1, 0]), np.array([POLICY, HUMAN, HUMAN])
  numbers = report_numbers.of_weights(told, weight, source)
  shown = {name: x.value for name, x in numbers.items()}
  assert shown == told | {'clipped': 0.75, 'share_policy': 0.75, 'share_human': 0.25}


@pytest.mark.parametrize(
  'value, low, verdict', [(0.7, 0.6, 'good'), (0.4, 0.2, 'fair'), (0.4, -0.1, 'bad')]
)
def test_a_rank_that_chance_could_give_is_bad(value, low, verdict):
  numbers = {'spearman_own': report_numbers.Estimate(value, low, 0.9)}
  (line,) = card.lines(numbers)
  assert line.verdict == verdict
  assert line.value == f'{value:.2f} ({low:.2f} to 0.90)'


def test_numbers_are_shown_in_their_units():
  x = report_numbers.Estimate(0.256, 0.2, 0.3)
  assert card.show(x, '%') == '26 % (20 to 30)'
  assert card.show(x, 'steps') == '0.3 steps (0.2 to 0.3)'
