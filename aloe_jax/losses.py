"""The paper's equations, one pure function each: no networks, no config.

Legend of shapes: B batch, h chunk horizon, A action width, K critics in the ensemble,
M samples of the policy per state, N bins of a categorical value.

Termination is folded into `discount` by the data code, so no loss asks whether an episode
is done.

Numbers are float32 (float64 where JAX computes in it) and masks bool; anything else is refused. A
network that computes in bfloat16 casts what it returns: the difference of a Q and a V in eight bits
is mostly rounding.
"""

from typing import TypeVar

import chex
import jax
import jax.numpy as jnp
import numpy as np

NUMBERS = (np.dtype(np.float32), np.dtype(np.float64))

InKind = TypeVar('InKind', jax.Array, np.ndarray)  # the data code's arrays or compiled code's


def chunk_return(reward: InKind, valid: InKind, discount: float) -> InKind:
  """Discounted reward inside a chunk, the first term of Eq. (7).

  Accepts NumPy and JAX arrays alike and answers in kind: the data code and compiled code
  share it.

  Args:
    reward: [B, h] of any floating type, r_t .. r_{t+h-1}.
    valid: [B, h] bool, False past the end of the fragment.
    discount: gamma, per environment step.

  Returns:
    [B], sum over the valid steps k of gamma^k r_{t+k}.
  """
  chex.assert_rank([reward, valid], 2)
  chex.assert_type([reward, valid], [float, bool])
  chex.assert_equal_shape([reward, valid])
  powers = (discount ** np.arange(reward.shape[1])).astype(reward.dtype)
  return (reward * valid * powers[None, :]).sum(axis=1)


def td_target(
  reward: jax.Array, discount: jax.Array, next_q: jax.Array, aggregate: str = 'mean'
) -> jax.Array:
  """Chunked temporal-difference target, Eqs. (5)-(7).

  Args:
    reward: [B], discounted reward of the chunk (`chunk_return`).
    discount: [B], gamma^n for the n steps taken, 0 where the episode terminated on the way.
    next_q: [K, B], target networks at s_{t+n}, for a' drawn from the current policy.
    aggregate: 'mean' over the ensemble, as Eq. (7) has no minimum; 'min'; or 'independent',
      where each network bootstraps from its own target network.

  Returns:
    [K, B], one target per network. No gradient flows through it.
  """
  chex.assert_rank([reward, discount, next_q], [1, 1, 2])
  _assert_numbers(reward, discount, next_q)
  chex.assert_equal_shape([reward, discount, next_q[0]])
  if aggregate == 'mean':
    next_q = jnp.broadcast_to(next_q.mean(axis=0, keepdims=True), next_q.shape)
  elif aggregate == 'min':
    next_q = jnp.broadcast_to(next_q.min(axis=0, keepdims=True), next_q.shape)
  elif aggregate != 'independent':
    raise ValueError(f"aggregate is {aggregate!r}; expected 'mean', 'min' or 'independent'.")
  return jax.lax.stop_gradient(reward[None, :] + discount[None, :] * next_q)


def corrected_target(
  reward: jax.Array,
  discount: jax.Array,
  next_q: jax.Array,
  advantage: jax.Array,
  advantage_discount: jax.Array,
  aggregate: str = 'mean',
) -> jax.Array:
  """Target of a critic that reads fewer steps than the return spans, for plans made anew.

  On the way other actions were played than the policy would have chosen. What they brought is what
  they were better by, so their advantages are taken off. At Q of the policy a chunk's temporal
  difference is zero in the mean, whoever chose it: the target is Q's own then, whatever the span
  (Q(lambda) with off-policy corrections, Harutyunyan et al., 2016, with lambda = 1).

  Args:
    reward: [B], discounted reward of all steps that the return spans (`chunk_return`).
    discount: [B], gamma^n for these n steps, 0 where the episode terminated on the way.
    next_q: [K, B], target networks at s_{t+n}, for a' drawn from the current policy.
    advantage: [K, B, C], theirs of the C later chunks that were played on the way.
    advantage_discount: [B, C], gamma to the number of steps before each; 0 where none was played.
    aggregate: see `td_target`.

  Returns:
    [K, B], one target per network. No gradient flows through it.
  """
  chex.assert_rank([discount, next_q, advantage, advantage_discount], [1, 2, 3, 2])
  _assert_numbers(discount, next_q, advantage, advantage_discount)
  chex.assert_equal_shape([advantage[0], advantage_discount])
  after = discount[None] * next_q - (advantage_discount[None] * advantage).sum(axis=2)
  return td_target(reward, jnp.ones_like(discount), after, aggregate)


def ensemble_loss(q: jax.Array, target: jax.Array) -> jax.Array:
  """Mean squared error of the ensemble, Eq. (8).

  Args:
    q: [K, B].
    target: [K, B], from `td_target`.

  Returns:
    Scalar, the mean over networks and batch.
  """
  chex.assert_rank([q, target], 2)
  _assert_numbers(q, target)
  chex.assert_equal_shape([q, target])
  return jnp.mean(jnp.square(q - target))


def pessimistic_q(q: InKind, pessimism: str = 'min') -> InKind:
  """Lower confidence bound on the value of an action: the ensemble's minimum, Eq. (9).

  Args:
    q: [K, ...].
    pessimism: 'min', or 'mean' for none.

  Returns:
    [...].
  """
  _assert_numbers(q)
  return q.mean(axis=0) if pessimism == 'mean' else q.min(axis=0)


def state_value(q: jax.Array, pessimism: str = 'min') -> jax.Array:
  """Value of the current policy, estimated from M of its own actions, as Eq. (10) defines it.

  Args:
    q: [K, M, B], the ensemble on M chunks sampled from the policy at each state.
    pessimism: see `pessimistic_q`.

  Returns:
    [B], the mean over samples of the pessimistic Q. No gradient flows through it.
  """
  chex.assert_rank(q, 3)
  return jax.lax.stop_gradient(pessimistic_q(q, pessimism).mean(axis=0))


def advantage(q: jax.Array, v: jax.Array) -> jax.Array:
  """How much better an action is than what the policy would do, Eq. (10).

  Args:
    q: [B], pessimistic Q of the action in the data.
    v: [B], `state_value` of the same states. No gradient flows through it.

  Returns:
    [B].
  """
  chex.assert_rank([q, v], 1)
  _assert_numbers(q, v)
  chex.assert_equal_shape([q, v])
  return q - jax.lax.stop_gradient(v)


def advantage_weight(
  advantage: jax.Array, beta: float, clip: float, unit: jax.Array | float = 0.0
) -> jax.Array:
  """Clipped exponential weight of a transition in the actor's loss, Eq. (11).

  Args:
    advantage: [B].
    beta: temperature, in the units of the advantage; small is greedy.
    clip: bound on |advantage / beta|, so that the weight stays within exp(-clip), exp(clip).
    unit: scalar, logarithm of what weights are counted in; 0 for those of Eq. (11) as they are.

  Returns:
    [B], not negative. No gradient flows through it: the actor's loss does not train the critic.
  """
  chex.assert_rank(advantage, 1)
  _assert_numbers(advantage)
  return jax.lax.stop_gradient(jnp.exp(jnp.clip(advantage / beta, -clip, clip) - unit))


def soft_value(q: jax.Array, beta: float) -> jax.Array:
  """Value of the best policy within reach of the current one, whose own chunks were sampled.

  That policy is pi exp(Q / beta), normalised: what maximises Q less beta times its divergence from
  the current one (Peters et al., 2010). The mean of exp((Q - value) / beta) over the samples is 1.

  Args:
    q: [R, M], Q of M chunks sampled from the policy at each state.
    beta: temperature, in the units of Q; at infinity it is the mean.

  Returns:
    [R], beta log mean exp(Q / beta). No gradient flows through it.
  """
  chex.assert_rank(q, 2)
  _assert_numbers(q)
  total = jax.scipy.special.logsumexp(q / beta, axis=1) - jnp.log(jnp.float32(q.shape[1]))
  return jax.lax.stop_gradient(beta * total)


def weighted_mean(error: jax.Array, weight: jax.Array) -> jax.Array:
  """Mean of `weight * error`, the outer expectation of Eqs. (12), (15) and (16).

  Eq. (16), behaviour cloning, is a weight of one. The sum is divided by B and not by the
  sum of weights, as printed.

  Args:
    error: [B].
    weight: [B]. No gradient flows through it.

  Returns:
    Scalar.
  """
  chex.assert_rank([error, weight], 1)
  _assert_numbers(error, weight)
  chex.assert_equal_shape([error, weight])
  return jnp.mean(jax.lax.stop_gradient(weight) * error)


def noised_action(action: jax.Array, noise: jax.Array, eta: jax.Array) -> jax.Array:
  """The point between noise and action that the flow network sees, below Eq. (15).

  The network itself is told the time t = 1 - eta, as in pi0.5: t = 1 is noise, t = 0 data.

  Args:
    action: [B, h, A].
    noise: [B, h, A], standard normal.
    eta: [B], in [0, 1]; 0 is noise, 1 is the action.

  Returns:
    [B, h, A], eta a + (1 - eta) noise.
  """
  chex.assert_rank([action, noise, eta], [3, 3, 1])
  _assert_numbers(action, noise, eta)
  chex.assert_equal_shape([action, noise])
  eta = eta[:, None, None]
  return eta * action + (1 - eta) * noise


def flow_matching_error(
  velocity: jax.Array, action: jax.Array, noise: jax.Array, valid: jax.Array
) -> jax.Array:
  """Error of the flow network on each chunk, the inner term of Eqs. (15) and (16).

  The paper's squared norm is divided by the number of valid entries, so that a chunk cut
  short by its fragment's end counts as much as a whole one.

  Args:
    velocity: [B, h, A], the network's output at `noised_action`.
    action: [B, h, A].
    noise: [B, h, A].
    valid: [B, h] bool, at least one step of each chunk; padded steps do not count.

  Returns:
    [B], mean over valid steps and action dimensions of (noise - action - velocity)^2.
  """
  chex.assert_rank([velocity, action, noise, valid], [3, 3, 3, 2])
  _assert_numbers(velocity, action, noise)
  chex.assert_type(valid, bool)
  chex.assert_equal_shape([velocity, action, noise])
  chex.assert_equal_shape([velocity[..., 0], valid])
  error = jnp.square(noise - action - velocity).mean(axis=2)
  return jnp.where(valid, error, 0).sum(axis=1) / valid.sum(axis=1)


def categorical_support(v_min: float, v_max: float, bins: int) -> jax.Array:
  """Values that the bins of a categorical value function stand for, App. C (AWR).

  Args:
    v_min: lowest return represented.
    v_max: highest return represented.
    bins: N.

  Returns:
    [N], evenly spaced, both ends included.
  """
  return jnp.linspace(v_min, v_max, bins)


def categorical_target(returns: jax.Array, support: jax.Array) -> jax.Array:
  """Returns "discretized between V_min and V_max", App. C (AWR).

  A return between two bins is shared between them in proportion to its nearness, so that
  the expectation of the target is the return itself; rounding to one bin would lose up to
  half a bin's width. Returns outside of the support count as its nearest end.

  Args:
    returns: [B], Monte-Carlo returns.
    support: [N], from `categorical_support`.

  Returns:
    [B, N], each row a probability distribution over the bins.
  """
  chex.assert_rank([returns, support], 1)
  _assert_numbers(returns, support)
  width = support[1] - support[0]
  position = (jnp.clip(returns, support[0], support[-1]) - support[0]) / width
  distance = jnp.abs(position[:, None] - jnp.arange(support.shape[0])[None, :])
  return jnp.maximum(1 - distance, 0)


def categorical_cross_entropy(logits: jax.Array, target: jax.Array) -> jax.Array:
  """Loss of a categorical value function, App. C (AWR).

  Args:
    logits: [B, N].
    target: [B, N], from `categorical_target`.

  Returns:
    Scalar, the mean over the batch.
  """
  chex.assert_rank([logits, target], 2)
  _assert_numbers(logits, target)
  chex.assert_equal_shape([logits, target])
  return -jnp.mean(jnp.sum(target * jax.nn.log_softmax(logits), axis=1))


def categorical_value(logits: jax.Array, support: jax.Array) -> jax.Array:
  """Expectation of a categorical value function, App. C (AWR).

  Args:
    logits: [B, N].
    support: [N].

  Returns:
    [B].
  """
  chex.assert_rank([logits, support], [2, 1])
  _assert_numbers(logits, support)
  return jnp.sum(jax.nn.softmax(logits) * support[None, :], axis=1)


def _assert_numbers(*arrays: jax.Array) -> None:
  """Raises AssertionError unless all are float32, or float64 where JAX computes in it."""
  found = [np.dtype(x.dtype) for x in arrays]
  if not all(dtype in NUMBERS for dtype in found):
    names = ', '.join(dtype.name for dtype in found)
    raise AssertionError(f'found {names}; expected float32: cast what a network computed in half.')
