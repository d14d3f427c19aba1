"""Every equation against values worked out by hand, compiled and not."""

import functools
import inspect

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import losses


class ChunkReturnTest(parameterized.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_it_discounts_each_step_and_leaves_out_padded_ones(self):
    reward = np.float32([[-1, -2, -4], [-1, -2, -4]])
    valid = np.array([[True, True, True], [True, True, False]])
    # -1 - 2/2 - 4/4, and the same without its last term
    np.testing.assert_allclose(
      self.variant(functools.partial(losses.chunk_return, discount=0.5))(reward, valid),
      [-3, -2],
    )

  def test_numpy_arrays_stay_numpy_arrays_of_their_type(self):
    value = losses.chunk_return(np.float32([[1, 1]]), np.array([[True, True]]), 0.5)
    self.assertIsInstance(value, np.ndarray)
    self.assertEqual(value.dtype, np.float32)


class TdTargetTest(parameterized.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.named_parameters(
    ('mean_is_shared_by_the_ensemble', 'mean', 0.5, [-4.5, -4.5]),  # -2 + (-4 - 6) / 2 * 0.5
    ('min_is_shared_by_the_ensemble', 'min', 0.5, [-5, -5]),  # -2 - 6 * 0.5
    ('independent_uses_each_members_own', 'independent', 0.5, [-4, -5]),
    ('terminal_does_not_bootstrap', 'mean', 0.0, [-2, -2]),
  )
  def test_value(self, aggregate, discount, expected):
    target = self.variant(functools.partial(losses.td_target, aggregate=aggregate))(
      np.float32([-2]), np.float32([discount]), np.float32([[-4], [-6]])
    )
    np.testing.assert_allclose(target, np.array(expected)[:, None])

  def test_the_mean_is_the_default(self):
    arguments = np.float32([-2]), np.float32([0.5]), np.float32([[-4], [-6]])
    np.testing.assert_array_equal(
      losses.td_target(*arguments), losses.td_target(*arguments, aggregate='mean')
    )

  def test_no_gradient_reaches_the_target_networks(self):
    def total(next_q):
      return losses.td_target(jnp.ones(1), jnp.ones(1), next_q).sum()

    np.testing.assert_array_equal(jax.grad(total)(jnp.ones((2, 1))), np.zeros((2, 1)))

  def test_an_unknown_aggregate_is_refused_by_name(self):
    with self.assertRaisesRegex(ValueError, "aggregate is 'max'"):
      losses.td_target(jnp.ones(1), jnp.ones(1), jnp.ones((2, 1)), aggregate='max')

  def test_a_batch_that_does_not_match_is_refused(self):
    with self.assertRaises(AssertionError):
      losses.td_target(jnp.ones(3), jnp.ones(3), jnp.ones((2, 1)))


class EnsembleTest(parameterized.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_loss_is_the_mean_square_over_networks_and_batch(self):
    q = np.float32([[0, 1], [2, 3]])
    target = np.float32([[1, 1], [0, 0]])
    np.testing.assert_allclose(self.variant(losses.ensemble_loss)(q, target), (1 + 0 + 4 + 9) / 4)

  def test_loss_pulls_each_network_by_its_own_error(self):
    gradient = jax.grad(losses.ensemble_loss)(
      jnp.array([[0.0, 1.0], [2.0, 3.0]]), jnp.array([[1.0, 1.0], [0.0, 0.0]])
    )
    np.testing.assert_allclose(gradient, [[-0.5, 0], [1, 1.5]])  # 2 (q - y) / 4

  @chex.variants(with_jit=True, without_jit=True)
  def test_pessimistic_q_takes_the_lowest_network_for_each_action(self):
    np.testing.assert_allclose(
      self.variant(losses.pessimistic_q)(np.float32([[-1, -5], [-3, -2]])), [-3, -5]
    )

  def test_without_pessimism_the_networks_are_averaged(self):
    q = np.float32([[[-1, -2], [-5, -4]], [[-3, -2], [-1, -8]]])  # [K, M, B]
    np.testing.assert_array_equal(losses.pessimistic_q(q, 'mean'), [[-2, -2], [-3, -6]])
    np.testing.assert_array_equal(losses.state_value(q, 'mean'), [-2.5, -4])

  @chex.variants(with_jit=True, without_jit=True)
  def test_state_value_is_pessimistic_per_sample_before_it_averages(self):
    q = np.float32([[[-1], [-5]], [[-3], [-2]]])  # 2 networks, 2 samples, 1 state
    # mean(min(-1, -3), min(-5, -2)); the minimum of the means would be -3
    np.testing.assert_allclose(self.variant(losses.state_value)(q), [-4])


class PolicyImprovementTest(parameterized.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_advantage_is_the_difference_of_q_and_v(self):
    np.testing.assert_allclose(
      self.variant(losses.advantage)(np.float32([-1, -3]), np.float32([-2, -2])), [1, -1]
    )

  def test_gradients_reach_q_but_not_v(self):
    gradients = jax.grad(lambda q, v: losses.advantage(q, v).sum(), argnums=(0, 1))(
      jnp.ones(2), jnp.ones(2)
    )
    np.testing.assert_array_equal(gradients[0], [1, 1])
    np.testing.assert_array_equal(gradients[1], [0, 0])

  def test_no_gradient_flows_through_the_state_value(self):
    gradient = jax.grad(lambda q: losses.state_value(q).sum())(jnp.ones((2, 3, 1)))
    np.testing.assert_array_equal(gradient, np.zeros((2, 3, 1)))

  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.named_parameters(
    ('no_advantage_weighs_one', 0.0, 1.0),
    ('inside_the_clip', 1.0, np.exp(0.5)),
    ('clipped_from_above', 100.0, np.exp(3)),
    ('clipped_from_below', -100.0, np.exp(-3)),
  )
  def test_weight(self, value, expected):
    weight = self.variant(functools.partial(losses.advantage_weight, beta=2.0, clip=3.0))(
      np.float32([value])
    )
    np.testing.assert_allclose(weight, [expected], rtol=1e-6)

  def test_no_gradient_flows_through_the_weight(self):
    gradient = jax.grad(lambda a: losses.advantage_weight(a, 1.0, 3.0).sum())(jnp.ones(2))
    np.testing.assert_array_equal(gradient, [0, 0])

  def test_the_optimum_of_the_weighted_likelihood_is_the_reweighted_behaviour(self):
    """Theorem IV.1: pi is proportional to pi_ref exp(A / beta)."""
    behaviour, value = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, -1.0])
    weight = losses.advantage_weight(jnp.array(value), beta=0.5, clip=3.0)

    @jax.grad
    def gradient(logits):
      # a batch in which each action occurs as often as the behaviour chose it, out of 10
      action = jnp.repeat(jnp.arange(3), jnp.array([5, 3, 2]), total_repeat_length=10)
      return losses.weighted_mean(-jax.nn.log_softmax(logits)[action], weight[action])

    logits, gradient = jnp.zeros(3), jax.jit(gradient)
    for _ in range(500):
      logits -= 0.5 * gradient(logits)
    expected = behaviour * np.exp(value / 0.5)
    np.testing.assert_allclose(jax.nn.softmax(logits), expected / expected.sum(), atol=1e-4)


class FlowMatchingTest(parameterized.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_noised_action_is_noise_at_zero_and_the_action_at_one(self):
    action, noise = np.full((3, 1, 1), 4.0, np.float32), np.full((3, 1, 1), 8.0, np.float32)
    noised = self.variant(losses.noised_action)(action, noise, np.float32([0, 0.25, 1]))
    np.testing.assert_allclose(noised[:, 0, 0], [8, 7, 4])

  @chex.variants(with_jit=True, without_jit=True)
  def test_error_is_the_mean_over_valid_steps_and_action_dimensions(self):
    noise = np.float32([[[1, 2], [3, 4]], [[1, 2], [3, 4]]])
    action = np.zeros((2, 2, 2), np.float32)
    velocity = np.float32([[[0, 2], [0, 2]], [[0, 2], [0, 2]]])
    valid = np.array([[True, True], [True, False]])
    error = self.variant(losses.flow_matching_error)(velocity, action, noise, valid)
    np.testing.assert_allclose(error, [(1 + 0 + 9 + 4) / 4, (1 + 0) / 2])

  def test_the_velocity_leads_from_the_action_to_the_noise(self):
    """With f = eps - a, one Euler step of -dt from noise at t = 1 lands on the action."""
    key_action, key_noise = jax.random.split(jax.random.key(0))
    action = jax.random.normal(key_action, (2, 3, 4))
    noise = jax.random.normal(key_noise, (2, 3, 4))
    velocity = noise - action
    error = losses.flow_matching_error(velocity, action, noise, jnp.ones((2, 3), bool))
    np.testing.assert_allclose(error, [0, 0])
    quarter = losses.noised_action(action, noise, jnp.full(2, 0.25))  # t = 0.75
    np.testing.assert_allclose(quarter - 0.75 * velocity, action, atol=1e-6)

  def test_what_stands_in_padded_steps_does_not_matter_even_to_the_gradient(self):
    valid = jnp.array([[True, False]])

    def loss(velocity, action):
      return losses.flow_matching_error(velocity, action, jnp.zeros((1, 2, 1)), valid).sum()

    gradient = jax.grad(loss)(jnp.ones((1, 2, 1)), jnp.array([[[0.0], [1e6]]]))
    np.testing.assert_allclose(gradient, [[[2], [0]]])

  @chex.variants(with_jit=True, without_jit=True)
  def test_weighted_mean_divides_by_the_batch(self):
    np.testing.assert_allclose(
      self.variant(losses.weighted_mean)(np.float32([1, 2]), np.float32([4, 0])), 2
    )

  def test_no_gradient_reaches_what_the_weight_was_made_of(self):
    gradient = jax.grad(losses.weighted_mean, argnums=1)(jnp.ones(2), jnp.ones(2))
    np.testing.assert_array_equal(gradient, [0, 0])


class CategoricalValueTest(parameterized.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.named_parameters(
    ('on_a_bin', -1.0, [1, 0, 0]),
    ('between_two_bins', -0.625, [0.25, 0.75, 0]),
    ('below_the_support', -7.0, [1, 0, 0]),
    ('above_the_support', 7.0, [0, 0, 1]),
  )
  def test_a_return_is_shared_by_its_neighbouring_bins(self, value, expected):
    support = losses.categorical_support(-1.0, 0.0, 3)
    target = self.variant(losses.categorical_target)(np.float32([value]), support)
    np.testing.assert_allclose(target, [expected], atol=1e-6)

  def test_the_expectation_of_a_target_is_the_return(self):
    support = losses.categorical_support(-1.0, 0.0, 256)
    returns = jnp.linspace(-1.0, 0.0, 1001)
    target = losses.categorical_target(returns, support)
    np.testing.assert_allclose(target.sum(axis=1), np.ones(1001), atol=1e-4)
    np.testing.assert_allclose(target @ support, returns, atol=1e-5)

  @chex.variants(with_jit=True, without_jit=True)
  def test_cross_entropy_of_even_logits_is_the_logarithm_of_the_bins(self):
    loss = self.variant(losses.categorical_cross_entropy)(
      np.zeros((2, 4), np.float32), np.float32([[1, 0, 0, 0], [0, 0.5, 0.5, 0]])
    )
    np.testing.assert_allclose(loss, np.log(4), rtol=1e-6)

  @chex.variants(with_jit=True, without_jit=True)
  def test_value_is_the_expectation_under_the_softmax(self):
    logits = np.log(np.float32([[0.5, 0.25, 0.25]]))
    value = self.variant(losses.categorical_value)(logits, np.float32([-1, -0.5, 0]))
    np.testing.assert_allclose(value, [-0.625], rtol=1e-6)

  def test_minimising_the_cross_entropy_recovers_the_mean_return(self):
    support = losses.categorical_support(-1.0, 0.0, 11)
    target = losses.categorical_target(jnp.array([-0.9, -0.33, -0.17]), support)
    logits = jnp.zeros((1, 11))
    gradient = jax.jit(
      jax.grad(lambda logits: losses.categorical_cross_entropy(jnp.tile(logits, (3, 1)), target))
    )
    for _ in range(1000):
      logits -= 3 * gradient(logits)
    np.testing.assert_allclose(
      losses.categorical_value(logits, support), [(-0.9 - 0.33 - 0.17) / 3], atol=1e-3
    )


def _ones(*shape):
  return np.ones(shape, np.float32)


def _arguments(name):
  """What an equation takes, each argument of the right rank and type."""
  b, kb, bha, bn = _ones(2), _ones(3, 2), _ones(2, 4, 5), _ones(2, 6)
  mask = np.ones((2, 4), bool)
  return {
    'chunk_return': dict(reward=_ones(2, 4), valid=mask),
    'td_target': dict(reward=b, discount=b, next_q=kb),
    'corrected_target': dict(
      reward=b, discount=b, next_q=kb, advantage=_ones(3, 2, 5), advantage_discount=_ones(2, 5)
    ),
    'ensemble_loss': dict(q=kb, target=kb),
    'pessimistic_q': dict(q=kb),
    'state_value': dict(q=_ones(3, 4, 2)),
    'advantage': dict(q=b, v=b),
    'advantage_weight': dict(advantage=b),
    'soft_value': dict(q=_ones(2, 4)),
    'weighted_mean': dict(error=b, weight=b),
    'noised_action': dict(action=bha, noise=bha, eta=b),
    'flow_matching_error': dict(velocity=bha, action=bha, noise=bha, valid=mask),
    'categorical_target': dict(returns=b, support=_ones(6)),
    'categorical_cross_entropy': dict(logits=bn, target=bn),
    'categorical_value': dict(logits=bn, support=_ones(6)),
  }[name]


NUMBERS = dict(
  chunk_return=dict(discount=0.9),
  advantage_weight=dict(beta=1.0, clip=3.0),
  soft_value=dict(beta=1.0),
)
EQUATIONS = [
  name
  for name, x in vars(losses).items()
  if inspect.isfunction(x) and x.__module__ == losses.__name__
  if name != 'categorical_support' and not name.startswith('_')
]


class TypesTest(parameterized.TestCase):
  @parameterized.parameters(*EQUATIONS)
  def test_an_equation_answers_in_single_precision(self, name):
    result = getattr(losses, name)(**_arguments(name), **NUMBERS.get(name, {}))
    self.assertEqual(result.dtype, np.float32)

  @parameterized.parameters(*EQUATIONS)
  def test_every_argument_of_another_type_is_refused(self, name):
    arguments = _arguments(name)
    for argument, value in arguments.items():
      # 0 and 1 for a mask would be counted where they are meant to choose, and half precision
      # answers with numbers that look right.
      wrong = {np.dtype(bool): ['int32', 'float32']}.get(value.dtype, ['bfloat16', 'int32'])
      if name == 'chunk_return' and argument == 'reward':
        wrong = ['int32']  # shared with the data code, and of the type of the rewards
      for dtype in wrong:
        with self.subTest(f'{argument} in {dtype}'), self.assertRaisesRegex(AssertionError, dtype):
          getattr(losses, name)(
            **arguments | {argument: value.astype(np.dtype(dtype))}, **NUMBERS.get(name, {})
          )


if __name__ == '__main__':
  absltest.main()
