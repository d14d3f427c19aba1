"""What the results of a comparison lack, and where its runs were made.

`results` is what `comparison.tables` describes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aloe_jax.comparison import store
from aloe_jax.comparison import tables


def missing(results: tables.Results) -> str:
  """Which runs are not there yet: whole methods, whole tasks, and of the others which seeds."""
  lacking: list[store.Key] = results['missing']
  if not lacking:
    return ''
  number = len(results['runs'])
  lines = [f'**{len(lacking)} of {number + len(lacking)} runs are missing yet:**', '']
  begun = {run['method'] for run in results['runs']}
  if methods := dict.fromkeys(key.method for key in lacking if key.method not in begun):
    lines.append(f'* all of {_named(methods)}')
  if tasks := dict.fromkeys(key.task for key in lacking if key.task not in results['tasks']):
    lines.append(f'* all of the tasks {_named(tasks)}')
  rest = [key for key in lacking if key.method in begun and key.task in results['tasks']]
  for task, keys in _groups((key.task, key) for key in rest).items():
    by_method = _groups((key.method, key.seed) for key in keys)
    by_seeds = _groups((_listed(seeds), method) for method, seeds in by_method.items())
    told = [f'seeds {seeds} of {_named(methods)}' for seeds, methods in by_seeds.items()]
    lines.append(f'* `{task}`: {"; ".join(told)}')
  reasons = _groups((reason, key) for key, reason in results['outdated'].items())
  if reasons:
    lines += [
      '',
      'Of these, the store has records that are not of what the suite asks for now:',
      '',
    ]
  for reason, keys in reasons.items():
    lines.append(f'* {len(keys)} of {_named(dict.fromkeys(key.method for key in keys))}: {reason}')
  return '\n'.join(lines)


def markdown(results: tables.Results) -> str:
  """A table of commits and machines, and the runs that share their warm start by name only."""
  made = _groups(
    ((run['commit'], _machine(run['machine'])), run['seconds']) for run in results['runs']
  )
  lines = [
    'Where the runs were made; the hours are those of all of them, one after the other.',
    '',
    '| commit | machine | runs | hours |',
    '|---|---|---|---|',
  ]
  for (commit, machine), seconds in made.items():
    hours = f'{sum(filter(None, seconds)) / 3600:.1f}' + ' or more' * (None in seconds)
    lines.append(f'| `{commit}` | {machine} | {len(seconds)} | {hours} |')
  again = starts(results)
  if again:
    lines += ['', 'Runs that began from another policy than their warm start, made twice:', '']
    lines += [f'* {line}' for line in again]
  return '\n'.join(lines)


def starts(results: tables.Results) -> list[str]:
  """Runs whose first evaluation is not that of their warm start: it was made anew, and differs."""
  first = {
    (run['task'], run['seed'], run['method']): (
      run['iterations'][0]['successes'],
      run['iterations'][0]['steps'],
    )
    for run in results['runs']
    if not any(field.startswith('task.') for field in run['changes'])  # plays otherwise
  }
  return [
    f'`{task}`, seed {seed}: {method}'
    for (task, seed, method), found in first.items()
    if found != first.get((task, seed, tables.WARM_START), found)
  ]


def _machine(machine: Mapping[str, Any] | None) -> str:
  if machine is None:
    return 'not told'
  packages = ', '.join(f'{name} {version}' for name, version in machine['packages'].items())
  count = machine['cores']
  cores = f'{count} core{"s" * (count != 1)} of {machine["processor"]}'
  return ', '.join([*machine['accelerators'], cores, packages])


def _named(names: Iterable[str]) -> str:
  return ', '.join(f'`{tables.SHOWN.get(name, name)}`' for name in names)


def _listed(numbers: list[int]) -> str:
  return ', '.join(map(str, sorted(numbers)))


def _groups(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
  """{first: all seconds that it comes with}, in the order they come."""
  found: dict[Any, list[Any]] = {}
  for key, value in pairs:
    found.setdefault(key, []).append(value)
  return found
