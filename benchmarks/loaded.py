"""What a loaded policy adds to its compiled programs: checks, transfers, resized images.

  python -m benchmarks.loaded --path=runs/laundry

Random images and states. In turn: the networks alone, on arguments that lie on the device; the
compiled `Policy.act` of rollouts, which makes the tokens of the prompt too; and `act` as a robot's
program calls it. Medians over the rounds; the ratio is of the last two. Images are once of the size
that the networks take, and once of a camera's, which `act` has to fit.
"""

from collections.abc import Callable
import pathlib
import statistics
import time
from typing import Any

from absl import app
from absl import flags
import jax
import numpy as np
import rich.table

import aloe_jax
from aloe_jax import config as config_lib
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import loaded
from aloe_jax.run import restored

PATH = flags.DEFINE_string('path', None, 'Run or checkpoint', required=True)
ROUNDS = flags.DEFINE_integer('rounds', 300, 'Measurements of each, interleaved')
BATCH = flags.DEFINE_list('batch', [1, 8], 'Readings a call')
CAMERA = (480, 640)  # pixels


def main(_) -> None:
  """Prints the table."""
  policy = aloe_jax.load(PATH.value)
  table = rich.table.Table(title=f'act, {jax.devices()[0].device_kind}')
  for column in ('images', 'batch', 'networks, ms', 'Policy.act, ms', 'act, ms', 'ratio'):
    table.add_column(column, justify='right')
  size = policy.metadata.image_size
  for rows, columns in ((size, size), CAMERA):
    for batch in map(int, BATCH.value):
      seconds = measure(policy, batch, rows, columns)
      cells = [f'{1e3 * x:.3f}' for x in seconds] + [f'{seconds[2] / seconds[1]:.2f}']
      table.add_row(f'{rows} x {columns}', str(batch), *cells)
  progress.CONSOLE.print(table)


def measure(policy: loaded.LoadedPolicy, batch: int, rows: int, columns: int) -> list[float]:
  """Median seconds of the networks, of `Policy.act` and of `act`."""
  told, rng = policy.metadata, np.random.default_rng(0)
  images = {
    camera: rng.integers(0, 256, (batch, rows, columns, 3), np.uint8) for camera in told.cameras
  }
  state = rng.standard_normal((batch, told.state_size))
  networks, given = policy.program(images, state)
  _, observation, _, raw, _ = given
  acting, structure = jax.tree.flatten(_policy(told.path))
  compiled = jax.jit(lambda numbers, *seen: jax.tree.unflatten(structure, numbers).act(*seen))
  sight = types.Sight(raw, images=observation.images, image_masks=observation.image_masks)
  given, shown = jax.device_put((given, (acting, sight, jax.random.key(0))))
  calls: list[Callable[[], Any]] = [
    lambda: networks(*given),
    lambda: compiled(*shown),
    lambda: policy.act(images, state),
  ]
  seconds: list[list[float]] = [[] for _ in calls]
  for round_ in range(ROUNDS.value + 1):
    for call, measured in zip(calls, seconds, strict=True):
      start = time.perf_counter()
      jax.block_until_ready(call())
      if round_:  # the first compiles
        measured.append(time.perf_counter() - start)
  return [statistics.median(x) for x in seconds]


def _policy(path: str) -> policy_lib.Policy:
  """The policy of a checkpoint as rollouts have it."""
  found = pathlib.Path(path)
  config = config_lib.from_json(checkpoints.read_meta(found)['config'], path)
  return restored.restore(experiment_lib.Experiment(config), found).policy


if __name__ == '__main__':
  app.run(main)
