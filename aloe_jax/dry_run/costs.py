"""What one call of a compiled program costs a device: FLOPs, bytes of its memory, collectives."""

from collections.abc import Sequence
import dataclasses
import math
import re

from aloe_jax.dry_run import hlo

COLLECTIVES = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute')
# What names or reorders memory and moves none.
_FREE = (
  'after-all', 'bitcast', 'call', 'conditional', 'constant', 'get-tuple-element', 'opt-barrier',
  'parameter', 'partition-id', 'replica-id', 'tuple', 'while',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Collective:
  """One instruction by which devices exchange numbers.

  Attributes:
    kind: one of `COLLECTIVES`.
    operands: arrays that a device gives.
    results: arrays that it has afterwards.
    group: devices that take part.
    times: how often it runs.
  """

  kind: str
  operands: tuple[hlo.Shape, ...]
  results: tuple[hlo.Shape, ...]
  group: int
  times: float

  @property
  def bytes(self) -> float:
    """Bytes that a device receives, all times together, where nothing is sent twice."""
    given, others = sum(x.bytes for x in self.operands), self.group - 1
    share = {
      'all-gather': given * others,
      'all-reduce': 2 * given * others / self.group,
      'reduce-scatter': given * others / self.group,
      'all-to-all': given * others / self.group,
      'collective-permute': given,
    }
    return share[self.kind] * self.times


@dataclasses.dataclass(frozen=True)
class Costs:
  """Of one call on one device.

  Attributes:
    flops: of matrix products and convolutions.
    bytes: read from and written to the device's large memory.
    collectives: in the order of the text.
    unknown_loops: names of loops whose length is not known, and that are counted once.
  """

  flops: float
  bytes: float
  collectives: tuple[Collective, ...]
  unknown_loops: tuple[str, ...]

  @property
  def exchanged(self) -> dict[str, float]:
    """{kind of collective: bytes that a device receives}."""
    total: dict[str, float] = {}
    for found in self.collectives:
      total[found.kind] = total.get(found.kind, 0.0) + found.bytes
    return total


def of(program: hlo.Program) -> Costs:
  """Adds up all that runs."""
  flops = moved = 0.0
  for name, instruction, times in program.instructions():
    computation = program.computations[name]
    flops += times * _flops(computation, instruction)
    if name not in program.fused:
      moved += times * _moved(program, computation, instruction)
  return Costs(flops, moved, collectives(program), tuple(program.unknown_loops()))


def collectives(program: hlo.Program) -> tuple[Collective, ...]:
  """All that run.

  The TPU compiler lays one collective into several fusions, in loops too, that overlap it with
  other work. They share its channel, of which the one that runs least starts or ends it.
  """
  found: dict[str, Collective] = {}
  for name, instruction, times in program.instructions():
    kind = instruction.opcode.removesuffix('-start')
    if kind not in COLLECTIVES:
      continue
    computation = program.computations[name]
    if kind == 'all-reduce' and 'all-reduce-scatter' in name:
      kind = 'reduce-scatter'  # each device keeps its part, and the compiler sends no more
    operands = tuple(s for x in instruction.operands for s in computation[x].shapes)
    results = instruction.shapes
    if instruction.opcode.endswith('-start') and kind in ('all-gather', 'collective-permute'):
      results = results[len(operands) : 2 * len(operands)]  # beside what was given
    told = re.search(r'channel_id=(\d+)', instruction.attributes)
    channel = told[1] if told else instruction.name
    if channel not in found or times < found[channel].times:
      group = _group(instruction.attributes)
      found[channel] = Collective(kind, operands, results, group, times)
  return tuple(found.values())


def _group(attributes: str) -> int:
  """Devices of a group, from any of the ways in which the text lists groups."""
  if told := re.search(r'replica_groups=mesh\[(.*?)\] ?\{(.*?)\}', attributes):
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", told[1]))
    axes = re.findall(r"'([^']+)'", told[2])
    return math.prod(int(sizes[axis]) for axis in axes)
  if told := re.search(r'replica_groups=\[(\d+),(\d+)\]', attributes):
    return int(told[2])
  if told := re.search(r'replica_groups=\{\{([\d,]+)\}', attributes):
    return told[1].count(',') + 1
  return 2  # of a permutation, which goes from one device to another


def _flops(computation: hlo.Computation, instruction: hlo.Instruction) -> float:
  if instruction.opcode == 'dot':
    left = computation[instruction.operands[0]].shapes[0]
    told = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', instruction.attributes)
    summed = [int(n) for n in told[1].split(',') if n] if told else []
    return 2.0 * instruction.shapes[0].count * math.prod(left.sizes[axis] for axis in summed)
  if instruction.opcode == 'convolution':
    return _convolution_flops(computation, instruction)
  return 0.0


def _convolution_flops(computation: hlo.Computation, instruction: hlo.Instruction) -> float:
  """Products with numbers that are there, as padding costs nothing.

  The TPU compiler writes matrix products as convolutions, whose batches are windows over padding.
  """
  told = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', instruction.attributes)
  if told is None:
    return 0.0
  image, kernel, result = told.groups()
  left, right = (computation[name].shapes[0] for name in instruction.operands[:2])
  out = instruction.shapes[0]
  window = re.search(r'window=\{([^}]*)\}', instruction.attributes)
  given = dict(re.findall(r'(\w+)=([\dx_-]+)', window[1])) if window else {}
  axes = sorted(c for c in image if c.isdigit())

  def setting(name: str, axis: int, default: str) -> str:
    return given[name].split('x')[axis] if name in given else default

  meetings = 1
  for axis, label in enumerate(axes):
    low = int(setting('pad', axis, '0_0').split('_')[0])
    meetings *= _meetings(
      size=left.sizes[image.index(label)],
      window=right.sizes[kernel.index(label)],
      places=out.sizes[result.index(label)],
      stride=int(setting('stride', axis, '1')),
      low=low,
      spread=int(setting('lhs_dilate', axis, '1')),
      reach=int(setting('rhs_dilate', axis, '1')),
    )
  batch = out.sizes[result.index('b')]
  features = out.sizes[result.index('f')]
  if groups := re.search(r'batch_group_count=(\d+)', instruction.attributes):
    batch = left.sizes[image.index('b')] // int(groups[1])
  return 2.0 * batch * features * right.sizes[kernel.index('i')] * meetings


def _meetings(
  *, size: int, window: int, places: int, stride: int, low: int, spread: int, reach: int
) -> int:
  """Pairs (place of the window, number in it) along an axis that meet a number of the input."""
  count = 0
  for place in range(places):
    for offset in range(window):
      at = place * stride - low + offset * reach
      count += at >= 0 and at % spread == 0 and at // spread < size
  return count


def _moved(
  program: hlo.Program, computation: hlo.Computation, instruction: hlo.Instruction
) -> float:
  """Bytes of the large memory that an instruction reads and writes."""
  opcode = instruction.opcode
  if opcode in _FREE or opcode.endswith('-done'):
    return 0.0
  given = [computation[name] for name in instruction.operands if name in computation]
  if opcode in ('dynamic-slice', 'slice', 'gather'):
    return 2.0 * _far(instruction.shapes)
  if opcode == 'dynamic-update-slice':
    return 2.0 * _far(given[1].shapes)
  if opcode == 'fusion' and (called := program.called(instruction)):
    inner = program.computations[called[0]]
    read = sum(_read(program, inner, number, x.shapes) for number, x in enumerate(given))
    return read + _written(program, inner, instruction.shapes)
  return sum(_far(x.shapes) for x in given) + _far(instruction.shapes)


def _far(shapes: Sequence[hlo.Shape]) -> float:
  return float(sum(shape.bytes for shape in shapes if shape.is_far))


def _read(
  program: hlo.Program, inner: hlo.Computation, number: int, shapes: Sequence[hlo.Shape]
) -> float:
  """Bytes that a fusion reads of one operand: of what it slices, the slices alone."""
  parameter = next(
    (i for i in inner.values() if i.opcode == 'parameter' and i.operands == (str(number),)), None
  )
  whole = _far(shapes)
  if parameter is None or not whole:
    return whole
  names, read = [parameter.name], 0.0
  while names:
    name = names.pop()
    for user in inner.values():
      if name not in user.operands:
        continue
      if user.opcode in ('bitcast', 'reshape'):
        names.append(user.name)
      elif user.opcode in ('dynamic-slice', 'slice', 'gather') and user.operands[0] == name:
        read += float(sum(shape.bytes for shape in user.shapes))
      elif user.opcode == 'fusion' and (called := program.called(user)):
        within = program.computations[called[0]]
        places = [place for place, given in enumerate(user.operands) if given == name]
        read += sum(_read(program, within, place, shapes) for place in places)
      elif not (user.opcode == 'dynamic-update-slice' and user.operands[0] == name):
        return whole  # all of it is looked at
  return min(read, whole)


def _written(program: hlo.Program, inner: hlo.Computation, shapes: Sequence[hlo.Shape]) -> float:
  """Bytes that a fusion writes: of an array that is updated in place, the update alone."""
  root = next(i for i in inner.values() if i.is_root)
  parts = [inner[name] for name in root.operands] if root.opcode == 'tuple' else [root]
  if len(parts) != len(shapes):
    return _far(shapes)
  written = 0.0
  for part, shape in zip(parts, shapes, strict=True):
    while part.opcode in ('bitcast', 'reshape', 'copy') and part.operands[0] in inner:
      part = inner[part.operands[0]]
    if part.opcode == 'dynamic-update-slice' and shape.is_far:
      written += float(sum(x.bytes for x in inner[part.operands[1]].shapes))
    elif part.opcode == 'fusion' and len(part.shapes) == 1 and (called := program.called(part)):
      written += _written(program, program.computations[called[0]], [shape])
    else:
      written += _far([shape])
  return written
