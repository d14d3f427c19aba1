"""One of the two processes of `benchmarks.paired`: does one call whenever it is told its name.

It runs on the files of an earlier commit too, so it uses of the package what does not change.
"""

import dataclasses
import pathlib
import sys
import time

import jax
import numpy as np

from aloe_jax import command_line
from aloe_jax import types
from aloe_jax.dry_run import robot as paper_robot
from aloe_jax.run import experiment as experiment_lib


def main() -> None:
  """Answers names of cases on its standard input with seconds, until that ends."""
  given = command_line.parse(command_line.parser('benchmarks.paired_worker', __doc__), sys.argv[2:])
  config, _ = command_line.config(given)
  paper_robot.fill_in(config)
  experiment = experiment_lib.Experiment(config)
  learner = experiment.learner(reward_scale=1.0)
  learner = dataclasses.replace(
    learner, settings=dataclasses.replace(learner.settings, augment=False)
  )
  state = jax.jit(lambda: learner.init(0, experiment.example()))()
  state = jax.tree.map(_livened, state)
  two, one = (jax.device_put(_batch(experiment, size)) for size in (2, 1))

  def gradient(state, batch):
    batches = jax.tree.map(lambda x: x[None], batch)
    return learner.train_step(state, None, batches)[1]['actor']['gradient_norm']

  def sample(samples):
    return lambda state, batch: learner.sample(state, batch.observation, batch.position, samples)

  programs = {
    'gradient of 2 rows': (gradient, two),
    '1 chunk': (sample(1), one),
    '8 chunks of 1 state': (sample(8), one),
  }
  compiled = {
    name: (jax.jit(program).lower(state, batch).compile(), batch)
    for name, (program, batch) in programs.items()
  }
  results = {name: np.asarray(program(state, batch)) for name, (program, batch) in compiled.items()}
  with pathlib.Path(sys.argv[1]).open('wb') as file:
    np.savez(file, **results)
  on_cpu = jax.devices()[0].platform == 'cpu'
  clock = time.process_time if on_cpu else time.perf_counter
  print(','.join(programs), flush=True)
  for line in sys.stdin:
    program, batch = compiled[line.strip()]
    start = clock()
    jax.block_until_ready(program(state, batch))
    print(clock() - start, flush=True)


def _livened(x: jax.Array) -> jax.Array:
  """Random numbers in place of zeros, behind which a program computes nothing that shows."""
  if x.ndim < 2 or x.dtype != np.float32:
    return x
  noise = 0.02 * jax.random.normal(jax.random.key(x.size), x.shape)
  return jax.numpy.where(jax.numpy.all(x == 0), noise, x)


def _batch(experiment: experiment_lib.Experiment, size: int) -> types.ActorBatch:
  """Random rows [size, ...] of the config's shapes."""
  rng = np.random.default_rng(0)

  def random(x):
    shape = (size, *x.shape[1:])
    if x.dtype == np.float32:
      return rng.standard_normal(shape, np.float32)
    if x.dtype == np.uint8:
      return rng.integers(0, 256, shape, np.uint8)
    if x.dtype == np.int32:
      return rng.integers(0, experiment.config.actor.vocab_size, shape, np.int32)
    return np.broadcast_to(x, shape)

  return jax.tree.map(random, experiment.example()).replace(
    weight=np.ones(size, np.float32), position=np.arange(size, dtype=np.int32)
  )


if __name__ == '__main__':
  main()
