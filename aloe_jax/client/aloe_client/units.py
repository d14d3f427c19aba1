"""Between the policy's numbers and the robot's own: what is no number never reaches the motors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aloe_client import events as events_lib


class Units:
  """Makes commands of actions, and says which action a command is."""

  def __init__(
    self,
    to_robot: Callable[[np.ndarray], Any] | None,
    to_policy: Callable[[Any], Any] | None,
    events: events_lib.Events,
  ):
    """Takes the robot's own functions, see `Recorder`; None where its numbers are the policy's."""
    self._to_robot = to_robot or (lambda action: action)
    self._to_policy = to_policy or (lambda command: command)
    self._events = events
    self._shapes: dict[int, tuple[int, ...]] = {}  # of plain commands, by the size of an action
    self._trouble = ''

  def sent(self, action: np.ndarray, *, rests: bool = False) -> tuple[Any, np.ndarray] | None:
    """The command for an action [A], and the action [A] that it is.

    Args:
      action: of the policy.
      rests: whether it only keeps the robot where it is.

    Returns:
      None where a function fails or gives what is of no use, which is told once.
    """
    name = 'to_robot'
    try:
      command = self._to_robot(action.copy())
      self._check(command, action.size)
      name = 'to_policy'
      executed = self.executed(command)
      if executed.size != action.size:
        raise ValueError(f'found {executed.size} numbers, expected {action.size}')
      executed = executed.reshape(action.shape)
      if not np.isfinite(executed).all():
        raise ValueError(f'found {executed.tolist()!s:.60}, expected finite numbers')
    except Exception as error:  # of the robot's own functions: its loop goes on
      text = f'{name}: {str(error) or type(error).__name__}'
      if text != self._trouble:
        self._events.add('unsent', f'{text}: nothing of it is sent; the robot holds.', loud=True)
      self._trouble = text
      return None
    if not rests:
      self._trouble = ''
    return command, executed

  def at_rest(self, action: np.ndarray | None) -> Any:
    """The command for an action [A] that holds the robot; None where nothing may be sent."""
    both = None if action is None else self.sent(action, rests=True)
    return None if both is None else both[0]

  def executed(self, command: Any) -> np.ndarray:
    """The action, float32, that a command is."""
    with np.errstate(over='ignore'):  # what is too large becomes an infinity, which is refused
      return np.array(self._to_policy(command), np.float32)

  def _check(self, command: Any, size: int) -> None:
    """Refuses a command that is nothing, holds what is no finite number, or has another shape."""
    if command is None:
      raise ValueError('found None, expected a command')
    if isinstance(command, Mapping):
      for part in command.values():
        _check_finite(part)
      return
    shape = _check_finite(command)
    if shape is not None and (before := self._shapes.setdefault(size, shape)) != shape:
      raise ValueError(f'found numbers {list(shape)}, expected {list(before)} as before')


def _check_finite(value: Any) -> tuple[int, ...] | None:
  """The shape of numbers, which have to be finite; None of anything else."""
  try:
    found = np.asarray(value)
  except ValueError:  # of the robot's own making
    return None
  if found.dtype.kind not in 'fciu':
    return None
  if not np.isfinite(found).all():
    raise ValueError(f'found {found.tolist()!s:.60}, expected finite numbers')
  return found.shape
