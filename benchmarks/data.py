"""Samples per second of processor time and memory of the ways to read episodes.

  python -m benchmarks.data --workdir=runs/benchmark_data

Episodes are made once and kept. Every loader has a process of its own; they are measured in turn,
medians over the rounds, after their first batch was compared with the episodes. Processor time is
that of all threads of the process, also between its turns; memory is what the process holds for
itself at the end of a turn, beyond Python and JAX and without the files mapped into it.
"""

import argparse
from collections.abc import Iterator
import contextlib
import multiprocessing
import pathlib
import statistics
import time

import rich.table

from aloe_jax import progress
from benchmarks import episodes
from benchmarks import loaders


def main() -> None:
  """Prints the table."""
  arguments = _parser().parse_args()
  directory = arguments.workdir / (
    f'episodes{arguments.episodes}_steps{arguments.steps}_quality{arguments.quality}'
  )
  episodes.make(directory, arguments.episodes, arguments.steps, arguments.quality)
  rates: dict[str, list[float]] = {name: [] for name in loaders.LOADERS}
  first: dict[str, float] = {}
  memory = dict.fromkeys(loaders.LOADERS, 0.0)
  with contextlib.ExitStack() as stack:
    processes = {}
    with progress.bar('Start', len(rates), 'loaders') as advance:
      for number, name in enumerate(rates):
        processes[name] = stack.enter_context(_process(name, directory, arguments))
        first[name] = processes[name].recv()
        advance(number + 1)
    with progress.bar('Measure', arguments.rounds, 'rounds') as advance:
      for number in range(arguments.rounds):
        for name, process in processes.items():
          process.send(arguments.seconds)
          samples, processor_seconds, held = process.recv()
          rates[name].append(samples / processor_seconds)
          memory[name] = max(memory[name], held)
        advance(number + 1)
  _print({name: statistics.median(found) for name, found in rates.items()}, first, memory)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(prog='python -m benchmarks.data', description=__doc__)
  parser.add_argument('--workdir', type=pathlib.Path, required=True, help='keeps the episodes')
  parser.add_argument('--episodes', type=int, default=40)
  parser.add_argument('--steps', type=int, default=300, help='of each episode')
  parser.add_argument('--quality', type=int, default=95, help='of the JPEGs')
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--seconds', type=float, default=1.5, help='of one turn, at least')
  return parser


def _print(rates: dict[str, float], first: dict[str, float], memory: dict[str, float]) -> None:
  table = rich.table.Table()
  for column in ('', 'samples/s', 'of its decoder', 'against tf.data', 'memory', 'first batch'):
    table.add_column(column, justify='right' if column else 'left')
  for name, loader in loaders.LOADERS.items():
    bound = loaders.DECODER.get(loader.images)
    table.add_row(
      name,
      f'{rates[name]:,.0f}',
      f'{rates[name] / rates[bound]:.2f}' if bound else '',
      f'{rates[name] / rates[loaders.TF_DATA]:.2f}x' if loader.images == 6 else '',
      f'{memory[name] / 1e9:.2f} GB',
      f'{first[name]:.1f} s',
    )
  progress.CONSOLE.print(table)


@contextlib.contextmanager
def _process(name: str, directory: pathlib.Path, arguments: argparse.Namespace) -> Iterator:
  """Starts a loader; yields the connection to it."""
  context = multiprocessing.get_context('spawn')
  here, there = context.Pipe()
  process = context.Process(
    target=_serve, args=(there, name, directory, arguments.steps, arguments.quality)
  )
  process.start()
  there.close()  # so that a process that dies is noticed
  try:
    yield here
  finally:
    here.close()
    process.join()


def _serve(connection, name: str, directory: pathlib.Path, steps: int, quality: int) -> None:
  """Sends the seconds to the first batch, then what every turn that is asked for came to."""
  loader = loaders.LOADERS[name]
  unheld = _held()
  start = time.perf_counter()
  batches = loader.make(directory)
  batch = next(batches)
  seconds = time.perf_counter() - start
  if isinstance(batch, loaders.Batch):
    loaders.check(batch, steps, quality, loader.tolerance)
  connection.send(seconds)
  processor = time.process_time()
  with contextlib.suppress(EOFError):
    while True:
      end = time.perf_counter() + connection.recv()
      samples = 0
      while not samples or time.perf_counter() < end:
        batch = next(batches)
        samples += loader.size
      before, processor = processor, time.process_time()
      connection.send((samples, processor - before, _held() - unheld))


def _held() -> float:
  """Bytes of memory that are this process's own and no file's."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('RssAnon'):
      return 1024.0 * int(line.split()[1])
  raise OSError('/proc/self/status: RssAnon is missing; expected Linux.')


if __name__ == '__main__':
  main()
