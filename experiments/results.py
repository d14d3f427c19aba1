"""Tables and figures of the comparisons, from the store of finished runs alone.

  python -m experiments.results

Writes `SUITE/results.md` and the figures of every suite beside the store, by default in
`docs/results`, also where some runs are missing yet, and says which. And `foretold`: what report
cards foretold of them, and what the first cards tell of the end. Older tables and figures there
are replaced; figures that nothing is left to draw of go.
"""

import argparse
from collections.abc import Mapping
import pathlib

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import plots
from aloe_jax import progress
from aloe_jax.comparison import figures
from aloe_jax.comparison import jobs
from aloe_jax.comparison import paired
from aloe_jax.comparison import payoff
from aloe_jax.comparison import provenance
from aloe_jax.comparison import store
from aloe_jax.comparison import tables
from experiments import arguments
from experiments import foretold
from experiments import suites

_MADE = (
  'Runs of `python -m experiments.paper --suite={}`; this page and the figures beside it are of '
  '`python -m experiments.results`.'
)
STORE = pathlib.Path(__file__).parents[1] / 'docs' / 'results' / 'runs'


def main() -> None:
  """Makes all of them anew."""
  directory = _parser().parse_args().store.absolute()
  if not directory.is_dir():
    raise SystemExit(f'error: --store: there is no directory {directory}.')
  if not any(directory.glob('*/*/*.json')):
    raise SystemExit(
      f'error: --store: {directory} holds no record of a run; expected TASK/seed_N/METHOD.json, as '
      'experiments.paper keeps them.'
    )
  workdir = pathlib.Path(store.WORKDIR)
  kept = store.Store(directory)
  known: set[pathlib.Path] = set()
  gains: dict[str, paired.Pairs] = {}
  with config_lib.user_errors():
    for name, suite in suites.SUITES.items():
      planned = suites.plan(suite, workdir, {})
      known.update(map(kept.path, planned))
      found = read(planned, kept, workdir)
      gains[name] = payoff.gains(found)
      told = f'{len(found["runs"])} of {len(planned)} runs are there'
      if found['outdated']:
        told += f'; {len(found["outdated"])} records are of something else'
      is_shown = len(found['methods']) > 1
      if found['methods'] and not is_shown:  # which may be shared with another suite
        told += f'; no tables, as they are of {found["methods"][0]} alone'
      if not is_shown and (directory.parent / name).is_dir():
        told += f'; {directory.parent / name} is of runs that were there before'
      progress.CONSOLE.print(f'{name}: {told}.', highlight=False, soft_wrap=True)
      if is_shown:
        write(name, planned, kept, workdir, directory.parent / name)
    if others := sorted(set(directory.glob('*/*/*')) - known):
      shown = ', '.join(str(path.relative_to(directory)) for path in others[:5])
      shown += f' and {len(others) - 5} more' * (len(others) > 5)
      progress.CONSOLE.print(f'Of no run of any suite: {shown}.', highlight=False, soft_wrap=True)
    answers = directory.parent / foretold.STORE.parent.name / foretold.STORE.name
    if points := foretold.read(answers):
      foretold.write(points, answers.parent)
      if firsts := payoff.match(points, gains):
        files.write_text(answers.parent / 'payoff.md', payoff.markdown(firsts))
        plots.save(payoff.draw(firsts), answers.parent / 'payoff.png')


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m experiments.results',
    description=__doc__,
    formatter_class=arguments.Formatter,
  )
  parser.add_argument(
    '--store',
    type=arguments.directory,
    default=STORE,
    help='of finished runs, as of experiments.paper',
  )
  return parser


def read(
  planned: Mapping[store.Key, jobs.Job], kept: store.Store, workdir: pathlib.Path
) -> tables.Results:
  """What the runs of a suite found that the store has, see `comparison.tables`.

  Args:
    planned: {run: its job}, of `suites.plan`.
    kept: the store.
    workdir: that `planned` was made with.
  """
  found, outdated = {}, {}
  for key, job in planned.items():
    commands = store.portable(job.commands, workdir)
    record = kept.read(key)
    if record and (reason := store.outdated(record, commands)):
      outdated[key] = reason
    elif record:
      found[key] = record
  tasks, methods = {key.task for key in found}, {key.method for key in found}
  known = dict.fromkeys([*suites.METHODS, *(key.method for key in planned)])
  known.pop(tables.WARM_START, None)
  return {
    'colours': {method: number for number, method in enumerate(known)},
    'tasks': list(dict.fromkeys(key.task for key in planned if key.task in tasks)),
    'methods': list(
      dict.fromkeys(
        key.method for key in planned if key.method in methods and key.method != tables.WARM_START
      )
    ),
    'runs': list(found.values()),
    'missing': [key for key in planned if key not in found],
    'outdated': outdated,
  }


def write(
  name: str,
  planned: Mapping[store.Key, jobs.Job],
  kept: store.Store,
  workdir: pathlib.Path,
  target: pathlib.Path,
  note: str = '',
) -> str:
  """Writes the tables and figures of what there is; returns the tables.

  Args:
    name: of the suite.
    planned, kept, workdir: see `read`.
    target: directory of what is written.
    note: said before everything else.
  """
  results = read(planned, kept, workdir)
  if not results['runs']:
    return f'{name}: no run has finished.'
  text = page(name, results, note)
  files.write_text(target / 'results.md', text)
  figures.draw(results, target)
  return text


def page(name: str, results: tables.Results, note: str = '') -> str:
  """The tables of a suite, what is missing, and where all of it is from; see `write`."""
  parts = [f'# {name}', note, _MADE.format(name), provenance.missing(results)]
  parts += [tables.markdown(results), provenance.markdown(results)]
  return '\n\n'.join(part for part in parts if part) + '\n'


if __name__ == '__main__':
  main()
