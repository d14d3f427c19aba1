"""What the critic says of the chunk that is played: Q, V, the spread, and the least Q so far."""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

from aloe_client import events as events_lib

_NAMES = ('q', 'v', 'spread')


class Judged:
  """The values of an episode, where the server gives them.

  Attributes:
    values: {q, v, spread} of the last chunk; None where they are not known.
    least: lowest Q of the episode.
    threshold: of Q, below which a person is warned, as the report card chose it.
    false_alarms: share of held-out successes that it would have warned of.
  """

  def __init__(self, told: Mapping[str, Any], events: events_lib.Events):
    self._events = events
    self._note(told)
    self.reset()

  def _note(self, told: Mapping[str, Any]) -> None:
    """Notes the threshold of a checkpoint."""
    found = (told.get(name) for name in ('q_threshold', 'false_alarms'))
    self.threshold, self.false_alarms = (
      float(x) if x is not None and math.isfinite(x) else None for x in found
    )

  def reset(self) -> None:
    """Another episode."""
    self.values: dict[str, float | None] = dict.fromkeys(_NAMES)
    self.least: float | None = None
    self._flagged = False

  def add(self, told: Mapping[str, Any]) -> None:
    """Notes a reply, with all that is known of its checkpoint; warns when Q falls too low first."""
    self._note(told)
    self.values = {name: None if told.get(name) is None else float(told[name]) for name in _NAMES}
    flags = list(told.get('flags') or ())
    if flags and not self._flagged:  # all of them are kept with the chunk
      more = f' (and {len(flags) - 1} more)' if len(flags) > 1 else ''
      self._events.add('flag', f'The server says: {flags[0]}{more}')
    self._flagged = bool(flags)
    q, before = self.values['q'], self.least
    if q is None:
      return
    self.least = q if before is None else min(q, before)
    warned = before is not None and self.threshold is not None and before < self.threshold
    if self.threshold is not None and q < self.threshold and not warned:
      text = f'Q is {q:.1f}, below {self.threshold:.1f}: be ready to take over.'
      self._events.add('low_q', text, loud=True)
