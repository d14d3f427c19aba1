"""What the numbers of an evaluation can be, where they are read from a file.

Files are copied and mended by hand. A number that cannot be is told by its name.
"""

from collections.abc import Mapping
import math
from typing import Any

_MOST = 10**15  # of any number that a person reads


def fault(where: str, entry: Any) -> str:
  """The first number of an evaluation that cannot be, as 'found ..., expected ...'; '' for none.

  Args:
    where: what the entry is called.
    entry: an `evaluation.Evaluation.summary` that was read, or a part of one.
  """
  if not isinstance(entry, dict):
    return told(where, entry, 'an evaluation')
  for name, least in {'episodes': 1, 'successes': 0, 'steps': 0}.items():
    value = entry.get(name)
    if not is_count(value, least):
      return told(f'{where}.{name}', value, f'a whole number of {least} or more')
  if entry['successes'] > entry['episodes']:
    return told(f'{where}.successes', entry['successes'], f'{entry["episodes"]} at most')
  expected = entry['successes'] / entry['episodes']
  rate = entry.get('success_rate')
  if not is_number(rate) or abs(rate - expected) > 1e-9:
    of = f'{entry["successes"]} of {entry["episodes"]}'
    return told(f'{where}.success_rate', rate, f'{expected:g}, which is {of}')
  return _of_rates(where, entry)


def _of_rates(where: str, entry: Mapping[str, Any]) -> str:
  """Episodes and successes per hour against each other and, where they are told, the steps."""
  for name in ('throughput', 'successes_per_hour'):
    if not is_number(entry.get(name), least=0):
      return told(f'{where}.{name}', entry.get(name), 'a number of 0 or more')
  hz, steps = entry.get('control_hz'), entry['steps']
  if hz is not None:
    if not (is_number(hz) and hz > 0):
      return told(f'{where}.control_hz', hz, 'a number of more than 0')
    expected = entry['episodes'] * 3600 * hz / steps if steps else entry['throughput']
    if not math.isclose(entry['throughput'], expected, rel_tol=1e-6):
      of = f'{expected:g}, which is {entry["episodes"]} episodes in {steps} steps at {hz:g} Hz'
      return told(f'{where}.throughput', entry['throughput'], of)
  expected = entry['throughput'] * entry['success_rate']
  if not math.isclose(entry['successes_per_hour'], expected, rel_tol=1e-6):
    of = f'{expected:g}, which is success_rate of throughput'
    return told(f'{where}.successes_per_hour', entry['successes_per_hour'], of)
  return ''


def fault_of_run(where: str, entry: dict[str, Any]) -> str:
  """`fault` of an evaluation that a run keeps of an iteration, with all that it tells."""
  if not is_count(entry['iteration']):
    return told(f'{where}.iteration', entry['iteration'], 'a whole number of 0 or more')
  if wrong := fault(where, entry):
    return wrong
  if not entry['steps']:
    return told(f'{where}.steps', entry['steps'], 'a whole number of 1 or more')
  for name in ('low', 'high'):
    if name in entry and not (is_number(entry[name], least=0) and entry[name] <= 1):
      return told(f'{where}.{name}', entry[name], 'a number from 0 to 1')
  if (ends := entry.get('ends')) is None:
    return ''
  if not (isinstance(ends, dict) and all(map(is_count, ends.values()))):
    return told(f'{where}.ends', ends, 'how many episodes ended by each reason')
  if ends.get('success', 0) != entry['successes'] or sum(ends.values()) != entry['episodes']:
    expected = f'{entry["episodes"]} episodes, {entry["successes"]} of them with success'
    return told(f'{where}.ends', ends, expected)
  return ''


def is_count(value: Any, least: int = 0) -> bool:
  """Whether this is a whole number of at least that."""
  return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST


def is_number(value: Any, least: float = -math.inf) -> bool:
  """Whether this is a number of at least that, and none that nobody can have measured."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return False
  return least <= value and abs(value) <= _MOST


def told(name: str, found: Any, expected: str) -> str:
  """What is wrong, in words."""
  return f'{name}: found {found!r:.80}, expected {expected}'
