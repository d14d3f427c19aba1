"""Success rate and throughput of a checkpoint, on the scenes that its run was evaluated on.

python -m aloe_jax.evaluate --workdir=runs/laundry
"""

import argparse
from collections.abc import Sequence
import contextlib
import json
import pathlib

import ml_collections
import rich.table

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import ranges
from aloe_jax.buckets import twin
from aloe_jax.envs import simulation
from aloe_jax.parallel import hosts
from aloe_jax.parallel import joining
from aloe_jax.run import agreement
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints
from aloe_jax.run import compilation
from aloe_jax.run import compile_cache
from aloe_jax.run import evaluation
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import kept
from aloe_jax.run import ranges_kept
from aloe_jax.run import restored


def main(argv: Sequence[str] | None = None) -> None:
  """Evaluates the checkpoints of a command line; prints a table and keeps a JSON of it."""
  given = command_line.parse(_parser(), argv)
  with command_line.usage_errors():
    joining.join(given.options)
  with contextlib.ExitStack() as stack:
    with config_lib.user_errors():
      given = stack.enter_context(bucket_run.opened(given))
    stack.enter_context(compilation.told())
    _evaluate(given)


def _evaluate(given: command_line.Given) -> None:
  options, workdir = given.options, given.workdir
  config = kept.config(given, 'evaluate', options.checkpoint)
  compile_cache.use(config, given.workdir)
  seed = evaluation.scenes(config) if options.seed is None else options.seed
  with config_lib.user_errors():
    agreement.check_start(config, given.where)
    if not config.sim.task:
      raise ValueError(
        'there is no simulator in this config; expected a variant that has one, such as :sim, or '
        'for the run of a robot --config.sim.task=fold_laundry or another task of the simulator.'
      )
    experiment = experiment_lib.Experiment(config)
    ranges_kept.check(experiment.world, config.sim.task, workdir)
    paths = _checkpoints(options, workdir)
    for path in paths[1:]:
      _check_task(path, config)
    contestants = {path: _policy(experiment, path) for path in paths}

  found = {}
  for path, (policy, see) in contestants.items():
    with config_lib.user_errors():
      setup = experiment.world.simulation(see, unseen=options.unseen, disturb=options.disturb)
    with progress.bar(f'Evaluate {path}', config.evaluation.episodes, 'episodes') as advance:
      found[path] = evaluation.evaluate(
        setup,
        policy,
        episodes=config.evaluation.episodes,
        seed=seed,
        control_hz=config.task.control_hz,
        progress=lambda finished, total, steps, advance=advance: advance(finished, steps=steps),
      )
  conditions = {'unseen': options.unseen, 'disturb': options.disturb, 'seed': seed}
  if experiment.agent.tags:
    conditions['guidance'] = config.recap.guidance
  if config.actor.best_of > 1:
    conditions['best_of'] = config.actor.best_of
  progress.CONSOLE.print(table(found, conditions))
  # All that the numbers depend on is in the name, so that nothing else is ever replaced.
  runs = [_label(path, files.absolute(given.where)) for path in paths]
  name = ','.join(
    ['+'.join(runs)]
    + [f'{condition}={float(value):.10g}' for condition, value in conditions.items()]
    + [f'episodes={config.evaluation.episodes}']
  )
  written = workdir / 'evaluations' / f'{name}.json'
  entries = [{'checkpoint': str(path)} | conditions | e.summary() for path, e in found.items()]
  if hosts.is_first():
    files.write_text(written, json.dumps(entries, indent=2))
  progress.CONSOLE.print(f'Kept in {twin.shown(written)}', soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser('aloe_jax.evaluate', __doc__)
  joining.add_options(parser)
  parser.add_argument(
    '--checkpoint', metavar='DIR', help='to evaluate; by default the newest of --workdir'
  )
  parser.add_argument('--against', metavar='DIR', help='a second checkpoint, on the same scenes')
  parser.add_argument(
    '--unseen', action='store_true', help='sizes, colours and tolerances never trained on'
  )
  parser.add_argument('--disturb', action='store_true', help='push items about at random times')
  parser.add_argument(
    '--seed', type=_seed, metavar='N', help="of the scenes; by default the run's own"
  )
  return parser


def _seed(text: str) -> int:
  """A number that `config.evaluation.seed` could be, but for the run's own."""
  if not text.isdecimal() or int(text) >= ranges.SEEDS:
    raise argparse.ArgumentTypeError(f'found {text!r}, expected 0 to {ranges.SEEDS - 1}.')
  return int(text)


def _checkpoints(options: argparse.Namespace, workdir: pathlib.Path) -> list[pathlib.Path]:
  """The checkpoints to evaluate, one or two."""
  written = checkpoints.Checkpoints(workdir / 'checkpoints')
  first = files.place(options.checkpoint) if options.checkpoint else written.newest()
  return [first] + ([files.place(options.against)] if options.against else [])


def _label(path: pathlib.Path, workdir: pathlib.Path) -> str:
  """A checkpoint in a file's name: short for one of the run, else with all that leads to it."""
  run = files.absolute(path).parents[1]
  if run == files.absolute(workdir):
    return f'{run.name}-{path.name}'
  return f'{"_".join(run.parts[1:])}-{path.name}'


def _check_task(path: pathlib.Path, config: ml_collections.ConfigDict) -> None:
  """Raises ValueError where a checkpoint was trained to do something else."""
  tree = checkpoints.read_meta(path).get('config')
  if tree is None:  # of an old version
    return
  other = config_lib.flat(config_lib.from_json(tree, str(path)))
  here = config_lib.flat(config)
  fields: tuple[str, ...] = (
    'sim.task',
    'sim.observation',
    'task.prompt',
    'task.chunk',
    'task.execute',
  )
  if not other['sim.task']:  # of a robot's run, which names none
    fields = fields[2:]
  different = [
    f'{field}: {here[field]!r} in this run, {other[field]!r} there'
    for field in fields
    if other[field] != here[field]
  ]
  if different:
    raise ValueError(
      f'{path} is of another task and cannot be compared on these scenes:\n  '
      + '\n  '.join(different)
    )


def _policy(
  experiment: experiment_lib.Experiment, path: pathlib.Path
) -> tuple[policy_lib.Policy, simulation.See]:
  """The policy of a checkpoint, and what it sees of a simulator's state."""
  found = restored.restore(experiment, path)
  return found.policy, experiment.world.see(found.encoder)


def table(found: dict[pathlib.Path, evaluation.Evaluation], conditions: dict) -> rich.table.Table:
  """What is printed: a row a policy, whose paths are told whole."""
  shown = ', '.join(f'{name} {value}' for name, value in conditions.items())
  made = rich.table.Table(title=f'Evaluation ({shown})')
  for column in evaluation.COLUMNS:
    is_text = column in ('policy', 'ends')
    made.add_column(column, justify='left' if is_text else 'right', overflow='fold')
  for path, e in found.items():
    made.add_row(str(path), *e.cells())
  return made


if __name__ == '__main__':
  command_line.run(main)
