"""What a server says of itself and with its actions, held against what a robot can use.

A server may be old, damaged or somebody else's: nothing that it says may stop a robot's loop, reach
the motors as no number, or become the name of a file elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import math
import re
from typing import Any
import unicodedata

import numpy as np

_CAMERA = re.compile(r'[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}')
_LONGEST = 1000  # characters of a text
_WIDEST = 10_000  # numbers of a state or an action
_LARGEST = 1_000_000  # numbers of a chunk, where the server says nothing of its size
_MOST = 100  # texts of a list in a reply
_RATES = 0.01, 1000.0  # actions a second
_TEXTS = ('checkpoint', 'prompt', 'prompt_key')
_COUNTS = ('horizon', 'execute')
_NUMBERS = ('q_threshold', 'false_alarms')
_SWITCHES = ('values', 'real_time')
_JUDGED = ('q', 'v', 'spread')


def fault(metadata: Mapping[str, Any]) -> str:
  """The first thing that a server says of itself and that is of no use, or an empty text.

  Args:
    metadata: what it said when the connection opened; what it leaves out is not missed.
  """
  try:
    told = metadata.get('aloe')
    if told is not None:
      _check(_map('aloe', told))
  except _FaultError as found:
    return str(found)
  return ''


def width(metadata: Mapping[str, Any]) -> int | None:
  """Numbers of an action by a server's own word, A; None where it says nothing of them."""
  told = metadata.get('aloe') or {}
  return (told.get('action') or {}).get('size') or None


def cameras(told: Mapping[str, Any]) -> dict[str, str]:
  """{name in a recording: key of the request} of what a server says of its policy."""
  found = (told.get('cameras') or {}).items()
  return {str((camera or {}).get('camera') or key.replace('/', '_')): key for key, camera in found}


def horizon(metadata: Mapping[str, Any]) -> int | None:
  """Actions of a chunk by a server's own word, h; None where it says nothing of them."""
  return (metadata.get('aloe') or {}).get('horizon') or None


def actions(reply: Mapping[str, Any], size: int | None, horizon: int | None = None) -> np.ndarray:
  """The actions of a reply, finite float32 [h, A].

  Args:
    reply: of a server.
    size: A, or None where no width is known.
    horizon: h, or None where no length is known.

  Raises:
    ValueError: they are none for this robot.
  """
  found = _array(reply.get('actions'))
  if found.ndim != 2 or found.dtype.kind not in 'fiu' or not found.size:
    raise ValueError(f'actions: found {found.dtype} {list(found.shape)}, expected numbers [h, A].')
  if size is not None and found.shape[1] != size:
    raise ValueError(
      f'actions have {found.shape[1]} numbers, this robot takes {size}; none of them was sent.'
    )
  if horizon is not None and len(found) != horizon:
    raise ValueError(f'found {len(found)} actions, the server told of {horizon}; none was sent.')
  if found.size > _LARGEST:
    raise ValueError(f'found {found.size} numbers of actions, expected up to {_LARGEST}.')
  with np.errstate(over='ignore'):  # a number too large becomes an infinity, which is refused
    found = found.astype(np.float32)
  if not np.isfinite(found).all():
    raise ValueError('the actions hold NaN or infinity; none of them was sent.')
  return found


def _array(value: Any) -> np.ndarray:
  try:
    return np.asarray(value)
  except ValueError:  # rows of several lengths
    return np.asarray(None)


def about(reply: Mapping[str, Any]) -> dict[str, Any]:
  """What a reply says besides its actions, in plain Python numbers and texts.

  Raises:
    ValueError: naming what is of no use.
  """
  told = reply.get('aloe')
  if told is None:
    return {}
  told = dict(_map('aloe', told))
  for key in _JUDGED:
    if told.get(key) is not None:
      told[key] = _number(key, told[key])
  _whole('step', told, least=0)
  _text('checkpoint', told.get('checkpoint'))
  if len(told.get('checkpoint') or '') > _LONGEST:
    raise _FaultError('checkpoint', told['checkpoint'], f'up to {_LONGEST} characters')
  for key in _NUMBERS:
    if told.get(key) is not None and not _is_nowhere(told[key]):
      told[key] = _number(key, told[key])
  if not isinstance(told.get('clipped'), (bool, type(None))):
    raise _FaultError('clipped', told['clipped'], 'true or false')
  flags = _texts('flags', told.get('flags'))  # a hostile server fills no disk by them
  left = [f'and {len(flags) - _MOST} more'] if len(flags) > _MOST else []
  told['flags'] = [flag[:_LONGEST] for flag in flags[:_MOST]] + left
  return told


def printable(text: str) -> str:
  """A server's words in one line of which a terminal obeys nothing."""
  shown = ''.join(' ' if c in '\t\n\r' else '�' if _is_control(c) else c for c in text[:_LONGEST])
  return shown if len(text) <= _LONGEST else f'{shown}…'


def _is_control(character: str) -> bool:
  """Whether it is a control, turns the direction of text, or is half of a character."""
  return unicodedata.category(character) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')


class _FaultError(ValueError):
  """One thing that is wrong."""

  def __init__(self, key: str, found: Any, expected: str):
    super().__init__(f'{key}: found {_shown(found)}, expected {expected}.')


def _check(told: Mapping[str, Any]) -> None:
  for key in _TEXTS:
    _text(key, told.get(key))
  for key in _COUNTS:
    _whole(key, told, least=1)
  _whole('step', told, least=0)
  for key in _NUMBERS:
    if told.get(key) is not None and not _is_nowhere(told[key]):
      _number(key, told[key])
  for key in _SWITCHES:
    if not isinstance(told.get(key), (bool, type(None))):
      raise _FaultError(key, told[key], 'true or false')
  _check_rate(told.get('control_hz'))
  if told.get('action') is not None:
    _check_part('action', told['action'])
    if (told['action'].get('kind') or 'position') not in ('position', 'velocity'):
      raise _FaultError('action: kind', told['action']['kind'], 'position or velocity')
  if not isinstance(told.get('features'), (list, tuple, bool, type(None))):
    raise _FaultError('features', told['features'], 'a list of sizes')
  for key, part in _keyed('state', told.get('state')):
    _check_part(f'state {key!r}', part)
  _check_cameras(told)
  if told.get('prompt_key') in {*(told.get('state') or ()), *(told.get('cameras') or ())}:
    raise _FaultError('prompt_key', told['prompt_key'], 'a key of its own')


def _check_rate(found: Any) -> None:
  if found is not None and not _RATES[0] <= _number('control_hz', found) <= _RATES[1]:
    raise _FaultError('control_hz', found, f'{_RATES[0]:g} to {_RATES[1]:g} actions a second')


def _check_part(key: str, part: Any) -> None:
  """Of an action, or of one key of the state."""
  part = _map(key, part)
  _whole('size', part, least=1, within=key)
  if (part.get('size') or 0) > _WIDEST:
    raise _FaultError(f'{key}: size', part['size'], f'no more than {_WIDEST}')
  names = _texts(f'{key}: names', part.get('names'))
  if names and part.get('size') not in (None, len(names)):
    raise _FaultError(f'{key}: names', names, f'{part["size"]} of them')
  for name in ('unit', 'kind'):
    _text(f'{key}: {name}', part.get(name))


def _check_cameras(told: Mapping[str, Any]) -> None:
  found = list(_keyed('cameras', told.get('cameras')))
  for key, camera in found:
    if camera is not None:
      _text(f'cameras {key!r}: camera', _map(f'cameras {key!r}', camera).get('camera'))
  named = cameras(told)
  for name, key in named.items():
    if not _CAMERA.fullmatch(name):
      raise _FaultError(
        f'cameras {key!r}: camera', name, 'a plain name of letters, digits, "_", "-" and "."'
      )
  if len({name.lower() for name in named}) != len(found):
    raise _FaultError('cameras', [*named], 'a name of its own for each')


def _keyed(key: str, value: Any) -> Iterable[tuple[str, Any]]:
  """Pairs of a map whose keys are those of a request."""
  found = {} if value is None else _map(key, value)
  for name in found:
    _text(key, name)
  return found.items()


def _map(key: str, value: Any) -> Mapping[str, Any]:
  if not isinstance(value, Mapping):
    raise _FaultError(key, value, 'a map')
  return value


def _text(key: str, value: Any) -> None:
  if not isinstance(value, (str, type(None))):
    raise _FaultError(key, value, 'a text')


def _texts(key: str, value: Any) -> list[str]:
  if value is None:
    return []
  if not isinstance(value, (list, tuple)) or not all(isinstance(text, str) for text in value):
    raise _FaultError(key, value, 'a list of texts')
  return list(value)


def _number(key: str, value: Any) -> float:
  plain = value.item() if isinstance(value, (np.generic, np.ndarray)) and not value.ndim else value
  if isinstance(plain, bool) or not isinstance(plain, (int, float)) or not _finite(plain):
    raise _FaultError(key, value, 'a finite number')
  return float(plain)


def _is_nowhere(value: Any) -> bool:
  """Whether it is NaN or infinity, as a report has them of too few episodes."""
  return isinstance(value, float) and not math.isfinite(value)


def _finite(value: float) -> bool:
  try:
    return math.isfinite(value)
  except OverflowError:  # a whole number beyond all reals
    return False


def _whole(key: str, told: Mapping[str, Any], *, least: int, within: str = '') -> None:
  value = told.get(key)
  if value is not None and (type(value) is not int or value < least):
    raise _FaultError(f'{within}: {key}' if within else key, value, f'a whole number from {least}')


def _shown(value: Any) -> str:
  """A value in some characters, however large it is."""
  shape = getattr(value, 'shape', None)
  if shape:
    return f'an array {list(shape)}'
  text = repr(value[:60] if isinstance(value, (str, bytes, list)) else value)
  return text if len(text) <= 80 else f'{text[:77]}...'
