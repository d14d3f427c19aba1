"""Where a robot stays while nothing is played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aloe_client import events as events_lib


class Rest:
  """The action that keeps a robot where it came to rest."""

  def __init__(
    self,
    *,
    kind: str,
    turns: Sequence[bool] | None,
    rule: Callable[[np.ndarray], Any] | None,
    events: events_lib.Events,
  ):
    """Nothing is known yet.

    Args:
      kind: of actions, position or velocity; where nobody says, a robot that holds is sent nothing.
      turns: of velocities, [A], where a number is one; the others stay where they were sent last.
      rule: the action [A] that keeps the robot where it is, given the state; by default velocities
        of zero, and positions that it was sent last.
      events: to tell of a rule that gives none.
    """
    self._kind, self._rule, self._events = kind, rule, events
    self._turns = None if turns is None else np.array(turns, bool)
    self._held: np.ndarray | None = None
    self._trouble = ''  # of the rule

  def forget(self) -> None:
    """The robot moves: where it stands next is another place."""
    self._held = None

  def action(
    self, state: np.ndarray, size: int | None, last: np.ndarray | None
  ) -> np.ndarray | None:
    """The action [A], the same until `forget`; None where none is known.

    Args:
      state: [n] of the robot.
      size: A, or None where nobody says.
      last: [A] that the robot was sent last, or None.
    """
    if self._held is None and self._rule is not None:
      self._held = self._by_rule(state, size if last is None else last.size)
    if self._held is None:
      self._held = {'velocity': self._stopped(size, last), 'position': last}.get(self._kind)
    return self._held

  def _by_rule(self, state: np.ndarray, size: int | None) -> np.ndarray | None:
    assert self._rule is not None
    try:
      with np.errstate(over='ignore'):
        found = np.asarray(self._rule(state.copy()), np.float32)
      wanted = f'{size or "some"} finite numbers'
      if found.ndim != 1 or found.size != (size or found.size) or not np.isfinite(found).all():
        raise ValueError(f'found {found.tolist()!s:.60}, expected {wanted}')
    except Exception as error:  # a rule that fails may not stop the robot's loop
      text = f'{type(error).__name__}: {error}'
      if text != self._trouble:
        self._events.add('rule', f'hold: {text}. The robot holds as if there were none.', loud=True)
      self._trouble = text
      return None
    self._trouble = ''
    return found

  def _stopped(self, size: int | None, last: np.ndarray | None) -> np.ndarray | None:
    if self._turns is None:
      return None if size is None else np.zeros(size, np.float32)
    if self._turns.all():
      return np.zeros(len(self._turns), np.float32)
    return None if last is None else np.where(self._turns, np.float32(0), last)
