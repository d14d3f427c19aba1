"""Results of a comparison as Markdown tables, every number with its 95 % interval.

`results` is what `experiments.results` reads: 'tasks', 'methods', 'runs', each a record of the
store with its task, seed, method, the evaluations of its iterations and those under other
conditions, and the numbers of its critic's report; 'colours', {method: number of its colour};
'missing', the keys of runs that are not there yet, and 'outdated', {key: why} of those whose record
is not of what is asked for now.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
from typing import Any

import numpy as np

from aloe_jax.comparison import paired

REFERENCES = ('ALOE', "ALOE, the paper's weights")  # what the other methods are held against
WARM_START = 'warm_start'
SHOWN = {WARM_START: 'BC warm start'}  # what is called otherwise in tables and figures
CRITIC = {
  'spearman_own': 'rank correlation',
  'spearman_early': 'in the first quarter',
  'falls_failure': 'falls in failures',
  'falls_success': 'falls in successes',
  'advantage_failure': 'advantage before failures',
  'advantage_success': 'advantage in successes',
}
CONDITIONS = {'unseen': 'unseen objects', 'disturb': 'disturbances'}
_PERCENT = (0.0, 100.0)  # where intervals of success rates end
_LISTED = 5  # runs that a sentence names
_INTERVALS = (
  "Intervals are Student's t with 95 %, of the variance between the seeds of a task. There is none "
  'where it would rest on fewer than two degrees of freedom, on half of the tasks or fewer, or on '
  'seeds that do not differ: it takes three seeds of a task, or in a mean two of most tasks. In '
  'brackets is how many runs, or pairs of runs, a number is of. Differences are of all pairs there '
  'are, means of the runs that every method has: so they need not agree. p is that of a mean '
  'difference of zero, two-sided, by the same t.'
)

Results = Mapping[str, Any]
Measure = Callable[[dict], float]


def markdown(results: Results) -> str:
  """All tables."""
  tables = [_INTERVALS, _final(results)]
  for reference in references(results):
    tables += [_differences(results, reference, 1), _differences(results, reference, None)]
  tables += [_iterations(results), _speed(results)]
  if conditions := under(results):
    tables.append(_conditions(results, conditions))
  for condition, shown in CONDITIONS.items():
    tables.append(_without(results['runs'], f'under {shown}', _was_under(condition)))
  reported_on = []
  for method in results['methods']:
    runs = [run for run in results['runs'] if run['method'] == method]
    if all(map(_has_report, runs)):
      reported_on.append(method)
    tables.append(_without(runs, f'of critics of {method}', _has_report))
  if reported_on:
    tables.append(_critics(results, reported_on))
  return '\n\n'.join(table for table in tables if table)


def values(
  results: Results, method: str, measure: Measure, tasks: Iterable[str] | None = None
) -> dict[tuple[str, int], float]:
  """{(task, seed): a number of the run} of one method, of some tasks or of all."""
  wanted = set(results['tasks'] if tasks is None else tasks)
  return {
    (run['task'], run['seed']): measure(run)
    for run in results['runs']
    if run['method'] == method and run['task'] in wanted
  }


def compared(results: Results) -> list[str]:
  """Methods of which means are shown: those with half as many runs as another, or more.

  Means are over the runs that all of them have, and a method with few would leave few to all.
  """
  runs = {method: len(values(results, method, final)) for method in results['methods']}
  return [method for method, count in runs.items() if 2 * count >= max(runs.values())]


def common(results: Results) -> list[tuple[str, int]]:
  """(task, seed) that all methods compared have: over others a mean compares unlike things."""
  methods = [WARM_START, *compared(results)]
  found = [values(results, method, lambda run: 0.0).keys() for method in methods]
  return sorted(set.intersection(*map(set, found)))


def common_values(results: Results, method: str, measure: Measure) -> dict[tuple[str, int], float]:
  """{(task, seed): a number of the run} of one of those compared, where all of them have a run."""
  if method not in (WARM_START, *compared(results)):
    return {}
  found = values(results, method, measure)
  return {key: found[key] for key in common(results)}


def ahead(
  results: Results,
  reference: str,
  method: str,
  measure: Measure,
  tasks: Iterable[str] | None = None,
) -> paired.Difference:
  """A reference minus a method, of the runs that share task, seed and both."""
  first, second = (values(results, name, measure, tasks) for name in (reference, method))
  both = first.keys() & second.keys()
  return paired.paired({key: first[key] for key in both}, {key: second[key] for key in both})


def under(results: Results) -> list[str]:
  """Conditions under which every run was evaluated."""
  return [name for name in CONDITIONS if all(map(_was_under(name), results['runs']))]


def references(results: Results) -> list[str]:
  """Those of `REFERENCES` that have runs."""
  return [name for name in REFERENCES if name in results['methods']]


def final(run: dict) -> float:
  """Success rate after the last iteration, in percent."""
  return 100 * run['iterations'][-1]['success_rate']


def rate_of(number: int) -> Measure:
  """Success rate after an iteration, in percent; of a warm start, the only one there is."""
  return lambda run: (
    100 * run['iterations'][min(number, len(run['iterations']) - 1)]['success_rate']
  )


def last(field: str) -> Measure:
  """A number of the evaluation after the last iteration."""
  return lambda run: run['iterations'][-1][field]


def rate_under(condition: str) -> Measure:
  """Final success rate under a condition, in percent."""
  return lambda run: 100 * run['conditions'][condition]['success_rate']


def reported(name: str) -> Measure:
  """A number of the critic's report; not a number where it could not be had."""

  def measure(run: dict) -> float:
    number = run['report'].get(name)
    return np.nan if number is None else number

  return measure


def _rows(results: Results) -> list[tuple[str, str]]:
  """(method, what it is called) of every row that has runs."""
  rows = [(name, SHOWN.get(name, name)) for name in (WARM_START, *results['methods'])]
  return [row for row in rows if values(results, row[0], final)]


def _mean_of(results: Results) -> str:
  """What a mean is over, in words."""
  pairs = common(results)
  every = 'every method'
  if few := [method for method in results['methods'] if method not in compared(results)]:
    quoted = ' and '.join(f'"{method}"' for method in few)
    every += f' but {quoted}, of which there are few'
  if not pairs:
    return f'no task yet, as none has runs of {every} with the same seed'
  if {(run['task'], run['seed']) for run in results['runs']} == set(pairs) and not few:
    return 'all tasks and seeds' + ' that have runs' * bool(results['missing'])
  shown = {
    task: ', '.join(str(seed) for other, seed in pairs if other == task) for task, _ in pairs
  }
  listed = '; '.join(f'`{task}` {seeds}' for task, seeds in shown.items())
  return f'the tasks and seeds that have runs of {every}: {listed}'


def _final(results: Results) -> str:
  episodes = sorted({run['iterations'][-1]['episodes'] for run in results['runs']})
  shown = ' or '.join(map(str, episodes))
  lines = [
    f'Final success in %, of {shown} episodes a run. The mean is over {_mean_of(results)}.',
    '',
    _line('method', *results['tasks'], 'mean'),
    _rule(len(results['tasks']) + 2),
  ]
  for method, shown in _rows(results):
    found = [values(results, method, final, [task]) for task in results['tasks']]
    found.append(common_values(results, method, final))
    lines.append(_line(shown, *(_cell(paired.mean(x), within=_PERCENT) for x in found)))
  return '\n'.join(lines)


def _differences(results: Results, reference: str, iteration: int | None) -> str:
  """How far a reference is ahead after an iteration, or after the last one."""
  when = 'after the last iteration' if iteration is None else f'after iteration {iteration}'
  measure = final if iteration is None else rate_of(iteration)
  lines = [
    f'{reference} minus the method {when}, in points of success: runs that share task and seed are '
    'compared.',
    '',
    _line('method', *results['tasks'], 'mean', 'p'),
    _rule(len(results['tasks']) + 3),
  ]
  for method, shown in _rows(results):
    if method != reference:
      found = [ahead(results, reference, method, measure, [task]) for task in results['tasks']]
      mean = ahead(results, reference, method, measure)
      of_some = f' of {mean.tasks} tasks' if mean.tasks < len(results['tasks']) else ''
      lines.append(_line(shown, *map(signed, found), signed(mean, of_some), _p_value(mean)))
  return '\n'.join(lines)


def _iterations(results: Results) -> str:
  newest = max(len(run['iterations']) for run in results['runs']) - 1
  lines = [
    f'Success in % by RL iteration, mean of {_mean_of(results)}, and the gain of the last one.',
    '',
    _line('method', *(str(number) for number in range(newest + 1)), 'gain of the last'),
    _rule(newest + 3),
  ]
  for method in compared(results):
    found = [common_values(results, method, rate_of(n)) for n in range(newest + 1)]
    cells = [_number(f'{paired.mean(x).mean:.1f}', len(x)) for x in found]
    gain = signed(paired.paired(found[-1], found[-2])) if newest else ''
    lines.append(_line(method, *cells, gain))
  return '\n'.join(lines)


def _speed(results: Results) -> str:
  measures = {
    'successes per hour': last('successes_per_hour'),
    'episodes per hour': last('throughput'),
  }
  lines = [
    'Throughput after the last iteration, per hour of robot time, resets excluded; mean of '
    f'{_mean_of(results)}.',
    '',
    *_table(results, _rows(results), measures, digits=0, intervals=False),
  ]
  return '\n'.join(lines)


def _conditions(results: Results, conditions: list[str]) -> str:
  measures: dict[str, Measure] = {'as trained': final}
  measures |= {CONDITIONS[name]: rate_under(name) for name in conditions}
  lines = [
    'Final success in % in scenes like those of training and in others; mean of '
    f'{_mean_of(results)}.',
    '',
    *_table(results, _rows(results), measures, within=_PERCENT),
  ]
  return '\n'.join(lines)


def _critics(results: Results, methods: list[str]) -> str:
  measures = {title: reported(name) for name, title in CRITIC.items()}
  lines = [
    'Critics of the last iteration, each on episodes of its own policy that it has not seen, so '
    'that methods can hardly be compared: rank correlation (Spearman) of the score of a chunk that '
    'the policy executed with the return that came of it, at all times and in the first quarter; '
    'share of fragments whose score falls before the last step; and, of critics of actions, the '
    'mean advantage (steps) of the chunks that lead into a failure and of all chunks of successes. '
    f'Mean of {_mean_of(results)}.',
    '',
    *_table(results, [(method, method) for method in methods], measures, digits=2),
  ]
  return '\n'.join(lines)


def _was_under(condition: str) -> Callable[[dict], bool]:
  """Whether a run was evaluated under a condition."""
  return lambda run: condition in run['conditions']


def _has_report(run: dict) -> bool:
  return bool(run['report'])


def _without(runs: list[dict], numbers: str, has: Callable[[dict], bool]) -> str:
  """Which runs lack numbers that others have, so that none are shown; '' where all are alike."""
  lack = [f'`{run["task"]}/seed_{run["seed"]}/{run["method"]}`' for run in runs if not has(run)]
  if not 0 < len(lack) < len(runs):
    return ''
  listed = ', '.join(lack[:_LISTED]) + f' and {len(lack) - _LISTED} more' * (len(lack) > _LISTED)
  return f'No numbers {numbers} are shown: {len(lack)} of {len(runs)} runs lack them: {listed}.'


def _table(
  results: Results,
  rows: list[tuple[str, str]],
  measures: Mapping[str, Measure],
  digits: int = 1,
  within: tuple[float, float] = (-np.inf, np.inf),
  *,
  intervals: bool = True,
) -> list[str]:
  """A row a method compared, a column a measure: means over the tasks and seeds in common.

  Without `intervals` where tasks have no common scale, and so no common variance.
  """
  lines = [_line('method', *measures), _rule(1 + len(measures))]
  for method, shown in rows:
    if method not in (WARM_START, *compared(results)):
      continue
    found = [paired.mean(common_values(results, method, x)) for x in measures.values()]
    if not intervals:
      found = [dataclasses.replace(x, low=np.nan, high=np.nan) for x in found]
    lines.append(_line(shown, *(_cell(x, digits, within) for x in found)))
  return lines


def _cell(
  found: paired.Difference,
  digits: int = 1,
  within: tuple[float, float] = (-np.inf, np.inf),
) -> str:
  """A mean with its interval, which ends where the number itself has to."""
  text = f'{found.mean:.{digits}f}'
  if not np.isnan(found.low):
    low, high = np.clip((found.low, found.high), *within)
    text += f' ({low:.{digits}f} to {high:.{digits}f})'
  return _number(text, 0 if np.isnan(found.mean) else found.pairs)


def signed(found: paired.Difference, more: str = '') -> str:
  """A difference with its sign, its interval and how many pairs it is of."""
  text = f'{found.mean:+.1f}'
  if not np.isnan(found.low):
    text += f' ({found.low:+.1f} to {found.high:+.1f})'
  return _number(text, found.pairs, more)


def _number(text: str, runs: int, more: str = '') -> str:
  """A number with how many runs it is of; nothing where there are none."""
  return f'{text} [{runs}{more}]' if runs else ''


def _p_value(found: paired.Difference) -> str:
  return '' if np.isnan(found.p_value) else f'{found.p_value:.2g}'


def _line(*cells: str) -> str:
  return f'| {" | ".join(cells)} |'


def _rule(columns: int) -> str:
  return f'|{"---|" * columns}'
