"""Algorithm 1, from demonstrations to an evaluated policy, phase by phase.

  python -m aloe_jax.train --config=experiments/laundry.py:sim --workdir=runs/laundry

Each phase leaves something whole on disk: a directory of episodes, a checkpoint, an evaluation.
Inside the longest, it saves from time to time. The same command goes on from there.
"""

import argparse
from collections.abc import Sequence
import contextlib
import pathlib

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax.dry_run import report as dry_run
from aloe_jax.dry_run import topologies
from aloe_jax.parallel import joining
from aloe_jax.run import agreement
from aloe_jax.run import algorithm
from aloe_jax.run import appended
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints as checkpoints_lib
from aloe_jax.run import compilation
from aloe_jax.run import compile_cache
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import fail_cost
from aloe_jax.run import indices as indices_lib
from aloe_jax.run import kept
from aloe_jax.run import lock
from aloe_jax.run import networks
from aloe_jax.run import opening
from aloe_jax.run import rate
from aloe_jax.run import requirements
from aloe_jax.run import results
from aloe_jax.run import robot
from aloe_jax.run import starting_point


def run(
  experiment: experiment_lib.Experiment,
  workdir: pathlib.Path,
  indices: indices_lib.Indices | None = None,
  *,
  profile: bool = False,
  asked: str = '',
) -> None:
  """Runs an experiment, or goes on with it.

  Args:
    experiment: what to run.
    workdir: of the run; new, or of the same experiment.
    indices: of datasets that are open already.
    profile: whether a few calls of each phase are traced.
    asked: the iteration that is appended to it, see `appended.asked`; '' for none.
  """
  if experiment.config.sim.task:
    with config_lib.user_errors():
      done = checkpoints_lib.Checkpoints(workdir / 'checkpoints').latest()
      results.check(workdir / 'evaluations.json', done)
  opened = opening.open_run(experiment, workdir, indices, profile=profile, asked=asked)
  algorithm.Run(opened).run()


def main(argv: Sequence[str] | None = None) -> None:
  """Runs or goes on with the experiment of a command line, by default the program's."""
  parser = command_line.parser('aloe_jax.train', __doc__)
  joining.add_options(parser)
  appended.add_options(parser)
  parser.add_argument(
    '--dry_run', action='store_true', help='compile for --topology, tell what it takes; run nothing'
  )
  parser.add_argument(
    '--topology', metavar='NAME', help='of --dry_run: cpu:N, h100xN, v5e-16, v5p-8 and others'
  )
  parser.add_argument(
    '--verbose', action='store_true', help='of --dry_run: where every leaf of the state lies'
  )
  parser.add_argument(
    '--profile', action='store_true', help='trace a few calls of each phase to WORKDIR/profile'
  )
  given = command_line.parse(parser, argv)
  with command_line.usage_errors():
    asked = appended.asked(given.options)
    _check_dry_run(given.options)
    if not given.options.dry_run:
      joining.join(given.options)
  if given.options.dry_run:
    config = kept.config(given, 'train')
    with config_lib.user_errors():
      dry_run.main(config, given.options.topology, verbose=given.options.verbose)
    return
  with stopping.heard(), contextlib.ExitStack() as stack:
    with config_lib.user_errors():
      given = stack.enter_context(bucket_run.opened(given, writes=True))
    config = kept.config(given, 'train')
    compile_cache.use(config, given.workdir)
    stack.enter_context(compilation.told())
    with config_lib.user_errors():
      agreement.check_start(config, given.where, asked)
      if given.here is None:  # else locked before anything was fetched
        stack.enter_context(lock.held(given.workdir))
      agreement.check_workdir(given.where)
      results.read(given.workdir / 'evaluations.json')  # what is damaged is told before any work
      starting_point.check_states(given.workdir, config.actor.checkpoint)
      requirements.check(config)
      indices = {}
      if not config.sim.task:
        networks.make_tokenizer(config)  # before a large dataset is indexed
        indices = indices_lib.open_given(config)
        robot.settle(config, indices)
        rate.settle(config, indices)
        fail_cost.check(config, indices)
      elif config.data.episodes:
        progress.CONSOLE.print(
          f'Trains on {len(config.data.episodes)} given datasets and on what is played in the '
          f'simulator, {config.sim.task!r}; --config.sim.task= is for data of a robot alone.',
          highlight=False,
          soft_wrap=True,
        )
      experiment = experiment_lib.Experiment(config)
      experiment.inputs(None)  # builds the tokenizer
      starting_point.check(starting_point.find(config.actor.checkpoint), experiment)
    run(experiment, given.workdir, indices, profile=given.options.profile, asked=asked)


def _check_dry_run(options: argparse.Namespace) -> None:
  """Raises ValueError where options of a dry run and of a run are mixed."""
  if options.dry_run:
    topologies.find(options.topology)
    for name in ('profile', 'redo', 'more'):
      if getattr(options, name):
        raise ValueError(f'--{name} is of a run, and --dry_run runs nothing; leave one out.')
  elif options.topology or options.verbose:
    name = '--topology' if options.topology else '--verbose'
    raise ValueError(
      f'{name} is an option of --dry_run, which is missing; a run takes what is there.'
    )


if __name__ == '__main__':
  command_line.run(main)
