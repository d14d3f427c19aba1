"""A trained π0.5 as openpi publishes them, so that any server or client of openpi can run it.

python -m aloe_jax.export --workdir=runs/laundry_1 --to=pi05_laundry
"""

import argparse
from collections.abc import Sequence
import contextlib

from absl import logging
import jax

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.models import lora
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import openpi
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import kept
from aloe_jax.run import restored
from aloe_jax.run import starting_point


def main(argv: Sequence[str] | None = None) -> None:
  """Exports the checkpoint of a command line: the moving average and its statistics."""
  given = command_line.parse(_parser(), argv)
  with contextlib.ExitStack() as stack:
    with config_lib.user_errors():
      given = stack.enter_context(bucket_run.opened(given))
    _export(given)


def _export(given: command_line.Given) -> None:
  options = given.options
  config = kept.config(given, 'export', options.checkpoint)
  with config_lib.user_errors():
    if not options.to:
      raise ValueError('--to is missing: the directory to make, such as exported/laundry.')
    if options.asset in ('', '.', '..') or '/' in options.asset:
      raise ValueError(
        f'--asset is {options.asset!r}; expected the name of a robot, such as my_robot, which '
        'becomes a folder of assets/.'
      )
    experiment = experiment_lib.Experiment(config)
    if not experiment.reads_images:
      raise ValueError(
        f'config.actor.kind is {config.actor.kind!r}; only a π0.5 can be exported to openpi.'
      )
    written = checkpoints.Checkpoints(given.workdir / 'checkpoints')
    path = files.place(options.checkpoint) if options.checkpoint else written.newest()
    meta = checkpoints.read_meta(path)
    params = restored.read_actor(experiment, path)['params']
    params = lora.merge(params, config.actor.lora.scale)
    stats = {}
    if config.data.normalization != 'none':
      stats = normalize.from_json(meta, str(path))
    target = files.place(options.to)
    openpi.export(target, params, stats=stats, asset=options.asset)
  if starting_point.tagged(starting_point.find(str(path))):
    logging.warning(
      '%s was taught tags, which openpi does not give: there it acts without "Advantage: '
      'positive", as the mixture of all that it has seen.',
      path,
    )
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  progress.CONSOLE.print(
    f'{path}: {count:,} parameters to {target}/params, statistics of {", ".join(stats) or "none"} '
    f'to {target}/assets/{options.asset}',
    soft_wrap=True,
  )


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser('aloe_jax.export', __doc__)
  parser.add_argument(
    '--checkpoint', metavar='DIR', help='to export; by default the newest of --workdir'
  )
  parser.add_argument('--to', metavar='DIR', help='to make: params/ and assets/ of openpi')
  parser.add_argument(
    '--asset', default='aloe', metavar='NAME', help='robot of the statistics (default: %(default)s)'
  )
  return parser


if __name__ == '__main__':
  command_line.run(main)
