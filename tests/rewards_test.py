"""Eq. (14), its scale and the Monte-Carlo returns, on buffers small enough to do by hand."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from aloe_jax import rewards
from aloe_jax import types

NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = types.EndReason
EVERY_END = np.array([NONE, SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT], np.int8)


class StepRewardsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('in_the_paper', {}, [-1, 0, -50, -50, -50, -1]),
    ('when_a_timeout_bootstraps', {'timeout': 'bootstrap'}, [-1, 0, -50, -1, -50, -1]),
    ('when_a_takeover_continues', {'takeover': 'continue'}, [-1, 0, -50, -50, -1, -1]),
  )
  def test_reward_of_each_end(self, options, expected):
    reward = rewards.step_rewards(EVERY_END, fail_cost=50, **options)
    np.testing.assert_array_equal(reward, np.float32(expected))
    self.assertEqual(reward.dtype, np.float32)

  @parameterized.named_parameters(
    ('in_the_paper', {}, [0, 1, 1, 1, 1, 0]),
    ('when_a_timeout_bootstraps', {'timeout': 'bootstrap'}, [0, 1, 1, 0, 1, 0]),
    ('when_a_takeover_continues', {'takeover': 'continue'}, [0, 1, 1, 1, 0, 0]),
  )
  def test_which_ends_are_terminal(self, options, expected):
    np.testing.assert_array_equal(
      rewards.is_terminal(EVERY_END, **options), np.array(expected, bool)
    )

  def test_each_task_may_have_its_own_cost_of_failure(self):
    reward = rewards.step_rewards(np.array([FAILURE, FAILURE]), fail_cost=np.array([3.0, 7.0]))
    np.testing.assert_array_equal(reward, [-3, -7])

  @parameterized.parameters('timeout', 'takeover')
  def test_a_misspelt_option_is_refused_by_name(self, option):
    with self.assertRaisesRegex(ValueError, f"{option} is 'bootstap'; expected 'failure' or"):
      rewards.step_rewards(EVERY_END, fail_cost=1, **{option: 'bootstap'})


class ScaleTest(parameterized.TestCase):
  def test_it_is_the_inverse_of_an_endless_episode_and_a_failure(self):
    self.assertAlmostEqual(rewards.reward_scale(0.9, 40.0), 1 / (10 + 40))

  @parameterized.product(end=[SUCCESS, FAILURE], steps=[1, 5, 1000], fail_cost=[1.0, 40.0])
  def test_scaled_returns_stay_between_minus_one_and_zero(self, end, steps, fail_cost):
    end_reason = np.full(steps, NONE)
    end_reason[-1] = end
    reward = rewards.step_rewards(end_reason, fail_cost=fail_cost)
    reward *= rewards.reward_scale(0.9, fail_cost)
    returns = rewards.monte_carlo_returns(reward, np.full(steps, steps - 1), 0.9)
    self.assertBetween(returns.min(), -1, 0)
    self.assertBetween(returns.max(), -1, 0)

  @parameterized.parameters(1.0, 1.5, -0.1)
  def test_a_discount_without_a_bound_on_q_is_refused(self, discount):
    with self.assertRaisesRegex(ValueError, 'discount is'):
      rewards.reward_scale(discount, 1.0)

  def test_mean_success_length_counts_the_episodes_that_end_in_success(self):
    end_reason = np.array([NONE, SUCCESS, NONE, NONE, FAILURE, TAKEOVER, NONE, NONE, SUCCESS])
    is_first = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0], bool)
    self.assertEqual(rewards.mean_success_length(end_reason, is_first), (2 + 4) / 2)

  def test_without_a_success_the_person_is_told_what_to_give(self):
    with self.assertRaisesRegex(ValueError, 'none of 1 episodes ends in success.*fail_cost'):
      rewards.mean_success_length(np.array([NONE, FAILURE]), np.array([True, False]))


class ReturnRangeTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('of_eq_14_it_is_kept', [-0.9, -0.1], (-1.0, 0.0), (-1.0, 0.0)),
    ('of_rewards_above_zero_it_is_tight', [0.25, 0.5], (-1.0, 0.0), (0.0, 0.5)),
    ('of_both_signs_it_holds_both', [-3.0, 0.5], (-1.0, 0.0), (-3.0, 0.5)),
    ('below_minus_one_it_ends_at_zero', [-3.0, -2.0], (-1.0, 0.0), (-3.0, 0.0)),
    ('of_a_critic_that_reaches_further_it_stays', [0.25, 0.5], (0.0, 0.75), (0.0, 0.75)),
    ('of_a_critic_that_does_not_it_is_new', [0.25, 0.5], (0.0, 0.375), (0.0, 0.5)),
  )
  def test_range(self, returns, kept, expected):
    self.assertEqual(rewards.return_range(np.float32(returns), kept), expected)


class MonteCarloReturnsTest(parameterized.TestCase):
  def test_returns_are_summed_backwards_within_each_fragment(self):
    reward = np.float32([-1, -1, 0, -1, -8, -1])
    last = np.array([2, 2, 2, 4, 4, 5])
    np.testing.assert_allclose(
      rewards.monte_carlo_returns(reward, last, 0.5), [-1.5, -1, 0, -5, -8, -1]
    )

  def test_long_fragments_do_not_lose_precision(self):
    steps = 20_000
    returns = rewards.monte_carlo_returns(
      np.full(steps, -1, np.float32), np.full(steps, steps - 1), 0.999
    )
    np.testing.assert_allclose(returns[0], -(1 - 0.999**steps) / 0.001, rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
