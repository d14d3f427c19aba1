"""A trained π0.5 as openpi publishes them, or in PyTorch, so that others' programs can run it.

python -m aloe_jax.export --workdir=runs/laundry_1 --to=pi05_laundry
"""

import argparse
from collections.abc import Mapping, Sequence
import contextlib
import pathlib
from typing import Any

from absl import logging
import jax
import ml_collections

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.models import lora
from aloe_jax.models import pi05
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import appearing
from aloe_jax.pretrained import deployment
from aloe_jax.pretrained import lerobot_files
from aloe_jax.pretrained import openpi
from aloe_jax.pretrained import openpi_config
from aloe_jax.pretrained import pytorch
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import kept
from aloe_jax.run import restored
from aloe_jax.run import starting_point

_FORMATS = ('openpi', 'pytorch')


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
    target = _target(options)
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
      found = normalize.from_json(meta, str(path))
      stats = {key: normalize.as_used(of_key) for key, of_key in found.items()}
    told = _told(config, params, target, options.asset)
    if options.format == 'pytorch':
      _write_pytorch(target, params, stats, told)
    else:
      texts = {openpi_config.FILE: openpi_config.text(told, str(target))}
      openpi.export(target, params, stats=stats, asset=options.asset, texts=texts)
  _warn(path, told, options.format)
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  place = pytorch.FILE if options.format == 'pytorch' else 'params'
  progress.CONSOLE.print(
    f'{path}: {count:,} parameters to {target}/{place}, statistics of {", ".join(stats) or "none"} '
    f'to {target}/assets/{options.asset}',
    soft_wrap=True,
  )
  progress.CONSOLE.print(_what_runs_it(told, target), highlight=False, markup=False, soft_wrap=True)


def _what_runs_it(told: deployment.Deployment, target: pathlib.Path) -> str:
  if told.variants is None:
    return (
      'Its network is of sizes that openpi and lerobot have no names for, so that they cannot load '
      'it.'
    )
  return (
    f'In a checkout of openpi, after what {target}/{openpi_config.FILE} says first: '
    f'{openpi_config.command(told.name, str(target))}'
  )


def _target(options: argparse.Namespace) -> pathlib.Path:
  """The directory to make, before anything is read for it.

  Raises:
    FileExistsError: it is there.
    ValueError: an option cannot be used.
  """
  if not options.to:
    raise ValueError('--to is missing: the directory to make, such as exported/laundry.')
  if options.asset in ('', '.', '..') or '/' in options.asset:
    raise ValueError(
      f'--asset is {options.asset!r}; expected the name of a robot, such as my_robot, which '
      'becomes a folder of assets/.'
    )
  if options.format not in _FORMATS:
    raise ValueError(f'--format is {options.format!r}; expected {" or ".join(_FORMATS)}.')
  target = files.place(options.to)
  if options.format == 'pytorch':
    files.check_is_here(options.to, '--to with --format=pytorch')
  if not files.is_url(target):
    appearing.check(target)
  return target


def _told(
  config: ml_collections.ConfigDict, params: Mapping[str, Any], target: pathlib.Path, asset: str
) -> deployment.Deployment:
  task, actor = config.task, config.actor
  sizes = pi05.sizes_of(params)
  return deployment.Deployment(
    name=openpi_config.name_of(target.name),
    asset=asset,
    prompt=task.prompt,
    cameras=tuple(task.cameras),
    state_size=task.proprio_size,
    action_size=task.action_size,
    delta=tuple(task.delta),
    normalization=config.data.normalization,
    horizon=task.chunk,
    execute=task.execute,
    control_hz=task.control_hz,
    flow_steps=actor.flow_steps,
    prompt_length=actor.prompt_length,
    sizes=sizes,
  )


def _write_pytorch(
  target: pathlib.Path,
  params: Mapping[str, Any],
  stats: dict[str, normalize.Stats],
  told: deployment.Deployment,
) -> None:
  """A directory that openpi's `PI0Pytorch` and lerobot's `PI05Policy` load, each what it wants."""
  with appearing.directory(target) as unfinished:
    pytorch.write(unfinished, params)
    openpi.write_stats(unfinished, stats, told.asset)
    lerobot_files.write(unfinished, told, stats)
    text = openpi_config.text(told, str(target))
    files.write_text(unfinished / openpi_config.FILE, text)


def _warn(path: pathlib.Path, told: deployment.Deployment, form: str) -> None:
  """Says where others' programs would not do what the policy did here."""
  if starting_point.tagged(starting_point.find(str(path))):
    logging.warning(
      '%s was taught tags, which openpi does not give: there it acts without "Advantage: '
      'positive", as the mixture of all that it has seen.',
      path,
    )
  if form == 'pytorch' and any(told.relative):
    logging.warning(
      'Its actions are relative to the state (task.delta). Versions of lerobot after 0.4 make them '
      'absolute; earlier ones load the network and refuse policy_preprocessor.json.'
    )


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser('aloe_jax.export', __doc__)
  parser.add_argument(
    '--checkpoint', metavar='DIR', help='to export; by default the newest of --workdir'
  )
  parser.add_argument('--to', metavar='DIR', help='to make: parameters, assets/ and what runs it')
  parser.add_argument(
    '--format',
    default='openpi',
    metavar='NAME',
    help="openpi: params/ of its JAX; pytorch: openpi's and lerobot's safetensors "
    '(default: %(default)s)',
  )
  parser.add_argument(
    '--asset', default='aloe', metavar='NAME', help='robot of the statistics (default: %(default)s)'
  )
  return parser


if __name__ == '__main__':
  command_line.run(main)
