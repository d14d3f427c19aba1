"""Drawing a bank: device memory at every step of it, and what it takes to move the state aside.

  python -m benchmarks.bank --config=experiments/laundry.py --workdir=runs/benchmark

On the config's own sizes, one device, random weights and images: first as runs draw a bank, with
parameters in the types that the network reads and the rest of the state in the host's memory. The
device's memory is asked for many times a second; a device that does not tell leaves it out. At the
end every array of the state is compared with what it was, by the sum of its bits.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.table

from aloe_jax import command_line
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.dry_run import robot as paper_robot
from aloe_jax.learning import action_bank
from aloe_jax.parallel import host_memory
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import updates as updates_lib
from benchmarks import actor as actor_benchmark


@dataclasses.dataclass
class Moment:
  """One step: its name, seconds, and bytes of the device that were in use at most and after it."""

  name: str
  seconds: float = 0.0
  most: int = 0
  after: int = 0


def main() -> None:
  """Prints the table."""
  parser = command_line.parser('benchmarks.bank', __doc__)
  parser.add_argument('--states', type=int, default=256, help='of the bank')
  given = command_line.parse(parser)
  states = given.options.states
  config, _ = command_line.config(given)
  paper_robot.fill_in(config)
  experiment = experiment_lib.Experiment(config, jax.devices()[:1])
  learner = experiment.learner(reward_scale=1.0)
  size = config.actor.batch_size
  batches = actor_benchmark.update_case(experiment).batches
  shown = jax.tree.map(lambda x: x[0], batches.observation)
  moments: list[Moment] = []
  step = functools.partial(_moment, moments)

  with step('state made'):
    state = jax.block_until_ready(jax.jit(actor_benchmark.create(experiment))())
  updates = updates_lib.Updates(experiment, learner, state, None, None)
  del state
  before = _sums(updates.state)
  acting = _policy(experiment, updates.state.acting)
  if host_memory.is_apart():
    with step('parameters rounded'):
      acting = jax.block_until_ready(acting.rounded(shown))
  with contextlib.ExitStack() as moved:
    with step('state moved aside'):
      moved.enter_context(updates.aside(acting.params))
    draw = _sampler(acting, shown, experiment)
    with step(f'{size} states, and compiling'):
      draw(0)
    begin = time.perf_counter()
    with step(f'{states} states'):
      for first in range(0, states, size):
        draw(first)
    seconds = (time.perf_counter() - begin) / (-(-states // size) * size)
    with step('state moved back'):
      moved.close()
  del acting, draw
  after = _sums(updates.state)

  table = rich.table.Table(title=f'A bank of {config.actor.samples} chunks a state, {_kind()}')
  for column in ('', 's', 'GB at most', 'GB after'):
    table.add_column(column, justify='right' if column else 'left')
  for moment in moments:
    cells = [f'{x / 1e9:.1f}' if x else '' for x in (moment.most, moment.after)]
    table.add_row(moment.name, f'{moment.seconds:.1f}', *cells)
  progress.CONSOLE.print(table)
  progress.CONSOLE.print(
    f'{1e3 * seconds:.1f} ms a state. The state is '
    f'{"the same, bit for bit" if before == after else "NOT THE SAME any more"}.'
  )


def _policy(experiment: experiment_lib.Experiment, params: Any) -> policy_lib.Policy:
  """As `Experiment.policy`, with inputs that need no tokenizer's file and no statistics."""
  inputs = inputs_lib.Inputs(
    tokenizer=None,
    state=normalize.Identity(),
    action=normalize.Identity(),
    state_size=experiment.config.task.proprio_size,
    delta=(),
    image_size=0,
    tagged=False,
    limits=None,
  )
  return experiment.policy(params, inputs, None, None)


def _sampler(
  policy: policy_lib.Policy,
  shown: types.Observation,
  experiment: experiment_lib.Experiment,
) -> Callable[[int], np.ndarray]:
  """Draws the chunks of as many states as are shown, from a first one on."""
  drawn = action_bank.sampler(
    policy,
    lambda rows: shown,
    seed=0,
    samples=experiment.config.actor.samples,
    layout=experiment.layout,
  )
  return lambda first: drawn(np.arange(first, first + len(shown.proprio)))


@jax.jit
def _sum(x: jax.Array) -> jax.Array:
  """Of the bits of an array."""
  if jnp.issubdtype(x.dtype, jnp.floating):
    x = jax.lax.bitcast_convert_type(x, f'uint{8 * x.dtype.itemsize}')
  return jnp.sum(x.astype(jnp.uint32), dtype=jnp.uint32)


def _sums(tree: Any) -> list[int]:
  return [int(_sum(x)) for x in jax.tree.leaves(tree)]


@contextlib.contextmanager
def _moment(moments: list[Moment], name: str) -> Iterator[None]:
  """Notes how long a step took, and what the device held in it."""
  moment, ended = Moment(name), threading.Event()

  def watch() -> None:
    while not ended.wait(0.005):
      moment.most = max(moment.most, _in_use())

  watcher = threading.Thread(target=watch, daemon=True)
  watcher.start()
  begin = time.perf_counter()
  yield
  moment.seconds = time.perf_counter() - begin
  ended.set()
  watcher.join()
  moment.after = _in_use()
  moment.most = max(moment.most, moment.after)
  moments.append(moment)
  progress.CONSOLE.print(f'{name}: {moment.seconds:.1f} s, at most {moment.most / 1e9:.1f} GB')


def _in_use() -> int:
  return (jax.devices()[0].memory_stats() or {}).get('bytes_in_use', 0)


def _kind() -> str:
  return jax.devices()[0].device_kind


if __name__ == '__main__':
  command_line.run(main)
