"""A trained π0.5 as openpi publishes them, so that any server or client of openpi can run it.

python -m aloe_jax.export --config=experiments/laundry.py --workdir=runs/laundry --to=pi05_laundry
"""

import pathlib

from absl import flags
from absl import logging
import jax

from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import openpi
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import starting_point

CHECKPOINT = flags.DEFINE_string(
  'checkpoint', None, 'Checkpoint to export; by default the newest of --workdir'
)
TO = flags.DEFINE_string('to', None, 'Directory to make: params/ and assets/ of openpi')
ASSET = flags.DEFINE_string('asset', 'aloe', 'Name of the robot that the statistics belong to')


def main() -> None:
  """Exports the checkpoint of the command line: the moving average and its statistics."""
  config = config_lib.get()
  with config_lib.user_errors():
    if not TO.value:
      raise ValueError('--to is missing: the directory to make, such as exported/laundry.')
    experiment = experiment_lib.Experiment(config)
    if not experiment.reads_images:
      raise ValueError(
        f'config.actor.kind is {config.actor.kind!r}; only a π0.5 can be exported to openpi.'
      )
    kept = checkpoints.Checkpoints(pathlib.Path(config_lib.WORKDIR.value) / 'checkpoints')
    path = pathlib.Path(CHECKPOINT.value) if CHECKPOINT.value else kept.newest()
    meta = checkpoints.read_meta(path)
    params = checkpoints.restore(
      path, experiment.abstract_state(), experiment.architecture()
    ).actor_ema['params']
    stats = {}
    if config.data.normalization != 'none':
      stats = normalize.from_json(meta, str(path))
    target = pathlib.Path(TO.value)
    openpi.export(target, params, stats=stats, asset=ASSET.value)
  if starting_point.tagged(starting_point.find(str(path))):
    logging.warning(
      '%s was taught tags, which openpi does not give: there it acts without "Advantage: '
      'positive", as the mixture of all that it has seen.',
      path,
    )
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  progress.CONSOLE.print(
    f'{path}: {count:,} parameters to {target}/params, statistics of {", ".join(stats) or "none"} '
    f'to {target}/assets/{ASSET.value}',
    soft_wrap=True,
  )


if __name__ == '__main__':
  config_lib.run(main)
