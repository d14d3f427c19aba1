"""The comparisons of all methods, tasks and seeds, by one command.

  python -m experiments.paper --workdir=runs/paper

Every run is a command of this project, printed in its log, so that any number can be had again by
itself. What a finished run found goes to the store, by default `docs/results/runs`, and is not
measured again, on whatever machine: the same command goes on where one of them was stopped. It ends
in tables and figures beside the store; `python -m experiments.results` makes them anew without
running anything.

All methods of a seed start from the same warm start, see the same number of rollouts, take the same
number of actor updates and are evaluated in the same scenes; those of another seed are others.
Settings of the baselines were chosen by `--suite=tuning`, ALOE's as docs/measured_weights.md says,
on seeds that the other suites do not use.
"""

import argparse
from collections.abc import Iterable, Mapping
import os
import pathlib

from aloe_jax import config as config_lib
from aloe_jax import defaults
from aloe_jax import files
from aloe_jax import plots
from aloe_jax import progress
from aloe_jax.comparison import jobs
from aloe_jax.comparison import meaning
from aloe_jax.comparison import store
from aloe_jax.comparison import tables
from aloe_jax.reporting import figures as reporting_figures
from aloe_jax.reporting import traces
from aloe_jax.run import evaluation
from aloe_jax.run import results as evaluations
from experiments import arguments
from experiments import results
from experiments import suites

_ADVICE = 'remove it with the job.json beside it, and the same command makes it anew.'
_LEFT = 'Remove that directory, and the same command makes the run anew.'

# Of --quick: every stage and figure, too little training for the numbers to mean anything.
QUICK = {
  'iterations': 1,
  'sim.rollouts': 48,
  'actor.warm_start_updates': 400,
  'actor.updates': 100,
  'critic.first_updates': 100,
  'evaluation.episodes': 64,
}
QUICK_REPORT = ('--count=32',)
_QUICK_NOTE = '**Of --quick: every stage on so little training that no number here is a result.**'


def main() -> None:
  """Runs what a suite lacks, then writes its tables and figures."""
  given = _parser().parse_args()
  with config_lib.user_errors():
    _run(given)


def _run(given: argparse.Namespace) -> None:
  suite = (suites.SUITES | suites.PARTS)[given.suite]
  seeds = given.seeds or (1 if given.quick else None)
  part = suite.part(given.tasks or (), given.methods or (), seeds)
  workdir = given.workdir.absolute()
  arguments.check_writable('--workdir', workdir)
  common, report_flags = (QUICK, QUICK_REPORT) if given.quick else ({}, ())
  planned = suites.plan(part, workdir, common, report_flags)
  check_runs(part, workdir)
  kept = store.Store(workdir / 'store' if given.quick else given.store.absolute())
  arguments.check_writable('--store', kept.directory)
  failed = run(part, planned, kept, workdir, workers=given.workers)
  target = kept.directory.parent / given.suite
  shown = suites.plan(part if given.quick else suite, workdir, common, report_flags)
  note = _QUICK_NOTE if given.quick else ''
  text = results.write(given.suite, shown, kept, workdir, target, note)
  if suite.report:
    draw_traces(part, workdir, target)
  progress.CONSOLE.print(text, soft_wrap=True, highlight=False)
  if target.is_dir():
    progress.CONSOLE.print(f'Results: {target}', soft_wrap=True)
  if failed:
    raise SystemExit(f'error: {len(failed)} of {len(planned)} jobs failed: {", ".join(failed)}.')


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m experiments.paper',
    description=__doc__,
    formatter_class=arguments.Formatter,
  )
  parser.add_argument('--workdir', type=arguments.directory, required=True, help='of all runs')
  parser.add_argument(
    '--suite', choices=suites.SUITES | suites.PARTS, default='methods', help='what is compared'
  )
  tasks = ' '.join([*suites.TASKS, *suites.AWAY])
  methods = ' '.join(f'"{name}"' for name in suites.METHODS)
  parser.add_argument('--tasks', nargs='+', help=f'some of the suite, of {tasks}')
  parser.add_argument(
    '--methods', nargs='+', help=f'some of the suite, of methods and away {methods}'
  )
  parser.add_argument(
    '--seeds', type=arguments.count, help='how many, instead of those of the suite'
  )
  parser.add_argument(
    '--workers', type=arguments.count, default=max(1, os.cpu_count() or 1), help='runs at a time'
  )
  where = parser.add_mutually_exclusive_group()
  where.add_argument(
    '--store',
    type=arguments.directory,
    default=results.STORE,
    help='of finished runs; an empty one, to measure again what %(default)s has',
  )
  where.add_argument(
    '--quick', action='store_true', help='every stage in minutes, no result; a store of its own'
  )
  return parser


def run(
  suite: suites.Suite,
  planned: Mapping[store.Key, jobs.Job],
  kept: store.Store,
  workdir: pathlib.Path,
  *,
  workers: int,
) -> list[str]:
  """Runs what the store lacks, and keeps the record of each run as soon as it has ended.

  Runs that `workdir` has finished already are taken into the store. A warm start whose record is
  there is run only where a method needs it that is still to run.

  Args:
    suite: whose runs these are.
    planned: {run: its job}, see `suites.plan`.
    kept: the store.
    workdir: of all runs.
    workers: jobs at a time.

  Returns:
    Names of the jobs that failed.
  """
  lacking = {
    key: job
    for key, job in planned.items()
    if kept.find(key, store.portable(job.commands, workdir)) is None
  }
  by_name = {job.name: key for key, job in lacking.items()}
  finished = [job for job in lacking.values() if job.is_finished]
  left = {job.name: job for job in lacking.values() if job not in finished}
  left |= {job.name: job for job in planned.values() if job.name in _needed(left)}
  check_settings({job.name: job for job in [*lacking.values(), *left.values()]}.values())
  replaced = sum(kept.path(key).exists() for key in lacking)

  def keep(job: jobs.Job) -> None:
    if job.name in by_name:
      try:
        kept.add(record(suite, by_name[job.name], workdir))
      except ValueError as error:
        raise ValueError(f'{job.directory}: what it left is no record. {error} {_LEFT}') from error

  for job in finished:
    keep(job)
  again = sum(name not in by_name for name in left)
  told = [f'{len(planned) - len(lacking)} of {len(planned)} runs are in {kept.directory}']
  told += [f'{len(finished)} more were finished in {workdir} and are there now'] * bool(finished)
  told += [f'{len(left)} are to run'] * bool(left)
  told += [f'{again} of them warm starts that are needed again'] * bool(again)
  told += [f'{replaced} records of something else are replaced'] * bool(replaced)
  progress.CONSOLE.print('; '.join(told) + '.', soft_wrap=True, highlight=False)
  order = [job for job in planned.values() if job.name in left]
  return jobs.run(order, workers=workers, compiled=workdir / 'compiled', ended=keep)


def _needed(left: Mapping[str, jobs.Job]) -> set[str]:
  return {need for job in left.values() for need in job.needs}


def check_runs(suite: suites.Suite, workdir: pathlib.Path) -> None:
  """Refuses what earlier versions left where names, or the scenes of a seed, were others.

  Raises:
    ValueError: names the directories of runs whose agent is not that of their method, or which are
      evaluated in other scenes than another run of the same task and seed.
  """
  wrong = []
  for task, seed in suite.pairs:
    fresh = defaults.paper()
    fresh.seed = seed
    scenes: dict[int, pathlib.Path] = {}  # of each run, {seed of the scenes: directory}
    for method in (tables.WARM_START, *suite.methods):
      directory = store.Key(task, seed, method).below(workdir)
      path = directory / 'config.json'
      config = config_lib.read(path) if path.exists() else fresh
      scenes.setdefault(evaluation.scenes(config), directory)
      wanted = suite.methods.get(method, {}).get('agent', config.agent)
      if path.exists() and config.agent != wanted:
        wrong.append(f'{directory}: found agent {config.agent!r}, expected {wanted!r}')
    if len(scenes) > 1:
      told = ', '.join(f'{number} ({where})' for number, where in scenes.items())
      wrong.append(f'{task}, seed {seed}: found runs of different evaluation scenes: {told}')
  if wrong:
    raise ValueError(
      f'{workdir} has runs of an earlier version that cannot be compared with those to come; give '
      'another --workdir:\n  ' + '\n  '.join(wrong)
    )


def check_settings(planned: Iterable[jobs.Job]) -> None:
  """Refuses directories of runs by commands that meant something else when they began.

  Raises:
    ValueError: names them, and the settings.
  """
  wrong = []
  for job in planned:
    path = job.directory / 'config.json'
    if path.exists():
      began = store.settings(files.read_json(path, _ADVICE))
      if changed := meaning.changed(job.commands[0], began):
        wrong.append(f'{job.directory}: {"; ".join(changed)}')
  if wrong:
    raise ValueError(
      'found runs of other settings than their commands mean now; move them away, or give another '
      '--workdir:\n  ' + '\n  '.join(wrong)
    )


def draw_traces(suite: suites.Suite, workdir: pathlib.Path, target: pathlib.Path) -> None:
  """Q along a success and a failure of every task: the first seed's, of median length."""
  method = next((name for name in tables.REFERENCES if name in suite.methods), '')
  for task in suite.tasks:
    run = store.Key(task, suite.first_seed, method).below(workdir)
    for ending in ('success', 'failure'):
      path = run / 'report' / f'{ending}.npz'
      if path.exists():
        drawing = reporting_figures.trajectory(traces.Trace.load(path), f'{task}: a {ending}')
        plots.save(drawing, target / f'q_{ending}_{task}.png')


def record(suite: suites.Suite, key: store.Key, workdir: pathlib.Path) -> store.Record:
  """What a finished run found and how it was made; see `comparison.store`.

  Returns:
    'task', 'seed', 'method', what it changes, the evaluations of all iterations and of the
    conditions, the numbers of the critic's report or None, commands, commit, seconds, machine or
    None where it was not told, and all settings; for the path of `workdir` stands $WORKDIR.
  """
  directory = key.below(workdir)
  report, job = directory / 'report.json', files.read_json(directory / 'job.json', _ADVICE)
  found = {
    **key._asdict(),
    'changes': dict(suite.methods.get(key.method, {})),
    'iterations': evaluations.read(directory / 'evaluations.json'),
    'conditions': {c: _evaluation(directory, c) for c in suite.conditions},
    'report': files.read_json(report, _ADVICE) if report.exists() else None,
    **{name: job.get(name) for name in ('commands', 'commit', 'seconds', 'machine')},
    'settings': files.read_json(directory / 'config.json', _ADVICE),
  }
  return store.made_portable(found, workdir)


def _evaluation(directory: pathlib.Path, condition: str) -> dict:
  """Of the last checkpoint, under a condition."""
  other = {'unseen': 'disturb=0', 'disturb': 'unseen=0'}[condition]
  found = [
    path
    for path in (directory / 'evaluations').glob('*.json')
    if f'{condition}=1' in path.name and other in path.name
  ]
  if len(found) != 1:
    raise FileNotFoundError(
      f'{directory / "evaluations"}: found {len(found)} evaluations with {condition}, expected '
      'one; move the others away.'
    )
  (entry,) = files.read_entries(found[0], (), _ADVICE)
  return entry


if __name__ == '__main__':
  main()
