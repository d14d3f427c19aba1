"""Rewards of Eq. (14), the scale that keeps Q within [-1, 0], and Monte-Carlo returns.

Legend of shapes: N rows, the steps of all episodes laid end to end.
"""

import numpy as np

from aloe_jax import types

RETURN_RANGE = (-1.0, 0.0)  # of returns of Eq. (14)'s rewards, once they are scaled


def is_terminal(
  end_reason: np.ndarray, *, timeout: str = 'failure', takeover: str = 'failure'
) -> np.ndarray:
  """Which steps end the return, so that nothing is bootstrapped past them.

  Args:
    end_reason: [N] int, `types.EndReason`.
    timeout: 'failure', the paper's rule, or 'bootstrap', where running out of time says
      nothing about what would have followed.
    takeover: 'failure', the paper's rule, or 'continue', where the return goes on under the
      human's hands.

  Returns:
    [N] bool.
  """
  if timeout not in ('failure', 'bootstrap'):
    raise ValueError(f"timeout is {timeout!r}; expected 'failure' or 'bootstrap'.")
  if takeover not in ('failure', 'continue'):
    raise ValueError(f"takeover is {takeover!r}; expected 'failure' or 'continue'.")
  terminal = [types.EndReason.SUCCESS, types.EndReason.FAILURE]
  if timeout == 'failure':
    terminal.append(types.EndReason.TIMEOUT)
  if takeover == 'failure':
    terminal.append(types.EndReason.TAKEOVER)
  return np.isin(end_reason, terminal)


def step_rewards(
  end_reason: np.ndarray,
  *,
  fail_cost: float | np.ndarray,
  timeout: str = 'failure',
  takeover: str = 'failure',
) -> np.ndarray:
  """Reward of every step, Eq. (14): 0 on success, -C_fail on failure, otherwise -1.

  Args:
    end_reason: [N] int, `types.EndReason`.
    fail_cost: C_fail, in steps; a float, or [N] where tasks differ.
    timeout: see `is_terminal`; a timeout that is no failure costs -1.
    takeover: see `is_terminal`; a takeover that is no failure costs -1.

  Returns:
    [N] float32, in steps.
  """
  terminal = is_terminal(end_reason, timeout=timeout, takeover=takeover)
  success = end_reason == types.EndReason.SUCCESS
  reward = np.where(success, 0.0, np.where(terminal, -np.asarray(fail_cost), -1.0))
  return reward.astype(np.float32)


def reward_scale(discount: float, fail_cost: float) -> float:
  """Factor on all rewards that keeps Q within [-1, 0].

  The worst return spends 1 / (1 - gamma) on steps, were they endless, and then C_fail.

  Args:
    discount: gamma, per step, below 1.
    fail_cost: C_fail, in steps.

  Returns:
    1 / (1 / (1 - gamma) + C_fail), per step.
  """
  if not 0 <= discount < 1:
    raise ValueError(f'discount is {discount}; expected at least 0 and below 1.')
  return 1 / (1 / (1 - discount) + fail_cost)


def return_range(
  returns: np.ndarray, kept: tuple[float, float] = RETURN_RANGE
) -> tuple[float, float]:
  """Between which returns a distribution over values has to reach.

  Args:
    returns: [N], scaled.
    kept: a range that holds as long as it holds them all, so that what a critic learnt of its
      bins stays true.

  Returns:
    Lowest and highest; 0 always lies between them.
  """
  low, high = float(np.min(returns)), float(np.max(returns))
  if kept[0] <= low and high <= kept[1]:
    return kept
  return min(low, 0.0), max(high, 0.0)


def mean_success_length(end_reason: np.ndarray, is_first: np.ndarray) -> float:
  """Mean length of the successful episodes: the default C_fail of Eq. (14).

  Args:
    end_reason: [N] int, `types.EndReason`.
    is_first: [N] bool, True on the first step of each episode.

  Returns:
    Float, in steps.
  """
  first = np.flatnonzero(is_first)
  end = np.append(first[1:], len(is_first))
  success = end_reason[end - 1] == types.EndReason.SUCCESS
  if not success.any():
    raise ValueError(
      f'none of {len(first)} episodes ends in success, so the cost of failure cannot be '
      'taken from their mean length; give fail_cost, the typical length of a success in '
      'steps.'
    )
  return float((end - first)[success].mean())


def monte_carlo_returns(reward: np.ndarray, last: np.ndarray, discount: float) -> np.ndarray:
  """Discounted return from each step to the end of its fragment: AWR's target, App. C.

  What a cut or a takeover kept from being seen is missing from it; that is the bias which
  the temporal-difference target of Eq. (7) does not have.

  Args:
    reward: [N], from `step_rewards`, scaled or not.
    last: [N] int, row of the last step of each row's fragment.
    discount: gamma, per step.

  Returns:
    [N], of the type of `reward`.
  """
  returns = np.array(reward, dtype=np.float64)
  for row in range(len(returns) - 2, -1, -1):
    if row != last[row]:
      returns[row] += discount * returns[row + 1]
  return returns.astype(reward.dtype)
