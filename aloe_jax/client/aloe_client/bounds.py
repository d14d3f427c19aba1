"""Keeps commands within the limits of a robot, if it has some, and says where it is beyond."""

from __future__ import annotations

import numpy as np

from aloe_client import events as events_lib
from aloe_client import motion


class Bounds:
  """Limits of commands, or none."""

  def __init__(self, limits: motion.Limits | None, events: events_lib.Events):
    self._limits, self._events = limits, events
    self._beyond = False

  def apply(self, action: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """[A], what the limits leave of an action; `before` is the last command."""
    if self._limits is None:
      return action
    beyond = before is not None and self._limits.is_beyond(before)
    if beyond and not self._beyond:
      self._events.add(
        'range',
        'The robot stands outside of low and high; it comes back by max_step in each tick.',
        loud=True,
      )
    self._beyond = beyond
    return self._limits.apply(action, before)

  def followed(self, actions: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """[k, A], what the limits will leave of the next actions."""
    if self._limits is None:
      return actions
    found = []
    for action in actions:
      before = self._limits.apply(action, before)
      found.append(before)
    return np.array(found)
