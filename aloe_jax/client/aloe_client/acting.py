"""Which checkpoint answers: a server takes newer ones up while a robot is connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FACTS = ('checkpoint', 'step', 'q_threshold', 'false_alarms')
_NAMES = ('checkpoint', 'step')  # of a checkpoint; the others are known of it


class Acting:
  """What is known of the checkpoint that answers.

  A reply names its checkpoint. What else is known of it is told once, by the greeting or in the
  first reply of it, and holds for no other one.

  Attributes:
    facts: by the names in `FACTS`; None where it is not known.
  """

  def __init__(self, told: Mapping[str, Any]):
    """Takes what the server says of itself when the connection opens."""
    self.facts: dict[str, Any] = {name: told.get(name) for name in FACTS}

  def add(self, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a reply says, with all that is known of its checkpoint."""
    named = {name: about[name] for name in FACTS if name in about}
    named = {name: fact for name, fact in named.items() if fact is not None or name not in _NAMES}
    if any(name in named and named[name] != self.facts[name] for name in _NAMES):
      self.facts = dict.fromkeys(FACTS)
    self.facts.update(named)
    return {**about, **self.facts}

  def greeting(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a server said when the connection opened, with what is known of the checkpoint now."""
    told = metadata.get('aloe')
    if not isinstance(told, Mapping):
      return dict(metadata)
    known = {name: fact for name, fact in self.facts.items() if fact is not None}
    left = {name: fact for name, fact in told.items() if name not in FACTS}
    return {**metadata, 'aloe': {**left, **known}}
