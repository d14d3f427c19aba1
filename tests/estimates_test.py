"""Statistics against SciPy and by hand, and intervals that know which rows belong together."""

import numpy as np
import pytest
import scipy.stats

from aloe_jax import estimates

ONES = np.ones(5)


def ones(statistic, rows):
  return statistic(np.ones(rows))


def test_spearman_is_scipys_with_ties_too():
  rng = np.random.default_rng(0)
  x, y = rng.integers(0, 5, 60), rng.integers(0, 9, 60)
  y[:30] += x[:30]
  expected = scipy.stats.spearmanr(x, y).statistic
  assert ones(estimates.spearman(x, y), 60) == pytest.approx(expected, abs=1e-12)


def test_auroc_is_the_share_of_pairs_in_the_right_order():
  x, positive = np.array([3, 1, 2, 2, 0]), np.array([True, True, True, False, False])
  # Against 2: over, below, equal; against 0: over three times.
  assert estimates.auroc(x, positive)(ONES) == (1 + 0 + 0.5 + 3) / 6


@pytest.mark.parametrize('statistic', [estimates.spearman, estimates.auroc, estimates.mean])
def test_a_row_that_counts_twice_is_as_good_as_two(statistic):
  rng = np.random.default_rng(1)
  x, other = rng.integers(0, 6, 20), rng.integers(0, 2, 20).astype(bool)
  count = rng.integers(0, 4, 20)
  repeated = statistic(np.repeat(x, count), np.repeat(other, count))
  assert statistic(x, other)(count) == pytest.approx(ones(repeated, count.sum()), abs=1e-12)


def test_a_difference_is_of_two_means():
  x = np.array([1.0, 3, 10, 20, 99])
  first, second = np.array([1, 1, 0, 0, 0], bool), np.array([0, 0, 1, 1, 0], bool)
  assert estimates.difference(x, first, second)(ONES) == 2 - 15


def test_what_the_rows_do_not_define_is_nan():
  same, none = np.ones(5), np.zeros(5, bool)
  assert np.isnan(estimates.spearman(same, np.arange(5))(ONES))
  assert np.isnan(estimates.auroc(np.arange(5), none)(ONES))
  assert np.isnan(estimates.mean(same, none)(ONES))
  found = estimates.estimate(estimates.mean(same, none), np.arange(5))
  assert np.isnan([found.value, found.low, found.high]).all()
  assert np.isnan(estimates.estimate(estimates.mean(same[:0]), np.arange(0)).value)


def test_rows_of_one_episode_have_a_number_and_no_interval():
  found = estimates.estimate(estimates.mean(np.array([1.0, 3.0])), np.zeros(2, int))
  assert found.value == 2
  assert np.isnan([found.low, found.high]).all()


def test_an_interval_is_as_wide_as_the_episodes_make_it_however_many_rows_they_have():
  rng = np.random.default_rng(2)
  level = rng.normal(size=40)
  found = [
    estimates.estimate(estimates.mean(np.repeat(level, rows)), np.repeat(np.arange(40), rows))
    for rows in (1, 50)
  ]
  assert found[0].value == pytest.approx(found[1].value)
  assert found[0].low == pytest.approx(found[1].low)
  half_width = 1.96 * level.std() / np.sqrt(40)
  assert found[1].high - found[1].value == pytest.approx(half_width, rel=0.15)
  apart = estimates.estimate(estimates.mean(np.repeat(level, 50)), np.arange(2000))
  assert apart.high - apart.low < (found[1].high - found[1].low) / 5


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
  rng = np.random.default_rng(3)
  covered = 0
  for trial in range(100):
    x = np.repeat(rng.normal(size=30), 3) + 0.1 * rng.normal(size=90)
    found = estimates.estimate(estimates.mean(x), np.repeat(np.arange(30), 3), seed=trial)
    covered += found.low < 0 < found.high
  assert 87 <= covered <= 99


def test_sums_of_episodes_are_resampled_as_rows_are():
  rng = np.random.default_rng(4)
  (x, y, given), episode = rng.normal(size=(3, 60)), np.repeat(np.arange(12), 5)
  first, second = episode % 3 == 0, episode % 3 == 1
  for statistic in (
    estimates.mean(x, first),
    estimates.difference(x, first, second),
    estimates.slope(y, x, given, ~second),
  ):
    by_rows = estimates.estimate(lambda count, of=statistic: of(count), episode)
    by_sums = estimates.estimate(statistic, episode)
    expected = [by_rows.value, by_rows.low, by_rows.high]
    np.testing.assert_allclose([by_sums.value, by_sums.low, by_sums.high], expected, rtol=1e-9)


def test_a_slope_is_that_of_least_squares_with_what_is_given_beside_it():
  rng = np.random.default_rng(5)
  x, given, noise = rng.normal(size=(3, 40))
  y, among = 100 + 2 * x - 3 * given + noise, np.arange(40) < 30
  columns = np.stack([np.ones(30), x[:30], given[:30]], axis=1)
  expected = np.linalg.lstsq(columns, y[:30])[0][1]
  assert ones(estimates.slope(y, x, given, among), 40) == pytest.approx(expected)
  # By hand: nothing is held where it is constant, and what x says no more than it has no slope.
  x, y = np.array([0.0, 1, 2, 9, 9]), np.array([5.0, 6, 10, 9, 9])
  among = np.arange(5) < 3
  assert estimates.slope(y, x, np.ones(5), among)(ONES) == pytest.approx(2.5)
  assert np.isnan(estimates.slope(y, x, 3 * x + 1, among)(ONES))
  assert np.isnan(estimates.slope(y, np.ones(5), x, among)(ONES))


@pytest.mark.parametrize('of_all', [0, 1])
def test_a_share_of_none_or_all_has_an_interval_of_as_many_trials_as_episodes(of_all):
  episode = np.repeat(np.arange(8), 3)  # three rows each, which say the same
  found = estimates.share(np.full(24, float(of_all)), np.ones(24, bool), episode)
  width = 1.96**2 / (8 + 1.96**2)  # Wilson's, of 0 of 8
  expected = (1 - width, 1) if of_all else (0, width)
  np.testing.assert_allclose((found.low, found.high), expected, atol=1e-4)
  assert found.value == of_all


def test_a_share_that_resamples_tell_is_left_to_them():
  x, episode = np.array([0.0, 1, 0, 0]), np.arange(4)
  among = np.ones(4, bool)
  assert estimates.share(x, among, episode) == estimates.estimate(estimates.mean(x, among), episode)
  assert np.isnan(estimates.share(x, ~among, episode).value)


def test_two_shares_of_none_differ_by_what_few_trials_leave_open():
  first = np.arange(128) < 8
  found = estimates.share_difference(np.zeros(128), first, ~first, np.arange(128))
  few, many = (1.96**2 / (n + 1.96**2) for n in (8, 120))
  np.testing.assert_allclose((found.low, found.high), (-many, few), atol=1e-4)
  assert found.value == 0
