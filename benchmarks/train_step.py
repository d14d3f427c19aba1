"""Time and FLOPs of the critic's update: what the bank and the single program save.

  python -m benchmarks.train_step --config=experiments/laundry.py:sim --workdir=runs/benchmark

On the config's own sizes and random data, interleaved in one run, medians over the rounds:

* bank, one program: next actions from the bank, all updates in one `lax.scan`: the default;
* bank, a call each: the same update, one compiled call per update, as most trainers have it;
* no bank, one program: next actions sampled inside every update (`actor.bank=False`).

FLOPs are the compiler's count, which takes the body of a loop once: those of the sampler are of
one Euler step out of `actor.flow_steps`.
"""

import dataclasses
import functools
import re
import statistics
import time

import jax
import numpy as np
import rich.table

from aloe_jax import command_line
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.dry_run import robot as paper_robot
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import networks


def main() -> None:
  """Prints the table."""
  parser = command_line.parser('benchmarks.train_step', __doc__)
  parser.add_argument('--updates', type=int, default=20, help='per measurement')
  parser.add_argument('--rounds', type=int, default=7, help='measurements of each, interleaved')
  parser.add_argument('--only', default='', metavar='REGEX', help='those whose names so begin')
  given = command_line.parse(parser)
  options = given.options
  config, _ = command_line.config(given)
  paper_robot.fill_in(config)
  experiment = experiment_lib.Experiment(config)
  learner = experiment.learner(reward_scale=1.0)
  state = jax.jit(learner.init, static_argnums=0)(0, experiment.example())
  banked = _batches(experiment, options.updates, images=False)
  sampled = _batches(experiment, options.updates, images=experiment.reads_images)
  sampled = dataclasses.replace(sampled, next_action=None, policy_action=None)
  step = jax.jit(learner.train_step)
  single = [jax.tree.map(lambda x, i=i: x[i : i + 1], banked) for i in range(options.updates)]

  def one_program(batches):
    return step(state, batches, None)

  def a_call_each():
    after = state
    for batch in single:
      after, metrics = step(after, batch, None)
    return after, metrics

  ways = {
    'bank, one program': functools.partial(one_program, banked),
    'bank, a call each': a_call_each,
    'no bank, one program': functools.partial(one_program, sampled),
  }
  given_to = dict(zip(ways, (banked, single[0], sampled), strict=True))
  ways = {name: way for name, way in ways.items() if re.match(options.only, name)}
  with command_line.usage_errors():
    if not ways:
      raise ValueError(f'--only={options.only}: expected the beginning of one of {[*given_to]}.')
  flops = {name: _flops(step, state, given_to[name]) for name in ways}
  seconds: dict[str, list[float]] = {name: [] for name in ways}
  with progress.bar('Measure', options.rounds, 'rounds') as advance:
    for round_ in range(options.rounds + 1):
      for name, way in ways.items():
        start = time.perf_counter()
        jax.block_until_ready(way())
        if round_:  # the first compiles
          seconds[name].append((time.perf_counter() - start) / options.updates)
      advance(round_)

  device = jax.devices()[0].device_kind
  size = experiment.config.critic.batch_size
  table = rich.table.Table(title=f'Critic update, batch {size}, {device}')
  for column in ('', 'ms/update', 'against the first', 'MFLOP/update'):
    table.add_column(column, justify='right' if column else 'left')
  default = statistics.median(next(iter(seconds.values())))
  for name, measured in seconds.items():
    median = statistics.median(measured)
    table.add_row(
      name, f'{1e3 * median:.2f}', f'{median / default:.2f}x', f'{flops[name] / 1e6:.0f}'
    )
  progress.CONSOLE.print(table)


def _flops(step, *arguments) -> float:
  return step.lower(*arguments, None).compile().cost_analysis()['flops']


def _batches(
  experiment: experiment_lib.Experiment, count: int, *, images: bool
) -> types.CriticBatch:
  """Random batches [n, B, ...] of the config's shapes; images are for who samples the policy."""
  rng = np.random.default_rng(0)
  size = experiment.config.critic.batch_size
  example = experiment.example()

  def random(x):
    shape = (count, size, *x.shape[1:])
    if x.dtype == np.float32:
      return rng.standard_normal(shape).astype(np.float32)
    return np.broadcast_to(x[0], shape)

  observation = jax.tree.map(random, example.observation)
  if not images:
    observation = observation.replace(images=None, image_masks=None)
  chunk = random(example.action)
  horizon = networks.critic_horizon(experiment.config)
  return types.CriticBatch(
    observation=observation,
    action=chunk[:, :, :horizon],
    valid=np.ones((count, size, horizon), bool),
    reward=rng.random((count, size), np.float32),
    discount=rng.random((count, size), np.float32),
    ended=np.zeros((count, size), bool),
    returns=rng.random((count, size), np.float32),
    next_observation=observation,
    next_action=chunk[:, :, None],
    policy_action=chunk[:, :, None],
    unplayed=chunk[:, :, :horizon],
    position=np.broadcast_to(np.arange(size, dtype=np.int32), (count, size)),
  )


if __name__ == '__main__':
  command_line.run(main)
