"""What a policy server adds to its model: time of replies, missed deadlines, memory.

  python -m benchmarks.serve --workdir=runs/laundry
  python -m benchmarks.serve --workdir=runs/laundry --hours=8

Three processes: the server as `python -m aloe_jax.serve` starts it; robots that ask it; and this
one, which calls the same model itself. The calls and the robots' requests are interleaved. Images
are once of the size that most models read and once of a camera's. What a reply takes more than a
call with the same images is told of the medians and of the quickest tenths, which on a machine with
other work are closer to those of an idle one; and in processor time of all threads, as far as the
server's goes. A deadline is missed by a reply that comes after the next request was due. With
--hours as many requests are sent as a robot sends in these hours, as fast as they are answered, and
nothing but the server's memory is looked at.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np
import rich.table

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax.run import checkpoints
from aloe_jax.run import compile_cache
from aloe_jax.run import kept
from aloe_jax.serving import loading
from aloe_jax.serving import model as model_lib
from benchmarks import serve_hours
from benchmarks import serve_robots

HERE = pathlib.Path(__file__).resolve().parents[1]
RATE = 30.0  # requests or ticks a second
SIZES = ((224, 224), (480, 640))
LOOKS = 20  # at the memory


@dataclasses.dataclass
class Case:
  """One row of the table, and what was measured of it, in seconds.

  Attributes:
    robots: that ask at the same time.
    rate: requests a second of each; 0 for as fast as they are answered.
    rows, columns: of the images.
  """

  robots: int
  rate: float
  rows: int
  columns: int
  seconds: list[float] = dataclasses.field(default_factory=list)
  model: list[float] = dataclasses.field(default_factory=list)
  late: list[float] = dataclasses.field(default_factory=list)
  spent: list[float] = dataclasses.field(default_factory=list)
  calls_spent: list[float] = dataclasses.field(default_factory=list)
  calls: list[float] = dataclasses.field(default_factory=list)


def main() -> None:
  """Prints the table, or what memory was taken when."""
  parser = command_line.parser('benchmarks.serve', __doc__)
  parser.add_argument('--robots', type=int, nargs='+', default=[1, 4, 16], metavar='N')
  parser.add_argument('--rounds', type=int, default=5, help='measurements of each, interleaved')
  parser.add_argument('--requests', type=int, default=60, help='of each robot in a round')
  parser.add_argument('--hours', type=float, default=0.0, help='of one robot, for the memory alone')
  given = command_line.parse(parser)
  options = given.options
  with contextlib.ExitStack() as stack:
    process, port = stack.enter_context(_server(options.workdir, max(options.robots)))
    if options.hours:
      robot = stack.enter_context(_Asking(serve_hours.__file__, f'ws://127.0.0.1:{port}'))
      _endure(process, robot, round(options.hours * 3600 * RATE))
      return
    robots = stack.enter_context(_Asking(serve_robots.__file__))
    model = _model(given)
    cases = [Case(n, rate, *size) for size in SIZES for rate in (0.0, RATE) for n in options.robots]
    with progress.bar('Measure', options.rounds, 'rounds') as advance:
      for round_ in range(options.rounds):
        for case in cases:
          began = time.process_time()
          case.calls += _call(model, case, options.requests)
          case.calls_spent.append((time.process_time() - began) / options.requests)
          began = processor_time(process.pid)
          found = robots.tell(_case(case, port, options.requests))
          spent = processor_time(process.pid) - began
          case.spent.append(spent / (options.requests + 1) / case.robots)  # one is not counted
          for name in ('seconds', 'model', 'late'):
            getattr(case, name).extend(found[name])
        advance(round_ + 1)
  _print(cases)


@contextlib.contextmanager
def _server(workdir: str, robots: int) -> Iterator[tuple[subprocess.Popen, int]]:
  """The server of a run's newest checkpoint, and its port."""
  command = [sys.executable, '-m', 'aloe_jax.serve', f'--workdir={workdir}', '--port=0']
  command += ['--reload_seconds=0', f'--connections={robots + 4}', f'--max_batch={min(robots, 8)}']
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  try:
    assert process.stdout is not None
    for line in process.stdout:
      if line.startswith('Ready: '):
        yield process, int(line.partition('127.0.0.1:')[2].split()[0])
        return
    raise SystemExit('error: the server did not start; it said why above.')
  finally:
    process.terminate()
    process.wait()


class _Asking(contextlib.AbstractContextManager):
  """A process of robots, which answers a line with a line."""

  def __init__(self, program: str, *arguments: str):
    self.process = subprocess.Popen(
      [sys.executable, program, *arguments],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
    )

  def tell(self, value: object) -> dict[str, Any]:
    """What it says of a value of JSON."""
    assert self.process.stdin is not None and self.process.stdout is not None
    self.process.stdin.write(json.dumps(value) + '\n')
    self.process.stdin.flush()
    line = self.process.stdout.readline()
    if not line:
      raise SystemExit('error: the robots ended; they said why above.')
    return json.loads(line)

  def __exit__(self, *error: object) -> None:
    assert self.process.stdin is not None
    self.process.stdin.close()
    self.process.wait()


def _case(case: Case, port: int, requests: int) -> dict[str, Any]:
  """What `serve_robots.measure` is told."""
  told = {'robots': case.robots, 'rate': case.rate, 'rows': case.rows, 'columns': case.columns}
  return {'port': port, 'requests': requests} | told


def _model(given: command_line.Given) -> model_lib.Model:
  """What the server serves, in this process."""
  config = kept.config(given, 'serve', None)
  config.parallel.update(mode='fsdp', fsdp=0)
  with config_lib.user_errors():
    compile_cache.use(config, given.workdir)
    path = checkpoints.Checkpoints(given.workdir / 'checkpoints').newest()
    model = loading.of_run(config, path, largest=1, real_time=False)
  model.warm()
  return model


def _call(model: model_lib.Model, case: Case, count: int) -> list[float]:
  """Seconds of calls from a camera's images to actions on the host, as often as a robot asks."""
  task = model.experiment.config.task
  rng = np.random.default_rng(0)
  images = {
    camera: rng.integers(0, 256, (case.rows, case.columns, 3), np.uint8) for camera in task.cameras
  }
  reading = model_lib.Reading(np.zeros(task.proprio_size, np.float32), images, seed=0)
  seconds: list[float] = []
  due = time.perf_counter()
  for _ in range(count):
    time.sleep(max(0.0, due - time.perf_counter()))  # what rests in between is slower afterwards
    began = time.perf_counter()
    model.answer([model.prepare(reading)])
    ended = time.perf_counter()
    seconds.append(ended - began)
    due = max(due + 1 / case.rate, ended) if case.rate else ended
  return seconds


def _endure(server: subprocess.Popen, robot: _Asking, ticks: int) -> None:
  """Says what both processes hold after each twentieth of so many ticks."""
  _say(f'{ticks} ticks, {ticks / RATE / 3600:g} hours of {RATE:g} a second')
  for look in range(1, LOOKS + 1):
    count = ticks * look // LOOKS - ticks * (look - 1) // LOOKS
    found = robot.tell(count)
    held = (memory(process.pid) / 1e6 for process in (server, robot.process))
    events = ', '.join(f'{count} {kind}' for kind, count in sorted(found['events'].items()))
    _say(
      f'{100 * look // LOOKS:3d} %: {{:.1f}} MB the server, {{:.1f}} MB the robot, '.format(*held)
      + f'{1e3 * found["seconds"] / count:.2f} ms a tick, {1e3 * found["largest"]:.0f} ms the '
      f'longest, {found["replies"]} replies, {events}'
    )


def _say(line: str) -> None:
  progress.CONSOLE.print(line, soft_wrap=True, highlight=False)


def memory(process: int) -> int:
  """Bytes that a process holds in memory; of Linux."""
  pages = int(pathlib.Path(f'/proc/{process}/statm').read_text().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE')


def processor_time(process: int) -> float:
  """Seconds that all threads of a process took; of Linux."""
  told = pathlib.Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()
  return (int(told[11]) + int(told[12])) / os.sysconf('SC_CLK_TCK')


def _print(cases: list[Case]) -> None:
  table = rich.table.Table(title='Replies, ms')
  for name in (
    'images',
    'robots',
    'each asks',
    'call',
    'p50',
    'p95',
    'p99',
    'more',
    'tenth',
    'CPU',
  ):
    table.add_column(name, justify='right')
  table.add_column('call CPU', justify='right')
  table.add_column('late', justify='right')
  table.add_column('/s', justify='right')
  for case in cases:
    replies, calls = np.array(case.seconds), np.array(case.calls)
    more, tenth = (np.quantile(replies, q) - np.quantile(calls, q) for q in (0.5, 0.1))
    times = [np.median(calls), *np.quantile(replies, (0.5, 0.95, 0.99)), more, tenth]
    times += [np.median(case.spent), np.median(case.calls_spent)]
    cells = [f'{case.columns}x{case.rows}', f'{case.robots}']
    cells.append(f'{case.rate:g} /s' if case.rate else 'at once')
    cells += [f'{1e3 * x:.2f}' for x in times]
    cells.append(f'{np.mean(np.array(case.late) > 1 / RATE):.1%}' if case.rate else '')
    cells.append('' if case.rate else f'{case.robots / replies.mean():.0f}')
    table.add_row(*cells)
  progress.CONSOLE.print(table)


if __name__ == '__main__':
  command_line.run(main)
