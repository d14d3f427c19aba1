"""What keeps commands from jumping: a limit of each step, and a hand-over that fades in."""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np


class Limits:
  """Bounds of each number and of how much it changes in a step.

  Of a robot outside of its range both cannot be kept: then it comes back by the largest step, since
  a jump is worse than the way back.
  """

  def __init__(
    self,
    size: int,
    *,
    low: float | Sequence[float] | None = None,
    high: float | Sequence[float] | None = None,
    max_step: float | Sequence[float] | None = None,
  ):
    """Checks the bounds.

    Args:
      size: numbers of an action.
      low: least, one or [A]; None for no bound. Likewise `high`.
      max_step: largest change from one command to the next, one or [A].

    Raises:
      ValueError: naming the bound that is none.
    """
    self._low = _bound('low', low, -math.inf, size)
    self._high = _bound('high', high, math.inf, size)
    self._step = _bound('max_step', max_step, math.inf, size)
    if (self._low > self._high).any():
      raise ValueError(f'low: found {low}, expected no more than high, {high}.')
    if (self._step <= 0).any():
      raise ValueError(f'max_step: found {max_step}, expected more than 0.')

  def apply(self, action: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """[A], the command nearest to an action that keeps the limits.

    Args:
      action: [A].
      before: [A], the command before; None if there was none.
    """
    action = np.clip(action, self._low, self._high)
    if before is not None:
      action = np.clip(action, before - self._step, before + self._step)
    return action.astype(np.float32)

  def is_beyond(self, before: np.ndarray) -> bool:
    """Whether from a command [A] no step leads into the range."""
    slack = 1e-6 * (1 + np.abs(before))  # float32
    below = before + self._step + slack < self._low
    return bool((below | (before - self._step - slack > self._high)).any())


class Fade:
  """A hand-over: the gap between the robot and who takes over closes evenly, in some ticks."""

  def __init__(self, ticks: int):
    self._ticks, self._left = ticks, ticks
    self._gap: np.ndarray | None = None

  def apply(self, action: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """[A], the action and what is left of the gap; `before` is the last command."""
    if before is None or self._left <= 0:
      return action
    if self._gap is None:
      self._gap = before - action
    self._left -= 1
    return (action + self._gap * (self._left / self._ticks)).astype(np.float32)


def _bound(
  name: str, value: float | Sequence[float] | None, default: float, size: int
) -> np.ndarray:
  found = np.asarray(default if value is None else value, np.float64)
  if found.shape not in ((), (size,)) or np.isnan(found).any():
    raise ValueError(f'{name}: found {value}, expected one number, or {size}.')
  return np.broadcast_to(found, (size,))
