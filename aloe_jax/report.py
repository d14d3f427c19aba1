"""One page about a run: success, learning curves, and whether its critic can be trusted.

  python -m aloe_jax.report --workdir=runs/laundry

Writes `report.html`, which needs nothing else, and `report.json`, one flat object: what was judged
(`iteration`, `held_out`, `episodes`, `chunks`), every number of the card under its name with
`_low` and `_high`, the 95 % interval over episodes, what the weights were in training under
`training_`, and what a user appended, as in `appended_3`. Values are in environment steps.
`report/success.npz` and `report/failure.npz` are episodes that `reporting.traces.Trace.load` reads
and `reporting.figures.trajectory` draws.

The critic of an iteration is judged on episodes that it was not trained on: in a simulator on
fresh ones of the policy that it judged, a human watching; on a robot on `--episodes`, or on those
of later rounds.

Where the actor of that iteration is there too, the page foretells whether its policy will do better
than the one before; `--foretell=full` has both evaluated by fitted Q evaluation for it, which takes
as long as two phases of the critic.
"""

import argparse
from collections.abc import Sequence
import contextlib
import functools
import json
import pathlib
import shutil

import ml_collections

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import metrics
from aloe_jax import progress
from aloe_jax.agents import AGENTS
from aloe_jax.buckets import twin
from aloe_jax.data import bucket
from aloe_jax.data import manifest
from aloe_jax.reporting import alarm
from aloe_jax.reporting import card
from aloe_jax.reporting import deployed
from aloe_jax.reporting import examination
from aloe_jax.reporting import foretold
from aloe_jax.reporting import numbers as report_numbers
from aloe_jax.reporting import page
from aloe_jax.reporting import places
from aloe_jax.reporting import sections
from aloe_jax.reporting import traces as report_traces
from aloe_jax.run import appended
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints
from aloe_jax.run import compilation
from aloe_jax.run import compile_cache
from aloe_jax.run import datasets as datasets_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import indices as indices_lib
from aloe_jax.run import kept
from aloe_jax.run import phases
from aloe_jax.run import ranges_kept
from aloe_jax.run import restored
from aloe_jax.run import results

COUNT = 128  # episodes, if nobody says how many

Examined = examination.Examined


class Report:
  """The report of one run.

  Args:
    experiment: of the run.
    workdir: of the run.
    iteration: RL iteration whose critic is judged; None for the newest.
    episodes: RLDS directories that were not trained on; in a simulator by default fresh ones.
    count: episodes to play in the simulator, or at most to judge.

  Raises:
    FileNotFoundError: there is no run, or no such iteration.
    ValueError: the run is of another config, or a file of it is damaged.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    workdir: pathlib.Path,
    *,
    iteration: int | None = None,
    episodes: Sequence[str] = (),
    count: int = COUNT,
  ):
    self._experiment = experiment
    self._config = experiment.config
    self._workdir = workdir
    self._episodes = [bucket.local(path, self._config.data.cache) for path in episodes]
    self._count = count
    kept = checkpoints.Checkpoints(workdir / 'checkpoints')
    newest = int(kept.newest().name)  # 2i - 1 after the critic of iteration i, 2i after its actor
    self._iteration = iteration or (newest + 1) // 2
    self._has_critic = experiment.agent.critic is not None and self._iteration > 0
    number = 2 * self._iteration - self._has_critic
    if number > newest:
      raise FileNotFoundError(
        f'--iteration is {iteration}, but {workdir} has come to iteration {(newest + 1) // 2}; '
        'expected that one or an earlier one.'
      )
    checkpoints.read_meta(kept.path(number), 'architecture', 'fail_cost', 'iteration')
    self._found = restored.restore(experiment, kept.path(number), critic=self._has_critic)
    self._has_critic = self._has_critic and self._found.meta.get('critic_learnt', True)
    actor = phases.actor_number(self._iteration)
    self._new_actor = kept.path(actor) if actor in kept.numbers() else None
    self._is_newest = number == newest
    self._datasets = datasets_lib.Datasets(experiment, self._found.encoder)
    self._manifest = manifest.read(workdir / 'manifest.json')
    self._evaluations = results.read(workdir / 'evaluations.json')
    self._appended = appended.read(workdir)
    written = workdir / 'metrics' / 'metrics.jsonl'
    self._records = metrics.read(written) if written.exists() else []

  def write(self, *, full: bool = False) -> None:
    """Judges, foretells, and writes the page and its numbers; `full` as for `foretell`."""
    with config_lib.user_errors():
      _ = self._places, self._deployed  # before anything is judged
    before = alarm.read(self._workdir, self._iteration)
    examined, traces = None, {}
    if self._has_critic:
      examined = self.foretell(full=full)
      traces = report_traces.of_both(examined.judged, examined.steps)
      for name, trace in traces.items():
        trace.save(self._workdir / 'report' / f'{name}.npz')
    files.write_text(self._workdir / 'report.json', json.dumps(self.flat(examined), indent=1))
    files.write_text(self._workdir / 'report.html', self._page(examined, traces))
    if before is not None and alarm.read(self._workdir, self._iteration) is None:
      progress.CONSOLE.print(alarm.lost(before[0]), highlight=False, soft_wrap=True)
    if full and (why := self._untold(full=True)):
      progress.CONSOLE.print(why, highlight=False, soft_wrap=True)

  def foretell(self, *, full: bool) -> Examined:
    """Judges, and foretells what becomes of the policy that the critic's iteration has learnt.

    Args:
      full: whether fitted Q evaluation is asked too.
    """
    material = self.gather()
    examined = examination.examine(material)
    if self._foretells and self._new_actor is not None:
      with config_lib.user_errors():
        policy = restored.read_policy(self._experiment, self._new_actor, material.found.policy)
        gap = examined.numbers['return_gap']
        examined.numbers.update(
          foretold.measure(
            self._experiment,
            material,
            policy,
            self._workdir,
            self.scratch,
            return_gap=gap,
            full=full,
          )
        )
    self.forget()
    return examined

  @property
  def scratch(self) -> pathlib.Path:
    """Where it keeps what policies sample, until it is done: of each iteration elsewhere."""
    return self._workdir / 'report' / 'bank' / str(self._iteration)

  def forget(self) -> None:
    """Removes what policies have sampled."""
    shutil.rmtree(self.scratch, ignore_errors=True)
    with contextlib.suppress(OSError):  # of another iteration there may be some
      self.scratch.parent.rmdir()

  @property
  def _foretells(self) -> bool:
    """Whether the critic can say what another policy's actions are worth."""
    return self._experiment.agent.critic == 'action'

  def examine(self) -> Examined:
    """Judges what `gather` finds."""
    return examination.examine(self.gather())

  def gather(self) -> examination.Material:
    """What was given; else fresh episodes; else a robot's later rounds, or those of the training.

    Ends the program with one message where there is no critic to judge.
    """
    with config_lib.user_errors():
      if not self._has_critic:
        learns = [name for name, agent in AGENTS.items() if agent.critic is not None]
        raise ValueError(
          f'{self._workdir}: found no critic of {self._experiment.agent.name} at iteration '
          f'{self._iteration}; expected a run of {" or ".join(learns)} that has finished its first '
          'iteration.'
        )
      plays = self._config.sim.task and not self._episodes
      if not plays:
        manifest.check_any(self._workdir / 'manifest.json', self._manifest)
      directories = self._episodes or self._rounds()
    if plays:
      parent = self._workdir / 'held_out'
      asked = dict(iteration=self._iteration, count=self._count)
      directories = [examination.play(self._experiment, self._found, parent, **asked)]
    with config_lib.user_errors():
      self._datasets.open(directories)
    trained_on = [e['content'] for e in self._manifest if e['iteration'] <= self._iteration]
    return examination.gather(
      self._experiment,
      self._found,
      self._datasets,
      directories,
      trained_on=trained_on,
      count=self._count,
      cache=self.scratch,
    )

  @functools.cached_property
  def _places(self) -> list[pathlib.Path]:
    """Where each dataset of the manifest lies now; raises what `places.find` does."""
    return places.find(self._config, self._workdir, self._manifest, self._datasets.content)

  def _rounds(self) -> list[pathlib.Path]:
    """Given episodes that joined after the iteration; where none did, those that had by then."""
    given = indices_lib.directories(self._config)
    joined = {
      manifest.place(str(path)): entry['iteration']
      for entry, path in zip(self._manifest, self._places, strict=True)
    }
    after = [path for path in given if joined.get(manifest.place(str(path)), 0) > self._iteration]
    return after or given

  def flat(self, examined: Examined | None) -> dict:
    """All that `report.json` holds, `examined` being None where there is no critic."""
    found: dict = {'agent': self._experiment.agent.name, 'task': self._experiment.prompt}
    found['iteration'] = self._iteration
    for entry in self._evaluations:
      name = f'success_rate_{entry["iteration"]}'
      found |= {name: entry['success_rate'], f'{name}_low': entry['low']}
      found[f'{name}_high'] = entry['high']
    found |= {f'appended_{one.iteration}': one.asked for one in self._appended}
    found |= deployed.flat(self._deployed)
    if examined is None:
      return found
    found['held_out'] = examined.held_out
    found['episodes'] = examined.episodes
    found['chunks'] = int(examined.judged.row.size)
    found |= report_numbers.flat(examined.numbers)
    if 'foretold_gain' in examined.numbers:
      found['foretold'] = foretold.verdict(examined.numbers)
    first_update = self._found.step + 1
    for record in self._records:
      if record.get('phase') == 'weights' and record['step'] == first_update:
        shown = {name: x for name, x in record.items() if name not in ('step', 'time', 'phase')}
        found |= {f'training_{name}': x for name, x in shown.items()}
    return found

  def _page(self, examined: Examined | None, traces: dict[str, report_traces.Trace]) -> str:
    name = self._experiment.agent.name.upper()
    told = f'{name}, iteration {self._iteration}: {self._experiment.prompt}'
    told_of = self._evaluations, self._appended, self._deployed
    success = sections.success(name, *told_of, is_played=bool(self._config.sim.task))
    shown = [('', success), ("The critic's report card", self._card(examined))]
    if examined is not None:
      width = max(self._config.task.execute, config_lib.critic_horizon(self._config) // 2)
      shown.append(('Along episodes', sections.along(traces)))
      shown.append(('Behind the card', sections.behind(examined, width)))
    shown += [('Training', sections.training(self._records)), ('Data', self._data(examined))]
    return page.page(told, shown)

  @functools.cached_property
  def _deployed(self) -> list[deployed.Deployed]:
    """How checkpoints did in the episodes of the robot that the run was given."""
    directories = dict.fromkeys([*indices_lib.directories(self._config), *self._episodes])
    with config_lib.user_errors():
      opened = [indices_lib.open_one(self._config, path) for path in directories]
    return deployed.of(opened, self._config.task.control_hz)

  def _card(self, examined: Examined | None) -> str:
    if examined is None:
      agent = self._experiment.agent
      why = 'learns no critic' if agent.critic is None else 'has not learnt a critic yet'
      return page.paragraph(f'{agent.name.upper()} {why}: there is nothing to judge.')
    chunks = examined.judged.row.size
    text = f'{chunks} chunks of {examined.episodes} episodes; intervals are over episodes, 95 %. '
    if examined.held_out:
      told = page.paragraph(text + 'The critic was not trained on any of them.')
    else:
      told = page.paragraph(
        text + 'The critic was trained on them, so that these numbers are better than the truth; '
        'give --episodes that it has not seen.',
        'warn',
      )
    warning = page.paragraph(alarm.sentence(examined.numbers))
    if self._foretells:
      told += page.paragraph(self._foretold(examined))
    return told + page.cards(card.lines(examined.numbers)) + warning

  def _foretold(self, examined: Examined) -> str:
    """What is expected of the policy that the iteration has learnt, or why nothing is."""
    if 'foretold_gain' in examined.numbers:
      return foretold.sentence(examined.numbers, self._iteration, held_out=examined.held_out)
    return self._untold(full=False)

  def _untold(self, *, full: bool) -> str:
    """Why nothing is foretold, for `full` where that was asked for; '' where something is."""
    if self._has_critic and self._foretells and self._new_actor is not None:
      return ''
    agent, told = self._experiment.agent, dict(has_critic=self._has_critic, full=full)
    return foretold.nothing(agent, self._iteration, is_newest=self._is_newest, **told)

  def _data(self, examined: Examined | None) -> str:
    """Of what was trained on and what was judged."""
    read = {}
    for entry, path in zip(self._manifest, self._places, strict=True):
      if path.exists():
        read[entry['path']] = self._datasets.read_columns([path])
    if examined is not None and examined.held_out:
      read['held out'] = examined.steps
    return sections.data(read)


def parser(
  name: str = 'aloe_jax.report', description: str | None = __doc__, *, foretells: bool = False
) -> argparse.ArgumentParser:
  """The command line of a report; see `command_line.parser`. `foretells` adds --foretell."""
  made = command_line.parser(name, description)
  if foretells:
    made.add_argument(
      '--foretell',
      choices=foretold.LEVELS,
      default='quick',
      help='full: have the old and the new policy evaluated by fitted Q evaluation, too',
    )
  made.add_argument(
    '--iteration',
    type=_count,
    metavar='N',
    help='RL iteration whose critic is judged; by default the newest',
  )
  made.add_argument(
    '--episodes',
    type=lambda text: [path for path in text.split(',') if path],
    default=[],
    metavar='DIR,DIR',
    help='RLDS directories that were not trained on; in a simulator by default fresh ones',
  )
  made.add_argument(
    '--count',
    type=_count,
    default=COUNT,
    metavar='N',
    help='episodes to play in the simulator, or at most to judge (default: %(default)s)',
  )
  return made


def of(given: command_line.Given, config: ml_collections.ConfigDict) -> Report:
  """The report that a command line of `parser` asks for, of a run of that config."""
  options = given.options
  with config_lib.user_errors():
    experiment = experiment_lib.Experiment(config)
    ranges_kept.check(experiment.world, config.sim.task, given.workdir)
    return Report(
      experiment,
      given.workdir,
      iteration=options.iteration,
      episodes=options.episodes,
      count=options.count,
    )


def _count(text: str) -> int:
  """A number of an option that has to be 1 or more."""
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f'found {text!r}, expected a whole number of 1 or more.')
  return int(text)


def main(argv: Sequence[str] | None = None) -> None:
  """Reports on the run of a command line."""
  given = command_line.parse(parser(foretells=True), argv)
  with contextlib.ExitStack() as stack:
    with config_lib.user_errors():
      given = stack.enter_context(bucket_run.opened(given, episodes=True))
    config = kept.config(given, 'report')
    compile_cache.use(config, given.workdir)
    stack.enter_context(compilation.told())
    of(given, config).write(full=given.options.foretell == 'full')
    written = twin.shown(given.workdir / 'report.html')
  progress.CONSOLE.print(f'Report: {written}', soft_wrap=True)


if __name__ == '__main__':
  command_line.run(main)
