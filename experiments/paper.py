"""The paper's comparison in the embedded simulator: all methods, tasks and seeds by one command.

  python -m experiments.paper --workdir=runs/paper

Every run is a command of this project, printed in its log, so that any number can be had again by
itself. The same command goes on where it was stopped; runs that are finished are not repeated. It
ends in `results.json`, tables and figures.

All methods of a seed start from the same warm start, see the same number of rollouts, take the same
number of actor updates and are evaluated in the same scenes; those of another seed are others.
Settings were chosen on the seeds of `--suite=tuning`, which
`--suite=methods` does not use.
"""

import argparse
from collections.abc import Sequence
import dataclasses
import json
import os
import pathlib
import re

from aloe_jax import agents
from aloe_jax import config as config_lib
from aloe_jax import defaults
from aloe_jax import files
from aloe_jax import plots
from aloe_jax import progress
from aloe_jax import renamed
from aloe_jax.comparison import figures
from aloe_jax.comparison import jobs
from aloe_jax.comparison import tables
from aloe_jax.reporting import figures as reporting_figures
from aloe_jax.reporting import traces
from aloe_jax.run import evaluation
from experiments import suites

WARM_START = 'warm_start'
_ADVICE = 'remove it with the job.json beside it, and the same command makes it anew.'

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


def main(suite_name: str = 'methods') -> None:
  """Runs a suite, by default the one named, then writes its results."""
  arguments = _parser(suite_name).parse_args()
  with config_lib.user_errors():
    _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
  suite = suites.SUITES[arguments.suite]
  seeds = arguments.seeds or (1 if arguments.quick else suite.seeds)
  suite = dataclasses.replace(suite, seeds=seeds)
  workdir = arguments.workdir.absolute()
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise SystemExit(f'error: --workdir: {error}; choose a place that can be written.') from None
  common, report_flags = (QUICK, QUICK_REPORT) if arguments.quick else ({}, ())
  planned = plan(suite, workdir, common, report_flags)
  check_runs(suite, workdir)
  failed = jobs.run(planned, workers=arguments.workers, compiled=workdir / 'compiled')
  if failed:
    raise SystemExit(f'error: {len(failed)} of {len(planned)} jobs failed: {", ".join(failed)}.')
  results = collect(suite, workdir)
  target = workdir / arguments.suite
  files.write_text(target / 'results.json', json.dumps(results, indent=1))
  text = tables.markdown(results)
  files.write_text(target / 'results.md', text)
  figures.draw(results, target)
  if suite.report:
    draw_traces(suite, workdir, target)
  progress.CONSOLE.print(text, soft_wrap=True, highlight=False)
  progress.CONSOLE.print(f'Results: {target}', soft_wrap=True)


def _parser(suite_name: str) -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(prog='python -m experiments.paper', description=__doc__)
  parser.add_argument('--workdir', type=_workdir, required=True)
  parser.add_argument('--suite', choices=suites.SUITES, default=suite_name)
  parser.add_argument('--quick', action='store_true', help='every stage in minutes, no result')
  parser.add_argument('--seeds', type=_count, help='how many, instead of those of the suite')
  parser.add_argument(
    '--workers', type=_count, default=max(1, os.cpu_count() or 1), help='runs at a time'
  )
  return parser


def _workdir(text: str) -> pathlib.Path:
  """A directory, there already or still to be made."""
  path = pathlib.Path(text)
  if path.exists() and not path.is_dir():
    raise argparse.ArgumentTypeError(f'found a file at {path}, expected a directory or nothing.')
  return path


def _count(text: str) -> int:
  """A number of an option that has to be 1 or more."""
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'found {text!r}, expected a whole number of 1 or more.')
  return int(text)


def plan(
  suite: suites.Suite,
  workdir: pathlib.Path,
  common: suites.Overrides,
  report_flags: Sequence[str] = (),
) -> list[jobs.Job]:
  """A job for every warm start and every run of a method, seed by seed.

  Args:
    suite: what to compare.
    workdir: of all runs.
    common: changes to every run.
    report_flags: of `aloe_jax.report`.
  """
  planned = []
  for seed in range(suite.first_seed, suite.first_seed + suite.seeds):
    for task in suite.tasks:
      start = _directory(workdir, task, seed, WARM_START)
      imitation = dict(agent='bc', seed=seed, iterations=0)
      changes = {**common, **imitation}
      planned.append(_job(suite, start, task, changes, ()))
      given = {
        'seed': seed,
        'actor.checkpoint': str(start / 'checkpoints' / '0'),
        'data.episodes': (str(start / 'episodes' / 'demonstrations'),),
        'task.demonstrations': 0,
      }
      for method, setting in suite.methods.items():
        directory = _directory(workdir, task, seed, method)
        changes = {**common, **given, **setting}
        planned.append(_job(suite, directory, task, changes, (_name(start),), report_flags))
  return planned


def _job(
  suite: suites.Suite,
  directory: pathlib.Path,
  task: str,
  changes: suites.Overrides,
  needs: tuple[str, ...],
  report_flags: Sequence[str] = (),
) -> jobs.Job:
  where = (f'--config={suite.tasks[task]}', f'--workdir={directory}')
  given = tuple(f'--config.{field}={value}' for field, value in changes.items())
  commands = [('-m', 'aloe_jax.train', *where, *given)]
  commands += [('-m', 'aloe_jax.evaluate', *where, *given, f'--{c}') for c in suite.conditions]
  if suite.report and agents.find(str(changes.get('agent', 'aloe'))).critic:
    commands.append(('-m', 'aloe_jax.report', *where, *given, *report_flags))
  return jobs.Job(_name(directory), directory, tuple(commands), needs)


def check_runs(suite: suites.Suite, workdir: pathlib.Path) -> None:
  """Refuses what earlier versions left where names, or the scenes of a seed, were others.

  Raises:
    ValueError: names the directories of runs whose agent is not that of their method, or which are
      evaluated in other scenes than another run of the same task and seed.
  """
  wrong = []
  for seed in range(suite.first_seed, suite.first_seed + suite.seeds):
    fresh = defaults.paper()
    fresh.seed = seed
    for task in suite.tasks:
      scenes = {}  # of each run, {seed of the scenes: directory}
      for method in (WARM_START, *suite.methods):
        directory = _directory(workdir, task, seed, method)
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


def draw_traces(suite: suites.Suite, workdir: pathlib.Path, target: pathlib.Path) -> None:
  """Q along a success and a failure of every task: the first seed's, of median length."""
  for task in suite.tasks:
    reported = _directory(workdir, task, suite.first_seed, tables.REFERENCE) / 'report'
    for ending in ('success', 'failure'):
      path = reported / f'{ending}.npz'
      if path.exists():
        drawing = reporting_figures.trajectory(traces.Trace.load(path), f'{task}: a {ending}')
        plots.save(drawing, target / f'q_{ending}_{task}.png')


def _directory(workdir: pathlib.Path, task: str, seed: int, method: str) -> pathlib.Path:
  return workdir / task / f'seed_{seed}' / re.sub(r'[^\w.]+', '_', method.lower())


def _name(directory: pathlib.Path) -> str:
  """task/seed/method."""
  return '/'.join(directory.parts[-3:])


def collect(suite: suites.Suite, workdir: pathlib.Path) -> dict:
  """What the finished runs found.

  Returns:
    'runs': one entry a run, with 'task', 'seed', 'method', the evaluations of all iterations and
    of the conditions, the numbers of the critic's report or None, and how it was made; for the path
    of `workdir` stands $WORKDIR.
  """
  runs = []
  for seed in range(suite.first_seed, suite.first_seed + suite.seeds):
    for task in suite.tasks:
      for method in (WARM_START, *suite.methods):
        directory = _directory(workdir, task, seed, method)
        run = {
          'task': task,
          'seed': seed,
          'method': method,
          'iterations': files.read_json(directory / 'evaluations.json', _ADVICE),
          'conditions': {c: _evaluation(directory, c) for c in suite.conditions},
          'report': _report(directory),
          'changes': dict(suite.methods.get(method, {})),
          **files.read_json(directory / 'job.json', _ADVICE),
        }
        text = json.dumps(run, ensure_ascii=False).replace(str(workdir), '$WORKDIR')
        runs.append(json.loads(text))
  return {'methods': list(suite.methods), 'tasks': list(suite.tasks), 'runs': runs}


def _report(directory: pathlib.Path) -> dict | None:
  path = directory / 'report.json'
  return renamed.numbers(files.read_json(path, _ADVICE)) if path.exists() else None


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
