"""What a robot is, in its own words, and where a server's words differ: told before it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any

_RATE_SLACK = 0.02  # of the rates of a robot and of a server


@dataclasses.dataclass(frozen=True)
class Part:
  """Numbers of a state or of an action.

  Attributes:
    size: how many there are.
    names: of each; empty where they have none.
    unit: such as rad; empty where there are several or none is known.
    kind: position or velocity; empty where it is not known.
  """

  size: int
  names: Sequence[str] = ()
  unit: str = ''
  kind: str = ''


@dataclasses.dataclass(frozen=True)
class Robot:
  """What a robot expects of a server; what it leaves out is not compared.

  Attributes:
    action: that it takes.
    state: that it sends, by the key of the request.
    cameras: keys of the request that it sends images under.
    control_hz: actions a second that it plays.
  """

  action: Part | None = None
  state: Mapping[str, Part] = dataclasses.field(default_factory=dict)
  cameras: Sequence[str] | None = None
  control_hz: float | None = None

  def differences(self, metadata: Mapping[str, Any]) -> list[str]:
    """Where a server wants something else, one phrase each; empty if nothing is known of it.

    Args:
      metadata: what the server said when the connection opened.
    """
    told = metadata.get('aloe')
    if not isinstance(told, Mapping):
      return []
    found = _of_part('action', self.action, told.get('action'))
    wanted = told.get('state') or {}
    for key, part in self.state.items():
      if wanted and key not in wanted:
        found.append(f'state {key!r} is unknown to the server, which wants {_names(wanted)}')
      else:
        found += _of_part(f'state {key!r}', part, wanted.get(key))
    if self.state:
      found += [f'state {key!r} is wanted and not sent' for key in wanted if key not in self.state]
    if self.cameras is not None:
      cameras = told.get('cameras') or {}
      found += [
        f'camera {key!r} is wanted and not sent' for key in cameras if key not in self.cameras
      ]
    rate = told.get('control_hz')
    if self.control_hz and rate and not math.isclose(rate, self.control_hz, rel_tol=_RATE_SLACK):
      found.append(f'the robot plays {self.control_hz:g} actions a second, the policy {rate:g}')
    return found


def _of_part(what: str, ours: Part | None, theirs: Any) -> list[str]:
  """Where a part differs."""
  if ours is None or not isinstance(theirs, Mapping):
    return []
  size, names = theirs.get('size'), list(theirs.get('names') or ())
  if size is not None and size != ours.size:
    return [f'{what} has {ours.size} numbers here and {size} there']
  if names and ours.names and names != list(ours.names):
    place = next((i for i, pair in enumerate(zip(ours.names, names)) if pair[0] != pair[1]), 0)
    return [
      f'{what} {place} is {list(ours.names)[place]!r} here and {names[place]!r} there'
      + (', in another order' if sorted(names) == sorted(ours.names) else '')
    ]
  found = []
  for field in ('unit', 'kind'):
    here, there = getattr(ours, field), theirs.get(field)
    if here and there and here != there:
      found.append(f'the {field} of {what} is {here!r} here and {there!r} there')
  return found


def _names(found: Mapping[str, Any]) -> str:
  return ', '.join(repr(name) for name in found)
