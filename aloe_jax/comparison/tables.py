"""Results of a comparison as Markdown tables, every number with its 95 % interval.

`results` is what `experiments.paper` writes: 'tasks', 'methods', and 'runs', each with its task,
seed, method, the evaluations of its iterations and those under other conditions, and the numbers of
its critic's report.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aloe_jax.comparison import paired

REFERENCE = 'ALOE'
WARM_START = 'warm_start'
CRITIC = {
  'spearman_own': 'rank correlation',
  'spearman_early': 'in the first quarter',
  'falls_failure': 'falls in failures',
  'falls_success': 'falls in successes',
  'advantage_failure': 'advantage before failures',
  'advantage_success': 'advantage in successes',
}
CONDITIONS = {'unseen': 'unseen objects', 'disturb': 'disturbances'}

Results = Mapping[str, Any]


def markdown(results: Results) -> str:
  """All tables."""
  tables = [_final(results), _iterations(results), _speed(results)]
  conditions = [name for name in CONDITIONS if name in results['runs'][0]['conditions']]
  if conditions:
    tables.append(_conditions(results, conditions))
  reported_on = [
    method
    for method in results['methods']
    if all(run['report'] for run in results['runs'] if run['method'] == method)
  ]
  if reported_on:
    tables.append(_critics(results, reported_on))
  return '\n\n'.join(tables) + '\n'


def values(
  results: Results, method: str, measure: Callable[[dict], float]
) -> dict[tuple[str, int], float]:
  """{(task, seed): a number of the run} of one method."""
  return {
    (run['task'], run['seed']): measure(run) for run in results['runs'] if run['method'] == method
  }


def final(run: dict) -> float:
  """Success rate after the last iteration, in percent."""
  return 100 * run['iterations'][-1]['success_rate']


def rate_of(number: int) -> Callable[[dict], float]:
  """Success rate after an iteration, in percent; of a warm start, the only one there is."""
  return lambda run: (
    100 * run['iterations'][min(number, len(run['iterations']) - 1)]['success_rate']
  )


def last(field: str) -> Callable[[dict], float]:
  """A number of the evaluation after the last iteration."""
  return lambda run: run['iterations'][-1][field]


def rate_under(condition: str) -> Callable[[dict], float]:
  """Final success rate under a condition, in percent."""
  return lambda run: 100 * run['conditions'][condition]['success_rate']


def reported(name: str) -> Callable[[dict], float]:
  """A number of the critic's report; not a number where it could not be had."""

  def measure(run: dict) -> float:
    number = run['report'].get(name)
    return np.nan if number is None else number

  return measure


def _rows(results: Results) -> list[tuple[str, str]]:
  """(method, what it is called) of every row."""
  return [(WARM_START, 'BC warm start')] + [(name, name) for name in results['methods']]


def _final(results: Results) -> str:
  seeds = len({run['seed'] for run in results['runs']})
  episodes = results['runs'][0]['iterations'][-1]['episodes']
  lines = [
    f'Final success in %, mean of {seeds} seed{"s" * (seeds > 1)} of {episodes} episodes each, '
    f'95 % interval over seeds; and {REFERENCE} minus the method, paired by task and seed.',
    '',
    _line('method', *results['tasks'], 'mean', f'{REFERENCE} minus it', 'p'),
    _rule(len(results['tasks']) + 4),
  ]
  reference = values(results, REFERENCE, final)
  for method, shown in _rows(results):
    found = values(results, method, final)
    cells = [
      _cell(paired.mean({key: x for key, x in found.items() if key[0] == task}))
      for task in results['tasks']
    ]
    cells.append(_cell(paired.mean(found)))
    difference = paired.paired(reference, found)
    cells += ['', ''] if method == REFERENCE else [_signed(difference), _p_value(difference)]
    lines.append(_line(shown, *cells))
  return '\n'.join(lines)


def _iterations(results: Results) -> str:
  newest = max(len(run['iterations']) for run in results['runs']) - 1
  lines = [
    'Success in %, mean of all tasks and seeds, by RL iteration, and the gain of the last one.',
    '',
    _line('method', *(str(number) for number in range(newest + 1)), 'gain of the last'),
    _rule(newest + 3),
  ]
  for method in results['methods']:
    found = [values(results, method, rate_of(number)) for number in range(newest + 1)]
    means = [f'{paired.mean(x).mean:.1f}' for x in found]
    lines.append(_line(method, *means, _signed(paired.paired(found[-1], found[-2]))))
  return '\n'.join(lines)


def _speed(results: Results) -> str:
  measures = {
    'successes per hour': 'successes_per_hour',
    'episodes per hour': 'throughput',
  }
  lines = [
    'Throughput after the last iteration, per hour of robot time, resets excluded; mean of all '
    'tasks and seeds.',
    '',
    _line('method', *measures),
    _rule(1 + len(measures)),
  ]
  for method, shown in _rows(results):
    found = [values(results, method, last(field)) for field in measures.values()]
    lines.append(_line(shown, *(_cell(paired.mean(x), digits=0) for x in found)))
  return '\n'.join(lines)


def _conditions(results: Results, conditions: list[str]) -> str:
  lines = [
    'Final success in %, mean of all tasks and seeds, in scenes like those of training and in '
    'others.',
    '',
    _line('method', 'as trained', *(CONDITIONS[name] for name in conditions)),
    _rule(2 + len(conditions)),
  ]
  for method, shown in _rows(results):
    measures = [final, *map(rate_under, conditions)]
    cells = [_cell(paired.mean(values(results, method, measure))) for measure in measures]
    lines.append(_line(shown, *cells))
  return '\n'.join(lines)


def _critics(results: Results, methods: list[str]) -> str:
  lines = [
    'Critics of the last iteration on episodes that they have not seen, mean of all tasks and '
    'seeds: rank correlation (Spearman) of the score of a chunk that the policy executed with the '
    'return that came of it, at all times and in the first quarter; share of fragments whose score '
    'falls before the last step; and, of critics of actions, the mean advantage (steps) of the '
    'chunks that lead into a failure and of all chunks of successes.',
    '',
    _line('method', *CRITIC.values()),
    _rule(1 + len(CRITIC)),
  ]
  for method in methods:
    found = [paired.mean(values(results, method, reported(name))) for name in CRITIC]
    lines.append(_line(method, *(_cell(x, digits=2) for x in found)))
  return '\n'.join(lines)


def _cell(found: paired.Difference, digits: int = 1) -> str:
  if np.isnan(found.mean):
    return ''
  if np.isnan(found.low):
    return f'{found.mean:.{digits}f}'
  return f'{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})'


def _p_value(found: paired.Difference) -> str:
  return '' if np.isnan(found.p_value) else f'{found.p_value:.2g}'


def _signed(found: paired.Difference) -> str:
  if np.isnan(found.low):
    return f'{found.mean:+.1f}'
  return f'{found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f})'


def _line(*cells: str) -> str:
  return f'| {" | ".join(cells)} |'


def _rule(columns: int) -> str:
  return f'|{"---|" * columns}'
