"""Reading a compiled program's text: computations, instructions, shapes, and how often each runs.

The compiler's own totals count the body of a loop once; here every instruction is given the number
of times that it runs, from the lengths of the loops around it.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import functools
import math
import re

# Bytes of a number; of types that are not here, such as tokens, none.
SIZES = {
  'pred': 1, 's2': 1, 'u2': 1, 's4': 1, 'u4': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 's32': 4,
  'u32': 4, 's64': 8, 'u64': 8, 'bf16': 2, 'f16': 2, 'f32': 4, 'f64': 8, 'c64': 8, 'c128': 16,
  'f8e4m3fn': 1, 'f8e5m2': 1,
}  # fmt: skip
_SHAPE = re.compile(r'([a-z]+[0-9a-z]*)\[([0-9,]*)\](\{[^}]*\})?')
_HEADER = re.compile(r'(ENTRY )?%?([\w.-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'\s+(ROOT )?%?([\w.-]+) = (.*)$')
_CALLS = re.compile(r'(?:calls|to_apply|true_computation|false_computation)=%?([\w.-]+)')
_CALL_LISTS = re.compile(r'(?:branch_computations|called_computations)=\{([^}]*)\}')


@dataclasses.dataclass(frozen=True)
class Shape:
  """An array.

  Attributes:
    kind: of its numbers, as `bf16`.
    sizes: of its axes.
    is_far: whether it lies in the device's large memory, and not in a fast one on the chip.
  """

  kind: str
  sizes: tuple[int, ...]
  is_far: bool = True

  @property
  def count(self) -> int:
    """Numbers."""
    return math.prod(self.sizes)

  @property
  def bytes(self) -> int:
    """Bytes, without what the layout pads."""
    return self.count * SIZES.get(self.kind, 0)

  def __str__(self) -> str:
    return f'{self.kind}[{",".join(map(str, self.sizes))}]'


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line.

  Attributes:
    name: unique in the program.
    shapes: of the result; several for a tuple.
    opcode: such as `all-gather`.
    operands: names; of a constant or parameter what stands in its place.
    attributes: what follows the operands.
    is_root: whether it is what its computation returns.
  """

  name: str
  shapes: tuple[Shape, ...]
  opcode: str
  operands: tuple[str, ...]
  attributes: str
  is_root: bool


Computation = Mapping[str, Instruction]  # by name, in order


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program.

  Attributes:
    computations: by name.
    entry: name of the one that is run.
  """

  computations: Mapping[str, Computation]
  entry: str

  @functools.cached_property
  def runs(self) -> dict[str, float]:
    """How often each computation runs; one that is not here is never called."""
    counts: dict[str, float] = {}
    pending = [(self.entry, 1.0)]
    while pending:
      name, times = pending.pop()
      counts[name] = counts.get(name, 0.0) + times
      for instruction in self.computations[name].values():
        factor = self.trips(name, instruction) or 1 if instruction.opcode == 'while' else 1
        pending.extend((called, times * factor) for called in self.called(instruction))
    return counts

  @functools.cached_property
  def fused(self) -> frozenset[str]:
    """Computations that run inside one instruction; what passes in them stays on the chip."""
    found = set()
    pending = [
      called
      for computation in self.computations.values()
      for instruction in computation.values()
      if instruction.opcode not in ('while', 'call', 'conditional', 'async-start')
      for called in self.called(instruction)
    ]
    while pending:
      name = pending.pop()
      if name not in found:
        found.add(name)
        pending.extend(c for i in self.computations[name].values() for c in self.called(i))
    return frozenset(found)

  def called(self, instruction: Instruction) -> list[str]:
    """Computations that an instruction runs, the body of a loop among them, not its condition."""
    if instruction.opcode == 'while':
      return re.findall(r'body=%?([\w.-]+)', instruction.attributes)
    names = _CALLS.findall(instruction.attributes)
    for listed in _CALL_LISTS.findall(instruction.attributes):
      names += [name.strip().lstrip('%') for name in listed.split(',') if name.strip()]
    return [name for name in names if name in self.computations]

  def trips(self, computation: str, loop: Instruction) -> int | None:
    """How often a loop runs its body; None where the text does not tell."""
    if known := re.search(r'"?known_trip_count"?:\{"?n"?:"?(\d+)', loop.attributes):
      return int(known[1])
    named = re.search(r'condition=%?([\w.-]+)', loop.attributes)
    condition = self.computations.get(named[1], {}) if named else {}
    root = next((i for i in condition.values() if i.is_root), None)
    if root is None or root.opcode != 'compare' or 'direction=LT' not in root.attributes:
      return None
    index = _element(condition, root.operands[0])
    limit = _constant(condition, root.operands[1])
    carried = self.computations[computation].get(loop.operands[0])
    begun = carried.operands if carried is not None and carried.opcode == 'tuple' else ()
    here = self.computations[computation]
    if limit is None:
      at = _element(condition, root.operands[1])
      limit = _constant(here, begun[at]) if at is not None and at < len(begun) else None
    if limit is None:
      return None
    first = _constant(here, begun[index]) if index is not None and index < len(begun) else 0
    step = self._step(loop, index)
    return max(-(-(limit - (first or 0)) // step), 0)

  def _step(self, loop: Instruction, index: int | None) -> int:
    """What a loop adds to its counter at a time: more than 1 where its body was unrolled."""
    body = self.computations[self.called(loop)[0]]
    root = next(i for i in body.values() if i.is_root)
    if index is None or root.opcode != 'tuple':
      return 1
    added = body.get(root.operands[index])
    while added is not None and added.opcode in ('copy', 'bitcast'):
      added = body.get(added.operands[0])
    if added is None or added.opcode != 'add':
      return 1
    return next((n for n in (_constant(body, x) for x in added.operands) if n), 1)

  def unknown_loops(self) -> list[str]:
    """Names of loops whose length the text does not tell; what is in them is counted once."""
    return [
      instruction.name
      for name in self.runs
      for instruction in self.computations[name].values()
      if instruction.opcode == 'while' and self.trips(name, instruction) is None
    ]

  def instructions(self) -> Iterator[tuple[str, Instruction, float]]:
    """(computation, instruction, how often it runs) of all that run."""
    for name, times in self.runs.items():
      for instruction in self.computations[name].values():
        yield name, instruction, times


def parse(text: str) -> Program:
  """Reads `jax.stages.Compiled.as_text()`.

  Raises:
    ValueError: there is no program in the text.
  """
  computations: dict[str, dict[str, Instruction]] = {}
  entry, current = '', None
  for line in text.splitlines():
    if current is None:
      if header := _HEADER.match(line):
        current = computations.setdefault(header[2], {})
        entry = header[2] if header[1] else entry
    elif line.startswith('}'):
      current = None
    elif found := _INSTRUCTION.match(line):
      current[found[2]] = _instruction(found[2], found[3], is_root=bool(found[1]))
  if not entry:
    raise ValueError('the text has no ENTRY computation; expected that of a compiled program.')
  return Program(computations, entry)


def _instruction(name: str, text: str, *, is_root: bool) -> Instruction:
  text = re.sub(r'/\*.*?\*/', '', text)
  end = _closing(text, 0) + 1 if text.startswith('(') else text.index(' ')
  shapes = tuple(
    Shape(kind, tuple(int(n) for n in sizes.split(',') if n), 'S(1)' not in (layout or ''))
    for kind, sizes, layout in _SHAPE.findall(_flat(text[:end]))
  )
  rest = text[end:].lstrip()
  opened = rest.index('(')
  closed = _closing(rest, opened)
  inside = rest[opened + 1 : closed]
  named = re.findall(r'%([\w.-]+)', inside)
  operands = tuple(named) if named else (inside,) if inside else ()
  return Instruction(name, shapes, rest[:opened], operands, rest[closed + 1 :], is_root)


def _flat(text: str) -> str:
  """Shapes whose layouts hold no brackets but their own, so that one expression reads them."""
  return text.replace('{}', '')


def _closing(text: str, opened: int) -> int:
  depth = 0
  for at in range(opened, len(text)):
    depth += (text[at] == '(') - (text[at] == ')')
    if depth == 0:
      return at
  raise ValueError(f'a bracket is not closed in {text[:80]!r}.')


def _constant(computation: Computation, name: str) -> int | None:
  found = computation.get(name)
  while found is not None and found.opcode in ('copy', 'bitcast', 'convert'):
    found = computation.get(found.operands[0])
  if found is None or found.opcode != 'constant' or not re.fullmatch(r'-?\d+', found.operands[0]):
    return None
  return int(found.operands[0])


def _element(computation: Computation, name: str) -> int | None:
  """Which element of the loop's tuple an instruction of its condition reads."""
  found = computation.get(name)
  if found is None or found.opcode != 'get-tuple-element':
    return None
  told = re.search(r'index=(\d+)', found.attributes)
  return int(told[1]) if told else None
