"""Is the actor's code faster than that of an earlier commit? Both in turn, on the same numbers.

  python -m benchmarks.paired --config=experiments/laundry.py:pi05_small --workdir=runs/benchmark \
    --against=HEAD~1 --config.actor.vocab_size=1024

Two processes, one with this tree and one with the commit's, do one call each in turn: a gradient
of two rows, one chunk, eight chunks of one state; random weights and data, the same in both. What
is compared is the processor time of all threads (on an accelerator the time that passes), as
the ratio of each pair; the table shows medians and quartiles, and how far the results are apart.
Any field of the config may differ for the earlier commit: --there=--config.actor.remat=none.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import rich.table

from aloe_jax import command_line
from aloe_jax import progress

HERE = pathlib.Path(__file__).resolve().parents[1]
WORKER = pathlib.Path(__file__).with_name('paired_worker.py')


def main() -> None:
  """Prints the table."""
  parser = command_line.parser('benchmarks.paired', __doc__)
  parser.add_argument('--against', default='HEAD', help='the earlier commit, as git names it')
  parser.add_argument('--rounds', type=int, default=15, help='pairs of each')
  parser.add_argument('--there', action='append', default=[], help='argument for the commit alone')
  given = command_line.parse(parser)
  options = given.options
  if options.rounds < 2:
    raise SystemExit(f'error: --rounds={options.rounds}; expected 2 or more, to tell a spread.')
  common = [f'--config={given.file}', f'--workdir={options.workdir}', *given.overrides]
  with contextlib.ExitStack() as stack:
    scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    there = stack.enter_context(_checked_out(options.against, scratch / 'tree'))
    workers = [
      stack.enter_context(_Worker(HERE, common, scratch / 'here.npz')),
      stack.enter_context(_Worker(there, common + options.there, scratch / 'there.npz')),
    ]
    said = [worker.read() for worker in workers]
    names = said[0].split(',')
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with progress.bar('Measure', options.rounds, 'rounds') as advance:
      for round_ in range(options.rounds):
        for name in names:
          turn = workers if round_ % 2 else workers[::-1]
          seconds = {worker: worker.time(name) for worker in turn}
          pairs[name].append((seconds[workers[0]], seconds[workers[1]]))
        advance(round_ + 1)
    apart = _apart(scratch / 'here.npz', scratch / 'there.npz')
  _print(pairs, apart, options.against)


class _Worker:
  """A process that times one call whenever it is asked to."""

  def __init__(self, tree: pathlib.Path, arguments: list[str], results: pathlib.Path):
    self._process = subprocess.Popen(
      [sys.executable, WORKER, results, *arguments],
      cwd=tree,
      env=os.environ | {'PYTHONPATH': str(tree)},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def __enter__(self) -> '_Worker':
    return self

  def __exit__(self, *_: object) -> None:
    self._process.kill()
    self._process.wait()

  def read(self) -> str:
    """The next line that it says."""
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if not line:
      raise SystemExit('error: one of the two programs ended; what it said is above.')
    return line.strip()

  def time(self, name: str) -> float:
    """Seconds of one call."""
    assert self._process.stdin is not None
    self._process.stdin.write(f'{name}\n')
    self._process.stdin.flush()
    return float(self.read())


@contextlib.contextmanager
def _checked_out(commit: str, tree: pathlib.Path) -> Iterator[pathlib.Path]:
  """The files of a commit."""
  git = ['git', '-C', str(HERE), 'worktree']
  added = subprocess.run(
    [*git, 'add', '--detach', str(tree), commit], capture_output=True, text=True, check=False
  )
  if added.returncode:
    raise SystemExit(f'error: --against={commit}: {added.stderr.strip()}')
  try:
    yield tree
  finally:
    subprocess.run([*git, 'remove', '--force', str(tree)], check=False)


def _apart(here: pathlib.Path, there: pathlib.Path) -> dict[str, float]:
  """{case: how far its results are apart, over the largest of them}."""
  with np.load(here) as ours, np.load(there) as theirs:
    return {
      name: float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max())
      for name in ours.files
    }


def _print(pairs: dict[str, list[tuple[float, float]]], apart: dict[str, float], commit: str):
  table = rich.table.Table(title=f'This tree over {commit}')
  for column in ('', 'here, s', 'there, s', 'ratio', 'quartiles', 'results apart'):
    table.add_column(column, justify='right' if column else 'left')
  for name, times in pairs.items():
    here, there = (statistics.median(side) for side in zip(*times, strict=True))
    low, middle, high = statistics.quantiles([a / b for a, b in times], n=4)
    table.add_row(
      name,
      f'{here:.3f}',
      f'{there:.3f}',
      f'{middle:.3f}',
      f'{low:.3f}-{high:.3f}',
      f'{apart[name]:.1e}',
    )
  progress.CONSOLE.print(table)


if __name__ == '__main__':
  command_line.run(main)
