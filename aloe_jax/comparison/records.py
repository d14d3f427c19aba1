"""What is wrong with the record of a run, before any table is made of it.

Records are files that people copy and mend by hand. A number that cannot be is told by its name.
"""

from collections.abc import Mapping
import math
from typing import Any

_SHARES = ('falls_failure', 'falls_success')  # of a report, from 0 to 1
_TEXTS = ('task', 'method')
_WORDS = ('agent', 'task', 'foretold', 'held_out')  # of a report, which are no numbers
_MOST = 10**15  # of any number that a person reads
_TABLES = ('changes', 'conditions', 'settings')


def fault(record: Any) -> str:
  """The first thing that cannot be, as 'found ..., expected ...'; '' where there is none.

  Args:
    record: what a file of `comparison.store` held; it has all the names that one needs.
  """
  for name in _TEXTS:
    if not isinstance(record[name], str):
      return told(name, record[name], 'a text')
  if not is_count(record['seed']):
    return told('seed', record['seed'], 'a whole number of 0 or more')
  for name in _TABLES:
    if not isinstance(record[name], dict):
      return told(name, record[name], 'an object')
  if not is_commands(record['commands']):
    return told('commands', record['commands'], 'lists of texts')
  if not isinstance(record['commit'], str | None):
    return told('commit', record['commit'], 'a text or null')
  seconds = record['seconds']
  if seconds is not None and not is_number(seconds, least=0):
    return told('seconds', seconds, 'a number of 0 or more, or null')
  if record['settings'].get('seed', record['seed']) != record['seed']:
    return told('settings.seed', record['settings']['seed'], f'{record["seed"]}, as in seed')
  return (
    _of_machine(record['machine'])
    or _of_iterations(record['iterations'], record['settings'])
    or _of_conditions(record['conditions'])
    or of_report('report', record['report'])
  )


def _of_machine(machine: Any) -> str:
  if machine is None:
    return ''
  expected = 'null or an object with processor, cores, accelerators and packages'
  if not isinstance(machine, dict):
    return told('machine', machine, expected)
  kinds = {'processor': str, 'cores': int, 'accelerators': list, 'packages': dict}
  fits = all(isinstance(machine.get(name), kind) for name, kind in kinds.items())
  fits = fits and all(isinstance(name, str) for name in machine['accelerators'])
  return '' if fits else told('machine', machine, expected)


def _of_iterations(iterations: Any, settings: Mapping[str, Any]) -> str:
  """Evaluations of 0, 1, ... up to as many as the run was to have."""
  if not isinstance(iterations, list) or not iterations:
    return told('iterations', iterations, 'a list of evaluations')
  for number, entry in enumerate(iterations):
    where = f'iterations[{number}]'
    if wrong := of_evaluation(where, entry):
      return wrong
    if entry.get('iteration') != number:
      return told(f'{where}.iteration', entry.get('iteration'), f'{number}')
  last = settings.get('iterations', len(iterations) - 1)
  if not is_count(last):
    return told('settings.iterations', last, 'a whole number of 0 or more')
  if len(iterations) != last + 1:
    return f'found evaluations of {len(iterations) - 1} iterations, expected {last}'
  evaluation = settings.get('evaluation', {})
  episodes = evaluation.get('episodes') if isinstance(evaluation, dict) else None
  for number, entry in enumerate(iterations):
    if episodes is not None and entry['episodes'] != episodes:
      return told(f'iterations[{number}].episodes', entry['episodes'], f'{episodes}')
  return ''


def _of_conditions(conditions: Mapping[str, Any]) -> str:
  found = (of_evaluation(f'conditions.{name}', entry) for name, entry in conditions.items())
  return next(filter(None, found), '')


def of_evaluation(where: str, entry: Any) -> str:
  """The first number of an evaluation that cannot be, as `fault` has it; '' where there is none."""
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
  for name in ('throughput', 'successes_per_hour'):
    if not is_number(entry.get(name), least=0):
      return told(f'{where}.{name}', entry.get(name), 'a number of 0 or more')
  return ''


def of_report(where: str, report: Any) -> str:
  """The first number of a report that cannot be, as `fault` has it; '' where there is none."""
  if report is None:
    return ''
  if not isinstance(report, dict):
    return told(where, report, 'an object or null')
  for name, value in report.items():
    low, high = _range(name)
    is_other = value is None or name in _WORDS or name.startswith('deployed')
    if not is_other and not (is_number(value) and low <= value <= high):
      among = '' if math.isinf(high) else f' from {low:g} to {high:g}'
      return told(f'{where}.{name}', value, f'a number{among} or null')
  return ''


def _range(name: str) -> tuple[float, float]:
  """What a number of a report can be."""
  if name.startswith('spearman'):
    return -1.0, 1.0
  return (0.0, 1.0) if name in _SHARES else (-math.inf, math.inf)


def is_commands(commands: Any) -> bool:
  """Whether these are lists of texts."""
  return isinstance(commands, list) and all(
    isinstance(command, list) and all(isinstance(part, str) for part in command)
    for command in commands
  )


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
