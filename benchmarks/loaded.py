"""What a loaded policy adds to its compiled program: checks, tokens, transfers, resized images.

  python -m benchmarks.loaded --path=runs/laundry

Random images and states; `act` is called as a robot's program calls it, and in turn with it the
program alone, on arguments that lie on the device. Medians over the rounds. Images are once of the
size that the networks take, and once of a camera's.
"""

import statistics
import time

from absl import app
from absl import flags
import jax
import numpy as np
import rich.table

import aloe_jax
from aloe_jax import progress
from aloe_jax.run import loaded

PATH = flags.DEFINE_string('path', None, 'Run or checkpoint', required=True)
ROUNDS = flags.DEFINE_integer('rounds', 300, 'Measurements of each, interleaved')
BATCH = flags.DEFINE_list('batch', [1, 8], 'Readings a call')
CAMERA = (480, 640)  # pixels


def main(_) -> None:
  """Prints the table."""
  policy = aloe_jax.load(PATH.value)
  table = rich.table.Table(title=f'act, {jax.devices()[0].device_kind}')
  for column in ('images', 'batch', 'program, ms', 'act, ms', 'ratio'):
    table.add_column(column, justify='right')
  size = policy.metadata.image_size
  for rows, columns in ((size, size), CAMERA):
    for batch in map(int, BATCH.value):
      program, act = measure(policy, batch, rows, columns)
      cells = f'{rows} x {columns}', str(batch), f'{1e3 * program:.3f}', f'{1e3 * act:.3f}'
      table.add_row(*cells, f'{act / program:.2f}')
  progress.CONSOLE.print(table)


def measure(
  policy: loaded.LoadedPolicy, batch: int, rows: int, columns: int
) -> tuple[float, float]:
  """Median seconds of the program alone and of `act`."""
  told, rng = policy.metadata, np.random.default_rng(0)
  images = {
    camera: rng.integers(0, 256, (batch, rows, columns, 3), np.uint8) for camera in told.cameras
  }
  state = rng.standard_normal((batch, told.state_size))
  program, arguments = policy.program(images, state)
  arguments = jax.device_put(arguments)
  seconds: tuple[list[float], list[float]] = ([], [])
  for round_ in range(ROUNDS.value + 1):
    for measured, call in enumerate(
      (lambda: program(*arguments), lambda: policy.act(images, state))
    ):
      start = time.perf_counter()
      jax.block_until_ready(call())
      if round_:  # the first compiles
        seconds[measured].append(time.perf_counter() - start)
  return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == '__main__':
  app.run(main)
