"""Files of the safetensors format: tensors by name, written one at a time and read where they lie.

The format is a header's length (8 bytes), the header (JSON: of each name a type, a shape, and where
its bytes are behind the header) and the bytes. Its own package has no bfloat16 for NumPy, and wants
all tensors in memory to write one file.
"""

from collections.abc import Iterable
import dataclasses
import json
import math
import pathlib
from typing import Any

import ml_dtypes
import numpy as np

from aloe_jax import files

_TYPES = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
_LONGEST = 100_000_000  # bytes of a header; what says more is no header


@dataclasses.dataclass(frozen=True)
class Tensor:
  """One of a file.

  Attributes:
    shape: of the tensor.
    dtype: as stored.
    start: where its bytes begin in the file.
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  start: int

  @property
  def end(self) -> int:
    return self.start + math.prod(self.shape) * self.dtype.itemsize


def header(path: pathlib.Path) -> tuple[dict[str, Tensor], dict[str, str]]:
  """What a file holds, from its header alone, and the text that was kept beside it.

  Raises:
    ValueError: it is no such file, was cut short, holds a type that no network is stored in, or its
      tensors do not lie one behind the other.
  """
  size = path.stat().st_size
  with path.open('rb') as file:
    length = int.from_bytes(file.read(8), 'little')
    if size < 8 or length > _LONGEST:
      raise ValueError(f'{path}: found no header of safetensors; copy the file again.')
    text = file.read(length)
  begin = 8 + length
  try:
    if len(text) < length:
      raise ValueError(f'its header has {len(text)} bytes, expected {length}')
    content = files.parse_json(text, each_once=True)
    if not isinstance(content, dict):
      raise ValueError('its header is no object of JSON')
    kept = content.pop('__metadata__', {})
    found = {name: _tensor(name, entry, begin) for name, entry in content.items()}
  except ValueError as error:
    raise ValueError(
      f'{path} was cut short or is no safetensors file; copy it again. {error}.'
    ) from error
  end = max((tensor.end for tensor in found.values()), default=begin)
  if size < end:
    beyond = [name for name, tensor in found.items() if tensor.end > size]
    raise ValueError(
      f'{path} was cut short: it has {size} bytes, expected {end}; copy it again. '
      f'{_named(beyond)} would lie beyond its end.'
    )
  _check_places(path, found, begin, size)
  return found, kept if isinstance(kept, dict) else {}


def _check_places(path: pathlib.Path, found: dict[str, Tensor], begin: int, size: int) -> None:
  """Each byte is one tensor's: else a header that lies makes weights of others' numbers.

  Raises:
    ValueError: naming those that share bytes, or the bytes that are nobody's.
  """
  placed = sorted(
    (tensor.start, tensor.end, name) for name, tensor in found.items() if tensor.end > tensor.start
  )
  before, reached = '', begin
  for start, end, name in placed:
    if start < reached:
      raise ValueError(
        f'{path}: {before} and {name} share bytes, as data_offsets say: {name} begins at '
        f'{start - begin}, {before} ends at {reached - begin}; expected one behind the other. Copy '
        'the file again.'
      )
    if start > reached:
      where = f'between {before} and {name}' if before else f'before {name}'
      raise ValueError(
        f'{path}: bytes {reached - begin} to {start - begin} {where} are of no tensor, as '
        'data_offsets say; expected one behind the other. Copy the file again.'
      )
    before, reached = name, end
  if reached < size:
    raise ValueError(
      f'{path}: {size - reached} bytes behind {before or "the header"} are of no tensor, as '
      'data_offsets say. Copy the file again.'
    )


def _named(names: list[str]) -> str:
  more = f' and {len(names) - 3} more' if len(names) > 3 else ''
  return f'{", ".join(names[:3])}{more}'


def _tensor(name: str, entry: Any, begin: int) -> Tensor:
  try:
    kind, shape, (start, end) = entry['dtype'], tuple(entry['shape']), entry['data_offsets']
    numbers = (*shape, start, end)
    is_whole = isinstance(kind, str) and all(type(n) is int and n >= 0 for n in numbers)
  except (KeyError, TypeError, ValueError):
    is_whole = False
  if not is_whole:
    raise ValueError(f'{name}: the header does not say its type, shape and place')
  if kind not in _TYPES:
    raise ValueError(f'{name}: found numbers of type {kind}, expected one of {", ".join(_TYPES)}')
  tensor = Tensor(shape, _TYPES[kind], begin + start)
  if tensor.end != begin + end:
    raise ValueError(f'{name}: {end - start} bytes are not what shape {list(shape)} takes')
  return tensor


def read(path: pathlib.Path, tensor: Tensor) -> np.ndarray:
  """A tensor of a file, left on the disk until it is looked at."""
  if not math.prod(tensor.shape):
    return np.zeros(tensor.shape, tensor.dtype)
  return np.memmap(path, tensor.dtype, 'r', tensor.start, tensor.shape)


def write(
  path: pathlib.Path,
  shapes: dict[str, tuple[tuple[int, ...], np.dtype]],
  tensors: Iterable[tuple[str, np.ndarray]],
  kept: dict[str, str],
) -> None:
  """Writes a file with one tensor in memory at a time.

  Args:
    path: of the file.
    shapes: shape and type of each, in the order in which they come. Larger types have to come
      first, so that every number lies at a multiple of its size.
    tensors: their names and numbers.
    kept: text to keep beside them.
  """
  kinds = {dtype: kind for kind, dtype in _TYPES.items()}
  entries: dict[str, Any] = {'__metadata__': kept}
  start = 0
  for name, (shape, dtype) in shapes.items():
    end = start + math.prod(shape) * dtype.itemsize
    entries[name] = {'dtype': kinds[dtype], 'shape': shape, 'data_offsets': [start, end]}
    start = end
  text = json.dumps(entries).encode()
  text += b' ' * (-len(text) % 8)
  with path.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for (expected, (shape, dtype)), (name, numbers) in zip(shapes.items(), tensors, strict=True):
      if (name, numbers.shape, numbers.dtype) != (expected, shape, dtype):
        raise ValueError(
          f'{name}: found {numbers.dtype}{list(numbers.shape)}, expected {expected} of '
          f'{dtype}{list(shape)} to come next.'
        )
      file.write(np.ascontiguousarray(numbers).view(np.uint8).data)
