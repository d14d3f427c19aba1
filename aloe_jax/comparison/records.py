"""What is wrong with the record of a run, before any table is made of it.

Records are files that people copy and mend by hand. A number that cannot be is told by its name.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Any

from aloe_jax.run import plausible

_SHARES = ('falls_failure', 'falls_success')  # of a report, from 0 to 1
_TEXTS = ('task', 'method')
_WORDS = ('agent', 'task', 'foretold', 'held_out')  # of a report, which are no numbers
_TABLES = ('changes', 'conditions', 'settings')


def fault(record: Any) -> str:
  """The first thing that cannot be, as 'found ..., expected ...'; '' where there is none.

  Args:
    record: what a file of `comparison.store` held; it has all the names that one needs.
  """
  for name in _TEXTS:
    if not isinstance(record[name], str):
      return plausible.told(name, record[name], 'a text')
  if not plausible.is_count(record['seed']):
    return plausible.told('seed', record['seed'], 'a whole number of 0 or more')
  for name in _TABLES:
    if not isinstance(record[name], dict):
      return plausible.told(name, record[name], 'an object')
  if not is_commands(record['commands']):
    return plausible.told('commands', record['commands'], 'lists of texts')
  if not isinstance(record['commit'], str | None):
    return plausible.told('commit', record['commit'], 'a text or null')
  seconds = record['seconds']
  if seconds is not None and not plausible.is_number(seconds, least=0):
    return plausible.told('seconds', seconds, 'a number of 0 or more, or null')
  if record['settings'].get('seed', record['seed']) != record['seed']:
    return plausible.told(
      'settings.seed', record['settings']['seed'], f'{record["seed"]}, as in seed'
    )
  return (
    _of_machine(record['machine'])
    or _of_iterations(record['iterations'], record['settings'])
    or _of_conditions(record['conditions'])
    or of_report('report', record['report'])
    or _against(record['report'] or {}, record['iterations'])
  )


def _of_machine(machine: Any) -> str:
  if machine is None:
    return ''
  expected = 'null or an object with processor, cores, accelerators and packages'
  if not isinstance(machine, dict):
    return plausible.told('machine', machine, expected)
  kinds = {'processor': str, 'cores': int, 'accelerators': list, 'packages': dict}
  fits = all(isinstance(machine.get(name), kind) for name, kind in kinds.items())
  fits = fits and all(isinstance(name, str) for name in machine['accelerators'])
  return '' if fits else plausible.told('machine', machine, expected)


def _of_iterations(iterations: Any, settings: Mapping[str, Any]) -> str:
  """Evaluations of 0, 1, ... up to as many as the run was to have."""
  if not isinstance(iterations, list) or not iterations:
    return plausible.told('iterations', iterations, 'a list of evaluations')
  for number, entry in enumerate(iterations):
    where = f'iterations[{number}]'
    if wrong := plausible.fault(where, entry):
      return wrong
    if entry.get('iteration') != number:
      return plausible.told(f'{where}.iteration', entry.get('iteration'), f'{number}')
  last = settings.get('iterations', len(iterations) - 1)
  if not plausible.is_count(last):
    return plausible.told('settings.iterations', last, 'a whole number of 0 or more')
  if len(iterations) != last + 1:
    return f'found evaluations of {len(iterations) - 1} iterations, expected {last}'
  evaluation = settings.get('evaluation', {})
  episodes = evaluation.get('episodes') if isinstance(evaluation, dict) else None
  for number, entry in enumerate(iterations):
    if episodes is not None and entry['episodes'] != episodes:
      return plausible.told(f'iterations[{number}].episodes', entry['episodes'], f'{episodes}')
  return ''


def _against(report: Mapping[str, Any], iterations: Sequence[Mapping[str, Any]]) -> str:
  """The first success rate of a report that the run's own evaluation contradicts."""
  for number, entry in enumerate(iterations):
    name = f'success_rate_{number}'
    rate, expected = report.get(name), entry['success_rate']
    if rate is not None and abs(rate - expected) > 1e-9:
      return plausible.told(f'report.{name}', rate, f'{expected:g}, as in iterations[{number}]')
  return ''


def _of_conditions(conditions: Mapping[str, Any]) -> str:
  found = (plausible.fault(f'conditions.{name}', entry) for name, entry in conditions.items())
  return next(filter(None, found), '')


def of_report(where: str, report: Any) -> str:
  """The first number of a report that cannot be, as `fault` has it; '' where there is none."""
  if report is None:
    return ''
  if not isinstance(report, dict):
    return plausible.told(where, report, 'an object or null')
  for name, value in report.items():
    low, high = _range(name)
    is_other = value is None or name in _WORDS or name.startswith('deployed')
    if not is_other and not (plausible.is_number(value) and low <= value <= high):
      among = '' if math.isinf(high) else f' from {low:g} to {high:g}'
      return plausible.told(f'{where}.{name}', value, f'a number{among} or null')
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
