"""`train --dry_run`: whether a run fits a machine that is not there, and how long it would take."""

from collections.abc import Sequence
import dataclasses
import math
import time

import ml_collections

from aloe_jax import progress
from aloe_jax.dry_run import advice
from aloe_jax.dry_run import estimate as estimate_lib
from aloe_jax.dry_run import programs as programs_lib
from aloe_jax.dry_run import robot
from aloe_jax.dry_run import topologies
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import requirements


@dataclasses.dataclass(frozen=True)
class Report:
  """Of all programs of a run on one machine.

  Attributes:
    topology: the machine.
    assumed: what the config leaves to data that are not read.
    estimates: of the programs, in the order of a run.
    advice: what would make them fit, where they do not.
  """

  topology: topologies.Topology
  assumed: list[str]
  estimates: list[estimate_lib.Estimate]
  advice: list[str]


def main(config: ml_collections.ConfigDict, name: str, *, verbose: bool) -> None:
  """Compiles what a run would compile and prints what it takes; writes and reads no data.

  Args:
    config: checked.
    name: of the topology.
    verbose: print where every leaf of the train state lies.

  Raises:
    ValueError: there is no such topology, its compiler is missing, or the config does not go with
      it; what to do.
  """
  topology = topologies.find(name)
  assumed = fill_in(config)
  devices = topologies.devices(topology)
  requirements.check_batches(config, topology.count, f'of {topology.name}')
  experiment = experiment_lib.Experiment(config, devices)
  _print(_head(topology, assumed))
  if verbose:
    _print(_shards(experiment))
  estimates = []
  programs = programs_lib.of(experiment, devices, apart=topology.chip is not None)
  for number, program in enumerate(programs):
    # Before it begins: the compiler of a large program says nothing for minutes.
    minutes = '' if number else '; a large program takes minutes'
    count = f'{number + 1} of {len(programs)}'
    _print(['', f'Compiling {program.name} for {topology.name}, {count}{minutes}.'])
    begun = time.monotonic()
    estimates.append(estimate_lib.of(program, topology))
    _print(_lines(estimates[-1], topology))
    _print([f'  (compiled in {time.monotonic() - begun:.0f} s)'])
  told = advice.find(estimates, config, topology.count)
  _print(_verdict(Report(topology, assumed, estimates, told)))


def fill_in(config: ml_collections.ConfigDict) -> list[str]:
  """Settles what data or files would tell; returns what was assumed, a line each."""
  assumed = robot.fill_in(config)
  if config.actor.tokenizer != 'words':
    config.actor.tokenizer = 'words'  # its file changes no shape
  return assumed


def _print(lines: Sequence[str]) -> None:
  for line in lines:
    progress.CONSOLE.print(line, highlight=False, markup=False, soft_wrap=True)


def _head(topology: topologies.Topology, assumed: list[str]) -> list[str]:
  chip = topology.chip.name if topology.chip else 'CPU device'
  lines = [f'Dry run on {topology.name}: {topology.count} x {chip}.']
  if topology.is_estimate:
    lines.append(
      'An estimate: compiled for CPU devices, whose compiler computes in float32 what is bfloat16 '
      'and fuses less. Temporaries, traffic and communication are rather less on the GPU.'
    )
  elif topology.shape:
    lines.append(f"By the TPU compiler, for {topology.shape}; speeds are the maker's figures.")
  else:
    lines.append('By the CPU compiler; nothing is said of its speed.')
  if assumed:
    lines.append(f'No data are read; assumed: {"; ".join(assumed)}.')
  return lines


def _shards(experiment: experiment_lib.Experiment) -> list[str]:
  lines = ['Where the train state lies (leaf, shape, part on each device, bytes):']
  for name, leaf in programs_lib.shards(experiment):
    part = leaf.sharding.shard_shape(leaf.shape)
    size = _size(math.prod(part) * leaf.dtype.itemsize)
    lines.append(f'  {name}: {leaf.dtype}{list(leaf.shape)} as {list(part)}, {size}')
  return lines


def _lines(found: estimate_lib.Estimate, topology: topologies.Topology) -> list[str]:
  kinds = ', '.join(f'{kind} {_size(size)}' for kind, size in found.held.items())
  of = f' of {_size(found.capacity)}: {"fits" if found.fits else "DOES NOT FIT"}'
  lines = [
    f'{found.name}, {found.rows} rows',
    f'  a device: {kinds}; at most {_size(found.peak)}{of if found.capacity else ""}',
  ]
  if found.refused:
    return [*lines, f'  the compiler: {found.refused}']
  kinds = ', '.join(f'{kind} {_size(size)}' for kind, size in found.exchanged.items())
  lines.append(
    f'  a device: {_flops(found.flops)}, {_size(found.traffic)} of memory traffic, '
    f'received from others: {kinds or "nothing"}'
  )
  if topology.chip:
    lines.append(
      f'  at least {_time(found.seconds)}: FLOPs {_time(found.compute)}, memory '
      f'{_time(found.memory)}, communication {_time(found.links)} ({100 * found.share:.0f} %)'
    )
  if found.unknown_loops:
    lines.append(f'  loops of unknown length, counted once: {", ".join(found.unknown_loops)}')
  return lines


def _verdict(report: Report) -> list[str]:
  wrong = [found for found in report.estimates if not found.fits]
  if not wrong:
    fullest = max(report.estimates, key=lambda found: found.peak)
    return [f'It fits: at most {_size(fullest.peak)} on a device, in {fullest.name}.']
  lines = [f'It does not fit: {", ".join(found.name for found in wrong)}.']
  lines += [f'  would fit with {line}' for line in report.advice]
  if not report.advice:
    lines.append(
      '  No smaller batch and no wider sharing would make it fit; take more devices, or train '
      'parts of it (actor.train, actor.lora).'
    )
  return lines


def _size(size: float) -> str:
  """Of bytes, in the unit that suits them, of a thousand each."""
  for unit, worth in (('GB', 1e9), ('MB', 1e6)):
    if size >= worth / 10:
      return f'{size / worth:.2f} {unit}'
  return f'{size / 1e3:.1f} kB' if size >= 100 else f'{size:.0f} bytes'


def _flops(number: float) -> str:
  return _of(number, {'TFLOP': 1e12, 'GFLOP': 1e9, 'MFLOP': 1e6, 'kFLOP': 1e3, 'FLOP': 1.0})


def _time(seconds: float) -> str:
  return _of(seconds, {'s': 1.0, 'ms': 1e-3, 'us': 1e-6, 'ns': 1e-9})


def _of(number: float, units: dict[str, float]) -> str:
  """A number in the largest unit that it has a tenth of; 0 without any."""
  for unit, worth in units.items():
    if number >= worth / 10:
      return f'{number / worth:.3g} {unit}'
  return f'{number:.3g}'
