"""A person who acts in place of the policy: their actions, and the way to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aloe_client import events as events_lib
from aloe_client import motion

Source = Callable[[dict[str, Any]], Any]  # a person's action [A] at an observation


class Person:
  """Reads what a person does.

  Attributes:
    trouble: what is wrong with their actions now, or empty.
  """

  def __init__(self, fade_ticks: int | None, events: events_lib.Events):
    """Nobody acts.

    Args:
      fade_ticks: over which the gap to the person closes; None where none is closed.
      events: to tell of actions that are none.
    """
    self.trouble = ''
    self._ticks, self._events = fade_ticks, events
    self._source: Source | None = None
    self._fade: motion.Fade | None = None

  def begin(self, source: Source) -> None:
    """Their actions come from here."""
    self._source, self.trouble = source, ''
    self.approach()

  def approach(self) -> None:
    """The robot is elsewhere: the gap is closed anew."""
    self._fade = None if self._ticks is None else motion.Fade(self._ticks)

  def leave(self) -> None:
    """They act no longer."""
    self._source, self._fade, self.trouble = None, None, ''

  def action(self, observation: dict[str, Any], size: int | None) -> np.ndarray | None:
    """[A] that they ask for; None where it is of no use, which is told once.

    Args:
      observation: that they act on.
      size: A, or None where nobody says.
    """
    assert self._source is not None
    try:
      with np.errstate(over='ignore'):
        found = np.asarray(self._source(observation), np.float32)
      size = size or found.size
      if found.shape != (size,) or not size or not np.isfinite(found).all():
        raise ValueError(f'found {found.tolist()!s:.60}, expected {size or "some"} finite numbers')
    except Exception as error:  # a leader arm that is unplugged may not stop the robot's loop
      if not self.trouble:
        self.trouble = str(error) or type(error).__name__
        self._events.add('human', f"The person's action: {self.trouble}: held.", loud=True)
      return None
    self.trouble = ''
    return found

  def approached(self, action: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """[A], an action of theirs and what is left of the gap; `before` is the last command."""
    return action if self._fade is None else self._fade.apply(action, before)
