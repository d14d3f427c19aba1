"""Time, memory and FLOPs of the actor's updates and samples, against imitation's.

  python -m benchmarks.actor --config=experiments/laundry.py:pi05_small --workdir=runs/benchmark

On the config's own sizes, one device, random weights and data that lie there already; the
measurements are interleaved, medians over the rounds. Updates are donated the one state they share.
TFLOP are those of the model (see `flops`), without what `actor.remat` recomputes, which has a
column of its own; the utilisation (MFU) is theirs, over the device's peak in bfloat16.
`--flops_only` prints the counts of any size on any machine and runs nothing.
"""

from collections.abc import Callable
import dataclasses
import functools
import re
import statistics
import time
from typing import Any

import jax
import numpy as np
import rich.table

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.agents import AGENTS
from aloe_jax.dry_run import robot as paper_robot
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.run import experiment as experiment_lib
from benchmarks import flops

SAMPLES = (1, 8, 16)  # M

# Dense bfloat16 FLOP/s by the makers' data sheets, under the names that JAX gives the devices.
PEAK = {
  'NVIDIA A100-SXM4-40GB': 312e12,
  'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA H100 80GB HBM3': 989e12,
  'NVIDIA H200': 989e12,
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,
  'TPU v6e': 918e12,
}


@dataclasses.dataclass(frozen=True)
class Case:
  """One row of the table.

  Attributes:
    name: of it.
    work: what is measured.
    learner: that does it.
    batches: [1, B, ...].
    samples: M, chunks drawn per row.
  """

  name: str
  work: flops.Work
  learner: learner_lib.Learner
  batches: types.ActorBatch
  samples: int = 0

  @property
  def updates(self) -> bool:
    """Whether there is a new state."""
    return self.work is flops.update

  @property
  def size(self) -> int:
    """B."""
    return self.batches.position.size

  @property
  def chunks(self) -> int:
    """Chunks that are learned from, or drawn."""
    return self.size * (1 if self.updates else max(self.samples, 1))

  def count(self, state: TrainState, remat: str) -> float:
    """FLOPs, see `flops.count`."""
    return flops.count(
      self.work, self.learner, state, self.batches, samples=self.samples, remat=remat
    )

  def compile(self, state: TrainState) -> jax.stages.Compiled:
    """The program, of (state, batches)."""
    program = functools.partial(self.work, self.learner)
    donated = (0,) if self.updates else ()
    return jax.jit(program, donate_argnums=donated).lower(state, self.batches).compile()


@dataclasses.dataclass(frozen=True)
class Counted:
  """FLOPs of one case: the model's, and those that are spent on computing them again."""

  model: float
  recomputed: float


@dataclasses.dataclass(frozen=True)
class Measured:
  """Of one case: median seconds a call, seconds of compilation, peak bytes on the device."""

  seconds: float
  compilation: float
  memory: int


def main() -> None:
  """Prints the table."""
  parser = command_line.parser('benchmarks.actor', __doc__)
  parser.add_argument('--rounds', type=int, default=7, help='measurements of each, interleaved')
  parser.add_argument('--only', default='', metavar='REGEX', help='those whose names so begin')
  parser.add_argument('--flops_only', action='store_true', help='count FLOPs, run nothing')
  given = command_line.parse(parser)
  options = given.options
  config, _ = command_line.config(given)
  paper_robot.fill_in(config)
  experiment = experiment_lib.Experiment(config)
  with config_lib.user_errors():
    if experiment.agent.name != 'aloe' or not experiment.reads_images:
      raise ValueError("this benchmark is of config.agent='aloe' and config.actor.kind='pi05'.")
  cases = [case for case in _cases(experiment) if re.match(options.only, case.name)]
  with command_line.usage_errors():
    if not cases:
      raise ValueError(f'--only={options.only}: no case begins so.')
  init = create(experiment)
  counted = _count(cases, jax.eval_shape(init), experiment.config.actor.remat)
  measured = [] if options.flops_only else _measure(cases, jax.jit(init)(), options.rounds)
  _print(cases, counted, measured)


def update_case(experiment: experiment_lib.Experiment) -> Case:
  """ALOE's update of the actor, with weights of the phase."""
  batches = _batches(np.random.default_rng(0), experiment, experiment.config.actor.batch_size)
  learner = experiment.learner(reward_scale=1.0)
  return Case('ALOE update, w per phase', flops.update, learner, batches)


def _cases(experiment: experiment_lib.Experiment) -> list[Case]:
  aloe = experiment.learner(reward_scale=1.0)
  imitation = dataclasses.replace(aloe, agent=AGENTS['bc'])
  plain = dataclasses.replace(aloe, settings=dataclasses.replace(aloe.settings, augment=False))
  size, m = experiment.config.actor.batch_size, aloe.settings.samples
  rng = np.random.default_rng(0)
  weighted = _batches(rng, experiment, size)
  unweighted = weighted.replace(weight=None)
  single = _batches(rng, experiment, 1)
  cases = [
    Case('BC update', flops.update, imitation, weighted),
    Case('ALOE update, w per phase', flops.update, aloe, weighted),
    Case(f'ALOE update, w per step, M={m}', flops.update, aloe, unweighted, m),
    Case('gradient, images as they are', flops.gradient, plain, _batches(rng, experiment, 2)),
  ]
  for batches, samples in ((single, 1), (single, 8), *((weighted, m) for m in SAMPLES)):
    work = functools.partial(flops.sample, samples=samples)
    cases.append(Case(f'sampling, M={samples}', work, aloe, batches, samples))
  return cases


def create(experiment: experiment_lib.Experiment) -> Callable[[], TrainState]:
  """What makes the state, its types those of the config."""
  learner, example = experiment.learner(reward_scale=1.0), experiment.example()

  def random_state() -> TrainState:
    return learner.init(0, example)

  return random_state


def _batches(
  rng: np.random.Generator, experiment: experiment_lib.Experiment, size: int
) -> types.ActorBatch:
  """A random batch [1, size, ...] of the config's shapes."""

  def random(x):
    shape = (1, size, *x.shape[1:])
    if x.dtype == np.float32:
      return rng.standard_normal(shape, np.float32)
    if x.dtype == np.uint8:
      return rng.integers(0, 256, shape, np.uint8)
    if x.dtype == np.int32:
      return rng.integers(0, experiment.config.actor.vocab_size, shape, np.int32)
    return np.broadcast_to(x, shape)

  return jax.tree.map(random, experiment.example()).replace(
    weight=np.ones((1, size), np.float32), position=np.arange(size, dtype=np.int32)[None]
  )


def _count(cases: list[Case], state: TrainState, remat: str) -> list[Counted]:
  counted = []
  with progress.bar('Count', len(cases), 'programs') as advance:
    for case in cases:
      flops_of = {kept: case.count(state, kept) for kept in {'none', remat}}
      counted.append(Counted(flops_of['none'], flops_of[remat] - flops_of['none']))
      advance(len(counted))
  return counted


def _measure(cases: list[Case], state: TrainState, rounds: int) -> list[Measured]:
  programs, compilation = [], []
  with progress.bar('Compile', len(cases), 'programs') as advance:
    for case in cases:
      start = time.perf_counter()
      programs.append(case.compile(state))
      compilation.append(time.perf_counter() - start)
      advance(len(programs))

  batches = jax.device_put([case.batches for case in cases])
  seconds: list[list[float]] = [[] for _ in cases]
  with progress.bar('Measure', rounds, 'rounds') as advance:
    for round_ in range(rounds + 1):
      for i, case in enumerate(cases):
        start = time.perf_counter()
        out = jax.block_until_ready(programs[i](state, batches[i]))
        if round_:  # the first warms up
          seconds[i].append(time.perf_counter() - start)
        if case.updates:
          state = out[0]
      advance(round_)
  medians = map(statistics.median, seconds)
  return list(map(Measured, medians, compilation, map(memory, programs)))


def memory(program: Any) -> int:
  """Bytes that a compiled program takes of a device, arguments and results too."""
  used = program.memory_analysis()
  return (
    used.temp_size_in_bytes
    + used.argument_size_in_bytes
    + used.output_size_in_bytes
    - used.alias_size_in_bytes
  )


def _print(cases: list[Case], counted: list[Counted], measured: list[Measured]) -> None:
  """Prints what there is; the columns 'x BC' compare with the first case, at its batch only."""
  device = jax.devices()[0].device_kind
  columns = ['', 'batch', 'TFLOP', 'x BC', 'recomputed']
  if measured:
    columns += ['ms', 'x BC', 'chunks/s', 'MFU', 'GiB', 'compiled in s']
  table = rich.table.Table(title=f'Actor, {device}' if measured else 'Actor')
  for column in columns:
    table.add_column(column, justify='right' if column else 'left')
  for i, case in enumerate(cases):
    model = counted[i].model
    alike = case.size == cases[0].size
    cells = [case.name, f'{case.size}', f'{model / 1e12:.4g}']
    cells.append(f'{model / counted[0].model:.3f}' if alike else '')
    cells.append(f'{counted[i].recomputed / 1e12:.4g}')
    if measured:
      seconds = measured[i].seconds
      cells.append(f'{1e3 * seconds:.1f}')
      cells.append(f'{seconds / measured[0].seconds:.3f}' if alike else '')
      cells.append(f'{case.chunks / seconds:.1f}')
      cells.append(f'{model / seconds / PEAK[device]:.1%}' if device in PEAK else '')
      cells += [f'{measured[i].memory / 2**30:.2f}', f'{measured[i].compilation:.1f}']
    table.add_row(*cells)
  progress.CONSOLE.print(table)


if __name__ == '__main__':
  command_line.run(main)
