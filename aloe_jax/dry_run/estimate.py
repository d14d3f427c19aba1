"""What one program takes of a device: compiled, and held against what the chip's maker says."""

import dataclasses
import re
from typing import Any

import jax

from aloe_jax.dry_run import costs as costs_lib
from aloe_jax.dry_run import hlo
from aloe_jax.dry_run import programs
from aloe_jax.dry_run import topologies

SIZE = re.compile(r'[Uu]sed ([\d.]+)([KMGT]) of')
UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Of one program on each device. FLOPs, traffic and seconds are of one update, or of one call.

  Attributes:
    name: of the program.
    rows: B.
    held: {kind: bytes} that lie there while it runs, `temporaries` among them.
    flops: of matrix products, what is computed twice included.
    traffic: bytes between the chip and its memory.
    exchanged: {kind of collective: bytes received from other devices}.
    compute, memory, links: seconds that these take, each at the maker's figure; 0 where none is
      known.
    capacity: bytes of the device's memory; 0 where that is not known.
    refused: what the compiler said instead of making the program; '' where it made it, and where it
      did not there are no FLOPs.
    unknown_loops: loops whose length the program's text does not tell, and that count once.
  """

  name: str
  rows: int
  held: dict[str, float]
  flops: float = 0.0
  traffic: float = 0.0
  exchanged: dict[str, float] = dataclasses.field(default_factory=dict)
  compute: float = 0.0
  memory: float = 0.0
  links: float = 0.0
  capacity: float = 0.0
  refused: str = ''
  unknown_loops: tuple[str, ...] = ()

  @property
  def peak(self) -> float:
    """Bytes on the device when it is fullest."""
    return sum(self.held.values())

  @property
  def fits(self) -> bool:
    """Whether that is no more than there is; always where that is not known."""
    return not self.refused and (not self.capacity or self.peak <= self.capacity)

  @property
  def seconds(self) -> float:
    """Of one update by the roofline, if communication overlaps with nothing; 0 if not known."""
    return max(self.compute, self.memory) + self.links

  @property
  def share(self) -> float:
    """Of those seconds, how much is communication."""
    return self.links / self.seconds if self.seconds else 0.0


def of(program: programs.Program, topology: topologies.Topology) -> Estimate:
  """Compiles a program for a machine, and adds up what it takes."""
  chip = topology.chip
  capacity = chip.memory if chip else 0.0
  lowered = program.lower()
  try:
    with topologies.quiet():
      compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return _refused(program, capacity, str(error))
  analysis: Any = compiled.memory_analysis()
  # The TPU compiler's peak has what is there at one time; of the CPU's there is only the sum.
  temporaries = float(analysis.temp_size_in_bytes)
  if topology.shape:
    temporaries = max(analysis.peak_memory_in_bytes - program.given, 0.0)
  costs = costs_lib.of(hlo.parse(compiled.as_text()))
  exchanged = {kind: size / program.updates for kind, size in costs.exchanged.items()}
  flops, traffic = costs.flops / program.updates, costs.bytes / program.updates
  return Estimate(
    name=program.name,
    rows=program.rows,
    held=program.held | {'temporaries': temporaries},
    flops=flops,
    traffic=traffic,
    exchanged=exchanged,
    compute=flops / chip.flops if chip else 0.0,
    memory=traffic / chip.bandwidth if chip else 0.0,
    links=sum(exchanged.values()) / topology.exchange if topology.exchange else 0.0,
    capacity=capacity,
    unknown_loops=costs.unknown_loops,
  )


def _refused(program: programs.Program, capacity: float, message: str) -> Estimate:
  """Of a program that the compiler finds no room for; it says how much it would have taken."""
  told = SIZE.search(message)
  temporaries = 0.0
  if told:
    temporaries = float(told[1]) * UNITS[told[2]] - program.given
  first = next(iter(message.splitlines()), '')
  return Estimate(
    name=program.name,
    rows=program.rows,
    held=program.held | {'temporaries': max(temporaries, 0.0)},
    capacity=capacity,
    refused=first,
  )
