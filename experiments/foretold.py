"""Do the words of the report card come true? For all runs of a comparison, by one command.

  python -m experiments.foretold --workdir=runs/paper

For every iteration of every run there whose critic judges actions, `experiments.foretell` asks the
card what it would have said before the new policy acted, and that is held against what evaluation
then measured. Each answer is kept in the store, by default `docs/results/foretold/points`, and is
not asked for again: the same command goes on where it was stopped, and answers outlive the runs.
It ends in `results.json`, `results.md` and `foretold.png` beside the store, of all that it has.
"""

import argparse
from collections.abc import Mapping
import itertools
import json
import os
import pathlib
import re
from typing import Any

from matplotlib import figure
import numpy as np

from aloe_jax import agents
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import plots
from aloe_jax import progress
from aloe_jax.comparison import foresight
from aloe_jax.comparison import jobs
from aloe_jax.comparison import store
from aloe_jax.reporting import foretold
from aloe_jax.run import checkpoints
from aloe_jax.run import phases
from aloe_jax.run import results
from experiments import arguments

STORE = pathlib.Path(__file__).parents[1] / 'docs' / 'results' / 'foretold' / 'points'
COUNT = 128  # episodes
_ADVICE = 'remove it with the job.json beside it, and the same command makes it anew.'
_KEPT_ADVICE = 'remove it, and it is asked for again, or have it back from version control.'
_NEEDED = ('task', 'seed', 'method', 'iteration', 'before', 'after', 'episodes', 'card', 'commands')


def main() -> None:
  """Asks what is missing, then writes what came true."""
  given = _parser().parse_args()
  workdir, kept = given.workdir.absolute(), given.store.absolute()
  with config_lib.user_errors():
    planned = {job.name: job for job in plan(workdir, count=given.count, level=given.foretell)}
    if not planned:
      raise ValueError(
        f'{workdir} holds no evaluated iteration of a run whose critic judges actions; expected '
        'TASK/seed_N/METHOD, as experiments.paper leaves them.'
      )
    arguments.check_writable('--store', kept)
    read(kept)  # a damaged answer is told before others are asked for
    jobs_ = [job for job in planned.values() if not _is_kept(job, kept, workdir)]
    replaced = sum(_path(kept, _measured(job)).exists() for job in jobs_)

    def keep(job: jobs.Job) -> None:
      found = point(job, workdir)
      if wrong := foresight.fault(found):  # before the store has it
        raise ValueError(f'{job.directory / "report.json"}: {wrong}; {_ADVICE}')
      files.write_text(_path(kept, found), json.dumps(found, indent=1, ensure_ascii=False) + '\n')

    told = f'{len(planned) - len(jobs_)} of {len(planned)} answers are in {kept}'
    if replaced:
      told += f'; {replaced} that were asked otherwise are replaced'
    progress.CONSOLE.print(f'{told}.', soft_wrap=True)
    for job in jobs_:
      if job.is_finished:
        keep(job)
    compiled = workdir / 'compiled'
    failed = jobs.run(jobs_, workers=given.workers, compiled=compiled, ended=keep)
    write(read(kept), kept.parent)
  if failed:
    raise SystemExit(f'error: {len(failed)} of {len(jobs_)} jobs failed: {", ".join(failed)}.')


def plan(workdir: pathlib.Path, *, count: int, level: str) -> list[jobs.Job]:
  """A job for every iteration of every run there that a card can foretell, and that was evaluated.

  Args:
    workdir: of `experiments.paper`.
    count: episodes of each card.
    level: of `foretold.LEVELS`.
  """
  planned = []
  for path in sorted(workdir.glob('*/seed_*/*/config.json')):
    run, config = path.parent, config_lib.read(path)
    if (key := _key(run)) is None or key.below(workdir) != run:
      progress.CONSOLE.print(
        f'{run}: left out; expected TASK/seed_N/METHOD with a whole number N, as '
        'experiments.paper names its runs: what lies elsewhere counts for no seed.',
        soft_wrap=True,
      )
      continue
    try:
      judges = agents.find(config.agent).critic == 'action'
    except ValueError as error:
      progress.CONSOLE.print(f'{run}: left out; {error}', soft_wrap=True)
      continue
    if not judges:
      continue
    evaluated = {entry['iteration'] for entry in results.read(run / 'evaluations.json')}
    if not evaluated:
      progress.CONSOLE.print(
        f'{run}: left out; found no evaluation in evaluations.json, which the command that trains '
        'it writes.',
        soft_wrap=True,
      )
    written = checkpoints.Checkpoints(run / 'checkpoints').numbers()
    for iteration in sorted(evaluated - {0}):
      needed = {phases.critic_number(iteration), phases.actor_number(iteration)}
      if iteration - 1 in evaluated and needed <= set(written):
        directory = run / 'foretold' / str(iteration)
        command = ('-m', 'experiments.foretell', f'--workdir={run}', f'--iteration={iteration}')
        command += (f'--count={count}', f'--foretell={level}')
        planned.append(jobs.Job('/'.join(directory.parts[-5:]), directory, (command,)))
  return planned


def point(job: jobs.Job, workdir: pathlib.Path) -> dict:
  """What was foretold of an iteration, and what was measured; see `comparison.foresight`.

  Returns:
    A point, with the 'commands' that asked for it, in which $WORKDIR stands for `workdir`, and
    their 'commit', 'seconds' and 'machine'.
  """
  made = files.read_json(job.record, _ADVICE)
  return {
    **_measured(job),
    'card': files.read_json(job.directory / 'report.json', _ADVICE),
    'commands': store.portable(job.commands, workdir),
    **{name: made.get(name) for name in ('commit', 'seconds', 'machine')},
  }


def _measured(job: jobs.Job) -> dict:
  """A point without what was foretold."""
  run, iteration = job.directory.parents[1], int(job.directory.name)
  evaluated = {e['iteration']: e for e in results.read(run / 'evaluations.json')}
  before, after = (100 * evaluated[i]['success_rate'] for i in (iteration - 1, iteration))
  key = _key(run)
  assert key is not None  # else it was not planned
  return {
    **key._asdict(),
    'iteration': iteration,
    'before': before,
    'after': after,
    'episodes': evaluated[iteration]['episodes'],
  }


def _key(run: pathlib.Path) -> store.Key | None:
  """Which run a directory is of by its name; None where the name tells no seed."""
  task, seed, method = run.parts[-3:]
  number = re.fullmatch('seed_([0-9]+)', seed)
  return store.Key(task, int(number[1]), method) if number else None


def _path(kept: pathlib.Path, one: Mapping[str, Any]) -> pathlib.Path:
  place = store.Key(one['task'], one['seed'], one['method']).below(kept)
  return place / f'{one["iteration"]}.json'


def _is_kept(job: jobs.Job, kept: pathlib.Path, workdir: pathlib.Path) -> bool:
  """Whether the store has the answer to this question, or a fuller one.

  Raises:
    ValueError: what it has is of a run of that name that came out otherwise.
  """
  measured = _measured(job)
  path = _path(kept, measured)
  if not path.exists():
    return False
  found = files.read_json(path, _KEPT_ADVICE)
  if other := [name for name, value in measured.items() if found[name] != value]:
    shown = ', '.join(f'{name} {found[name]} and here {measured[name]}' for name in other)
    raise ValueError(
      f'{path} is of another run of this name: {shown}. Give another --store, or remove the '
      'answers of that run, and they are asked for anew.'
    )
  wanted = store.portable(job.commands, workdir)
  full = [[part.replace('=quick', '=full') for part in command] for command in wanted]
  return found['commands'] in (wanted, full)


def read(kept: pathlib.Path) -> foresight.Points:
  """All points of a store.

  Raises:
    ValueError: one is damaged, holds what cannot be, or lies where another belongs.
  """
  found = []
  for path in sorted(kept.glob('*/seed_*/*/*.json')):
    one = files.read_json(path, _KEPT_ADVICE)
    lacks = [name for name in _NEEDED if not isinstance(one, dict) or name not in one]
    if lacks:
      raise ValueError(f'{path}: found no {", ".join(lacks)}, expected a point; {_KEPT_ADVICE}')
    if wrong := foresight.fault(one):
      raise ValueError(f'{path}: {wrong}; {_KEPT_ADVICE}')
    if _path(kept, one) != path:
      raise ValueError(f'{path}: found the point of {_path(kept, one)}; {_KEPT_ADVICE}')
    found.append(one)
  _check_neighbours(found, kept)
  return found


def _check_neighbours(found: foresight.Points, kept: pathlib.Path) -> None:
  """Refuses iterations of one run that tell its success differently."""
  after = {(*foresight.run_of(one), one['iteration']): one['after'] for one in found}
  for one in found:
    run = foresight.run_of(one)
    known = after.get((*run, one['iteration'] - 1), one['before'])
    if abs(known - one['before']) > 1e-9:
      raise ValueError(
        f'{_path(kept, one)}: found success before iteration {one["iteration"]} of '
        f'{one["before"]:g}, and after the one before of {known:g}; {_KEPT_ADVICE}'
      )


def write(points: foresight.Points, target: pathlib.Path) -> None:
  """Writes numbers, tables and the figure."""
  found = {
    'correlations': foresight.correlations(points),
    'verdicts': foresight.verdicts(points),
    'regrets': foresight.regrets(points),
  }
  files.write_text(target / 'results.json', json.dumps(found, indent=1))
  text = foresight.markdown(points)
  files.write_text(target / 'results.md', text)
  picture = target / 'foretold.png'
  if any(np.isfinite(foresight.told(points, name)).any() for name in foresight.GAINS):
    plots.save(draw(points), picture)
  else:
    picture.unlink(missing_ok=True)
  progress.CONSOLE.print(text, soft_wrap=True, highlight=False)
  progress.CONSOLE.print(f'Results: {target}', soft_wrap=True)


def draw(points: foresight.Points) -> figure.Figure:
  """Measured change over each foretold gain: a colour an iteration, a marker a task.

  Where enough cards tell one for a rank correlation, those that few tell are left out.
  """
  told = [name for name in foresight.GAINS if np.isfinite(foresight.told(points, name)).any()]
  found = foresight.correlations(points)
  gains = [name for name in told if name in found] or told
  drawing = figure.Figure(figsize=(max(9.6, 3.6 * len(gains)), 5.2), dpi=150, layout='constrained')
  tasks = sorted({point['task'] for point in points})
  iterations = sorted({point['iteration'] for point in points})
  panels = drawing.subplots(1, len(gains), sharey=True, squeeze=False)[0]
  for axes, name in zip(panels, gains, strict=True):
    for (index, task), iteration in itertools.product(enumerate(tasks), iterations):
      own = [p for p in points if (p['task'], p['iteration']) == (task, iteration)]
      style = _style(index, plots.colour(iterations.index(iteration)))
      axes.plot(foresight.told(own, name), foresight.change(own), alpha=0.8, **style)
    axes.axhline(0, color=plots.GREY, linewidth=1)
    axes.axvline(0, color=plots.GREY, linewidth=1)
    title = name
    if name in found:
      title += f': rank correlation {found[name]["value"]:.2f}'
    axes.set_title(title, fontsize=10)
    axes.set_xlabel('foretold (steps)')
    if name == 'fqe_points':  # which measure the same
      axes.axline((0, 0), slope=1, color=plots.GREY, linewidth=1, linestyle=':')
      axes.set_xlabel('foretold (points)')
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
  panels[0].set_ylabel('measured change of success (points)')
  for iteration in iterations:
    style = _style(0, plots.colour(iterations.index(iteration)))
    panels[0].plot([], [], label=f'iteration {iteration}', **style | {'marker': 's'})
  for index, task in enumerate(tasks):
    panels[0].plot([], [], label=task, **_style(index, plots.GREY))
  drawing.legend(loc='outside lower center', ncols=5, frameon=False)
  return drawing


def _style(task: int, colour: str) -> dict[str, Any]:
  """Of a point: markers repeat after eight, and are hollow from there on."""
  hollow = {'fillstyle': 'none'} if task >= plots.MARKERS else {}
  return dict(linestyle='none', marker=plots.marker(task), color=colour, **hollow)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m experiments.foretold',
    description=__doc__,
    formatter_class=arguments.Formatter,
  )
  parser.add_argument(
    '--workdir', type=arguments.directory, required=True, help='of experiments.paper'
  )
  parser.add_argument('--store', type=arguments.directory, default=STORE, help='of answers')
  parser.add_argument(
    '--foretell',
    choices=foretold.LEVELS,
    default='full',
    help='with fitted Q evaluation, some minutes an iteration; or without, a minute or less',
  )
  parser.add_argument('--count', type=arguments.count, default=COUNT, help='episodes of each card')
  parser.add_argument(
    '--workers', type=arguments.count, default=max(1, os.cpu_count() or 1), help='runs at a time'
  )
  return parser


if __name__ == '__main__':
  main()
