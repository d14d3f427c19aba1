"""Memory and time of one update of π0.5 by what is trained, in which precision, in what pieces.

  python -m benchmarks.modes --config=experiments/laundry.py --workdir=runs/benchmark

The update is ALOE's of the actor with weights of the phase, on random weights and images. First
every mode is compiled, in processes side by side; memory is the compiler's: the state, batches and
what the program needs on the way. Of two batch sizes follows the largest batch that a card of 24,
48 or 80 GB has room for, by a straight line, in 95 % of it, beside the critic's frozen encoder.
Compilers try programs out: with many at a time, large ones may not find the room. Then each mode
that fits here is measured, in a process of its own; medians.

The utilisation (MFU) is of the FLOPs that the mode needs, without those that are computed again.
"""

import argparse
from collections.abc import Sequence
from concurrent import futures
import dataclasses
import functools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import ml_collections
import rich.table

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax.dry_run import robot as paper_robot
from aloe_jax.run import experiment as experiment_lib
from benchmarks import actor as actor_benchmark
from benchmarks import flops

CARDS = (24e9, 48e9, 80e9)  # bytes
ROOM = 0.95  # of a card, for programs
_LORA = {'actor.train': 'vision+projections+lora', 'actor.lora': {'language': 16, 'expert': 32}}
MODES: dict[str, dict[str, Any]] = {
  'all': {},
  'all, bfloat16': {'actor.param_dtype': 'bfloat16'},
  'language+expert': {'actor.train': 'language+expert'},
  'vision+expert': {'actor.train': 'vision+expert'},
  'expert': {'actor.train': 'expert'},
  'LoRA 16 and 32': _LORA,
}


@dataclasses.dataclass(frozen=True)
class Case:
  """A mode at one batch size.

  Attributes:
    mode: of `MODES`.
    rows: B.
    microbatch: rows at a time, 0 for all.
  """

  mode: str
  rows: int
  microbatch: int = 0

  @property
  def name(self) -> str:
    """Of its file."""
    return f'{self.mode}-{self.rows}-{self.microbatch}'.replace(' ', '_').replace(',', '')


def main() -> None:
  """Prints the table."""
  parser = command_line.parser('benchmarks.modes', __doc__)
  parser.add_argument('--only', default='', metavar='REGEX', help='those whose names so begin')
  parser.add_argument('--rows', default='8,32', metavar='B,B', help='one or two batch sizes')
  parser.add_argument(
    '--microbatch', type=int, default=8, help='rows at a time of one more; 0: none'
  )
  parser.add_argument('--rounds', type=int, default=7, help='measured updates of each')
  parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='compiled side by side')
  parser.add_argument('--compile_only', action='store_true', help='measure nothing')
  parser.add_argument('--case', metavar='JSON', help=argparse.SUPPRESS)
  parser.add_argument('--stage', choices=('compile', 'measure'), help=argparse.SUPPRESS)
  given = command_line.parse(parser)
  options = given.options
  directory = given.workdir / 'modes'
  if options.case:
    case = Case(**json.loads(options.case))
    config, _ = command_line.config(given)
    _one(case, config, options.stage, options.rounds, directory / f'{case.name}.json')
    return
  directory.mkdir(parents=True, exist_ok=True)
  sizes = sorted(map(int, options.rows.split(',')))
  modes = [mode for mode in MODES if re.match(options.only, mode)]
  with command_line.usage_errors():
    if not modes:
      raise ValueError(f'--only={options.only}: no mode begins so; there are {list(MODES)}.')
  cases = [Case(mode, rows) for mode in modes for rows in sizes]
  if options.microbatch:
    cases += [Case(mode, sizes[-1], options.microbatch) for mode in modes if mode.startswith('all')]
  _stage('compile', cases, directory, options.jobs)
  if not options.compile_only:
    _stage('measure', _measured(cases, directory), directory, 1)
  _print(cases, directory)


def _measured(cases: Sequence[Case], directory: pathlib.Path) -> list[Case]:
  """The largest batch of every mode that there is room for here, whole and in pieces."""
  largest: dict[tuple[str, bool], Case] = {}
  for case in cases:
    told = _read(directory, case).get('compile')
    if told and (not told['limit'] or told['peak'] < ROOM * told['limit']):
      key = case.mode, bool(case.microbatch)
      if key not in largest or largest[key].rows < case.rows:
        largest[key] = case
  return list(largest.values())


def _stage(stage: str, cases: Sequence[Case], directory: pathlib.Path, jobs: int) -> None:
  """Has every case that lacks a stage go through it, in processes of their own."""
  environment = os.environ | {
    'JAX_COMPILATION_CACHE_DIR': str((directory / 'compiled').absolute()),
    'XLA_PYTHON_CLIENT_PREALLOCATE': 'false' if stage == 'compile' else 'true',
    'XLA_PYTHON_CLIENT_MEM_FRACTION': f'{ROOM}',
  }

  def run(case: Case) -> None:
    kept = _read(directory, case)
    if stage in kept or 'refused' in kept:
      return
    command = [sys.executable, '-m', 'benchmarks.modes', *sys.argv[1:]]
    command += [f'--case={json.dumps(dataclasses.asdict(case))}', f'--stage={stage}']
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
      reason = ended.stderr.strip().splitlines()[-1:] or [f'exit {ended.returncode}']
      _keep(directory / f'{case.name}.json', {'refused': f'{stage}: {reason[0][:300]}'})

  with (
    futures.ThreadPoolExecutor(jobs) as pool,
    progress.bar(stage.capitalize(), len(cases), 'cases') as advance,
  ):
    for done, _ in enumerate(futures.as_completed([pool.submit(run, case) for case in cases])):
      advance(done + 1)


def _one(
  case: Case, config: ml_collections.ConfigDict, stage: str, rounds: int, path: pathlib.Path
) -> None:
  """Compiles or measures one case, and keeps what was found."""
  with config.unlocked():
    for field, value in MODES[case.mode].items():
      section, _, name = field.partition('.')
      if isinstance(value, dict):
        config[section][name].update(value)
      else:
        config[section][name] = value
  config.actor.batch_size, config.actor.microbatch = case.rows, case.microbatch
  paper_robot.fill_in(config)
  config_lib.validate(config)
  experiment = experiment_lib.Experiment(config, jax.devices()[:1])
  measured = actor_benchmark.update_case(experiment)
  create = actor_benchmark.create(experiment)
  shapes = jax.eval_shape(create)
  init = jax.jit(create).lower().compile()
  start = time.perf_counter()
  program = measured.compile(shapes)
  seconds = time.perf_counter() - start
  if stage == 'compile':
    used = program.memory_analysis()
    found = {
      'device': jax.devices()[0].device_kind,
      'jax': jax.__version__,
      'limit': (jax.devices()[0].memory_stats() or {}).get('bytes_limit', 0) / ROOM,
      'state': _size(shapes),
      'peak': actor_benchmark.memory(program),
      'temporaries': used.temp_size_in_bytes,
      'encoder': _size(shapes.acting['params']['PaliGemma']['img']),
      # A loop over pieces is counted once.
      'flops': flops.count(measured.work, measured.learner, shapes, measured.batches)
      * (case.rows // (case.microbatch or case.rows)),
      'seconds': seconds,
    }
  else:
    state = init()
    batches = jax.device_put(measured.batches)
    times = []
    for _ in range(rounds + 1):
      begin = time.perf_counter()
      state, metrics = jax.block_until_ready(program(state, batches))
      times.append(time.perf_counter() - begin)
    memory = jax.devices()[0].memory_stats() or {}
    found = {
      'seconds': statistics.median(times[1:]),
      'loss': float(metrics['actor']['loss']),
      'peak': memory.get('peak_bytes_in_use'),
    }
  _keep(path, {stage: found})


def _size(tree: Any) -> int:
  """Bytes."""
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _read(directory: pathlib.Path, case: Case) -> dict[str, Any]:
  path = directory / f'{case.name}.json'
  return json.loads(path.read_text()) if path.exists() else {}


def _keep(path: pathlib.Path, found: dict[str, Any]) -> None:
  kept = json.loads(path.read_text()) if path.exists() else {}
  path.write_text(json.dumps(kept | found, indent=1) + '\n')


def _print(cases: Sequence[Case], directory: pathlib.Path) -> None:
  """The table; what was refused is said below it."""
  kept = {case: _read(directory, case) for case in cases}
  device = next((x['compile']['device'] for x in kept.values() if 'compile' in x), '')
  table = rich.table.Table(title=f'One update of the actor, {device}')
  columns = ('', 'batch', 'at a time', 'state GB', 'peak GB', 'measured', 'ms', 'rows/s', 'MFU')
  for column in columns + tuple(f'fits {size / 1e9:g} GB' for size in CARDS):
    table.add_column(column, justify='right' if column else 'left')
  for case, found in kept.items():
    cells = [case.mode, f'{case.rows}', f'{case.microbatch or case.rows}']
    if told := found.get('compile'):
      cells += [f'{told["state"] / 1e9:.1f}', f'{told["peak"] / 1e9:.1f}']
    else:
      cells += [''] * 2
    if ran := found.get('measure'):
      seconds, peak = ran['seconds'], actor_benchmark.PEAK.get(device)
      used = told['flops'] / seconds / peak if told and peak else 0
      cells += [f'{ran["peak"] / 1e9:.1f}' if ran['peak'] else '', f'{1e3 * seconds:.0f}']
      cells += [f'{case.rows / seconds:.1f}', f'{100 * used:.1f} %' if used else '']
    else:
      cells += [''] * 4
    smaller = [c for c in cases if c.mode == case.mode and not c.microbatch and c.rows < case.rows]
    if smaller and not case.microbatch and told and 'compile' in kept[smaller[0]]:
      line = functools.partial(_largest, case, told, smaller[0], kept[smaller[0]]['compile'])
      cells += [line(size) for size in CARDS]
    table.add_row(*cells)
  progress.CONSOLE.print(table)
  for case, found in kept.items():
    if 'refused' in found:
      progress.CONSOLE.print(f'{case.name}: {found["refused"]}', highlight=False)


def _largest(case: Case, told: dict, other: Case, less: dict, card: float) -> str:
  """The largest batch that a card has room for; 0 where one row does not fit."""
  slope = (told['peak'] - less['peak']) / (case.rows - other.rows)
  room = ROOM * card - less['encoder'] - less['peak']
  return f'{max(0, int(room / slope) + other.rows)}'


if __name__ == '__main__':
  command_line.run(main)
