"""Two greetings of a server: whether the policy is still one that a running program can play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FACTS = ('control_hz', 'horizon', 'execute', 'prompt_key', 'features')
_OF_PART = ('size', 'unit', 'kind')
_OFFERS = ('values', 'real_time')


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """What a robot's program has to be started anew for, one phrase each.

  Another checkpoint, and what is known of it, is no change.

  Args:
    before: what the server said when the program began.
    now: what it says after another connection.
  """
  told, other = before.get('aloe'), now.get('aloe')
  if not isinstance(told, Mapping) or not isinstance(other, Mapping):
    if isinstance(told, Mapping) == isinstance(other, Mapping):
      return []
    return ['only one of them says what its policy is of']
  found = _of_part('action', told.get('action'), other.get('action'))
  states, others = told.get('state') or {}, other.get('state') or {}
  if list(states) != list(others):
    found.append(f'state: {_shown(list(others))}, was {_shown(list(states))}')
  else:
    for key, part in states.items():
      found += _of_part(f'state {key!r}', part, others[key])
  cameras, there = (_cameras(each.get('cameras')) for each in (told, other))
  if cameras != there:
    found.append(f'cameras: {_shown(there)}, was {_shown(cameras)}')
  for name in _FACTS:
    if told.get(name) != other.get(name):
      found.append(f'{name}: {_shown(other.get(name))}, was {_shown(told.get(name))}')
  found += [f'{n} is no longer offered' for n in _OFFERS if told.get(n) and not other.get(n)]
  return found


def _of_part(what: str, before: Any, now: Any) -> list[str]:
  part, other = before or {}, now or {}
  pairs = {name: (part.get(name), other.get(name)) for name in _OF_PART}
  pairs['names'] = list(part.get('names') or ()), list(other.get('names') or ())
  return [
    f'{name} of {what}: {_shown(there)}, was {_shown(here)}'
    for name, (here, there) in pairs.items()
    if (here or None) != (there or None)
  ]


def _cameras(told: Any) -> dict[str, Any]:
  return {key: (camera or {}).get('camera') for key, camera in (told or {}).items()}


def _shown(value: Any) -> str:
  text = 'not told' if value is None else str(value)
  return text if len(text) <= 100 else f'{text[:97]}...'
