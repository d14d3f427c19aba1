"""Machines that a run can be thought through for, and what their makers say of the chips.

Names of TPU slices are Google's, which count chips for v5e and v6e, and cores, two a chip, for v4
and v5p.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import difflib
import importlib.util
import os
import re
import sys
import tempfile

import jax


@dataclasses.dataclass(frozen=True)
class Chip:
  """What a maker says of one device, as JAX counts devices.

  Attributes:
    name: of it.
    flops: dense bfloat16 FLOP/s.
    memory: bytes of its large memory.
    bandwidth: bytes/s between that memory and the chip.
    link: bytes/s, one way, of one link to another chip.
  """

  name: str
  flops: float
  memory: float
  bandwidth: float
  link: float


# Google's "TPU v5e", "TPU v5p", "TPU v6e", "TPU v4" (cloud.google.com/tpu/docs) and NVIDIA's "H100
# Tensor Core GPU" data sheet (SXM). Links: v5e 1600 Gbps over 4, v6e 3584 over 4, v5p 4800 over 6,
# v4 2400 over 6; NVLink 900 GB/s both ways.
V5E = Chip('TPU v5e', 197e12, 16e9, 819e9, 50e9)
V5P = Chip('TPU v5p', 459e12, 95e9, 2765e9, 100e9)
V6E = Chip('TPU v6e', 918e12, 32e9, 1640e9, 112e9)
V4 = Chip('TPU v4', 275e12, 32e9, 1228e9, 50e9)
H100 = Chip('NVIDIA H100 SXM', 989e12, 80e9, 3350e9, 450e9)
# Eight are in a machine (NVIDIA's "DGX H100"); to others each has a network card of 400 Gbps.
H100_APART = dataclasses.replace(H100, link=50e9)
_IN_A_MACHINE = 8
_MOST = 1024  # devices of a topology without a fixed size
_ANY_SIZE = re.compile(r'(cpu:|h100x)([1-9]\d{0,3})')
_ANY_NAMES = f'cpu:N and h100xN for N from 1 to {_MOST}'


@dataclasses.dataclass(frozen=True)
class Topology:
  """Devices, and how they are joined.

  Attributes:
    name: as `--topology` takes it.
    count: devices.
    chip: what each is; None where nothing is said of its speed.
    links: to neighbours, of the device that has fewest: slices this small are no rings.
    shape: that the TPU compiler knows it by; '' where it is estimated on CPU devices.
    cores: how it is told that both cores of a chip are one device, as they are to JAX; '' where
      that goes without saying.
  """

  name: str
  count: int
  chip: Chip | None = None
  links: int = 0
  shape: str = ''
  cores: str = ''

  @property
  def is_estimate(self) -> bool:
    """Whether the devices' own compiler is not asked."""
    return self.chip is not None and not self.shape

  @property
  def exchange(self) -> float:
    """Bytes/s at which a device can receive from others; 0 where that is not known."""
    return self.chip.link * self.links if self.chip else 0.0


TOPOLOGIES = {
  topology.name: topology
  for topology in (
    Topology('cpu:8', 8),
    Topology('h100x1', 1, H100, 1),
    Topology('h100x8', 8, H100, 1),
    Topology('v5e-16', 16, V5E, 2, 'v5e:4x4'),
    Topology('v5p-8', 4, V5P, 2, 'v5p:2x2x1'),
    Topology('v5p-16', 8, V5P, 3, 'v5p:2x2x2'),
    Topology('v4-32', 16, V4, 3, 'v4:2x2x4', 'megacore'),
    Topology('v6e-16', 16, V6E, 2, 'v6e:4x4'),
  )
}


def find(name: str | None) -> Topology:
  """The topology of some name, such as 'v5e-16' or 'cpu:3'.

  Raises:
    ValueError: none is given, or there is none; lists all, and names the nearest.
  """
  if not name:
    raise ValueError(f'--topology is missing; --dry_run needs one of {_names()}.')
  if name in TOPOLOGIES:
    return TOPOLOGIES[name]
  match = _ANY_SIZE.fullmatch(name)
  if match and int(match[2]) <= _MOST:
    count = int(match[2])
    if match[1] == 'cpu:':
      return Topology(name, count)
    return Topology(name, count, H100 if count <= _IN_A_MACHINE else H100_APART, 1)
  close = difflib.get_close_matches(name, TOPOLOGIES, n=1, cutoff=0.4)
  hint = f' Did you mean {close[0]}?' if close else ''
  raise ValueError(f'--topology is {name!r}, which is not known; expected one of {_names()}.{hint}')


def _names() -> str:
  return f'{", ".join(TOPOLOGIES)}, or {_ANY_NAMES}'


def devices(topology: Topology) -> list[jax.Device]:
  """Devices to compile for; the process has none of its own yet, and gets CPUs.

  Raises:
    ValueError: the TPU compiler is not installed.
  """
  jax.config.update('jax_platforms', 'cpu')
  if not topology.shape:
    jax.config.update('jax_num_cpu_devices', topology.count)
    return jax.devices()
  if importlib.util.find_spec('libtpu') is None:
    raise ValueError(
      f'--topology={topology.name} asks the TPU compiler, which is not installed. It needs no TPU: '
      "pip install -c constraints.txt -e '.[tpu]'; or try --topology=cpu:8, without it."
    )
  os.environ['TPU_SKIP_MDS_QUERY'] = '1'  # there is no TPU whose machine could be asked about it
  os.environ['ALLOW_MULTIPLE_LIBTPU_LOAD'] = '1'  # nor one that two dry runs could both want
  from jax.experimental import topologies

  cores = {'chip_config_name': topology.cores} if topology.cores else {}
  with quiet():
    described = topologies.get_topology_desc(topology.shape, 'tpu', **cores)
  return list(described.devices)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keeps what the TPU compiler writes past Python, about a TPU that it misses, off the screen."""
  sys.stderr.flush()
  kept = os.dup(2)
  with tempfile.TemporaryFile() as hidden:
    os.dup2(hidden.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(kept, 2)
      os.close(kept)
