"""The bytes between a robot and a policy server: MessagePack with NumPy arrays, as openpi has them.

An array is a map of four byte-string keys: `__ndarray__` true, `data` its bytes in C order, `dtype`
NumPy's own name with the byte order, such as '<f4', and `shape`. A NumPy scalar is a map of
`__npgeneric__` true, `data` the Python value and `dtype`. Maps of the package msgpack-numpy are
read as well. Nothing that is read can run code: there is no pickle, and arrays of objects are
refused on both sides.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

MAX_DIMENSIONS = 8
MAX_ENTRIES = 10_000  # of one list or map; a byte of a message may become seventy of memory
MAX_TOTAL = 20_000  # of all lists and maps of a message
_KINDS = 'biufmMSU'  # of NumPy types that are plain numbers, times or texts


class WireError(ValueError):
  """Bytes that are no message, or something that no message can hold."""


def pack(message: Any) -> bytes:
  """Bytes of a message of maps, lists, texts, numbers and arrays.

  Raises:
    WireError: naming the type that cannot be sent.
  """
  try:
    return msgpack.packb(message, default=_encode)
  except WireError:
    raise
  except (TypeError, ValueError, OverflowError, RecursionError) as error:
    raise WireError(f'cannot be sent: {error}') from None


def unpack(data: bytes) -> Any:
  """The message that bytes hold; its arrays are read-only views of them.

  Raises:
    WireError: saying what is wrong with the bytes.
  """
  left = MAX_TOTAL

  def counted(found: Any) -> Any:
    nonlocal left
    left -= 1 + len(found)
    if left < 0:
      raise WireError(f'more than {MAX_TOTAL} entries of lists and maps; send numbers as arrays')
    return found

  try:
    return msgpack.unpackb(
      data,
      object_hook=lambda found: _decode(counted(found)),
      list_hook=counted,
      ext_hook=_refuse_extension,
      max_array_len=MAX_ENTRIES,
      max_map_len=MAX_ENTRIES,
    )
  except WireError:
    raise
  except (RecursionError, msgpack.StackError):
    raise WireError('not a message of MessagePack: nested too deep') from None
  except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
    told = str(error) or type(error).__name__
    raise WireError(f'not a message of MessagePack: {told}') from None


def _encode(value: Any) -> Any:
  """What stands for a value that MessagePack does not know."""
  if not isinstance(value, (np.ndarray, np.generic)):
    raise WireError(f'cannot be sent: found {type(value).__name__}, expected numbers or texts')
  if value.dtype.kind not in _KINDS:
    raise WireError(f'Unsupported dtype: {value.dtype}')
  if isinstance(value, np.generic):
    return {b'__npgeneric__': True, b'data': value.item(), b'dtype': value.dtype.str}
  return {
    b'__ndarray__': True,
    b'data': _view(value),
    b'dtype': value.dtype.str,
    b'shape': value.shape,
  }


def _view(value: np.ndarray) -> Any:
  """The bytes of an array in C order, where they lie: a copy of images costs milliseconds."""
  if not value.dtype.itemsize:
    return value.tobytes()
  return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data


def _decode(found: dict) -> Any:
  """The array or scalar that a map stands for, or the map."""
  if b'__ndarray__' in found:
    return _array(found.get(b'data'), found.get(b'dtype'), found.get(b'shape'))
  if b'__npgeneric__' in found:
    return _scalar(found.get(b'data'), found.get(b'dtype'))
  if b'nd' in found:  # msgpack-numpy
    if found.get(b'kind') not in (None, b'', ''):
      raise WireError(f'an array of kind {found[b"kind"]!r}; expected plain numbers')
    kind = found.get(b'type')
    shape = found.get(b'shape') if found[b'nd'] else []
    array = _array(found.get(b'data'), kind, shape)
    return array if found[b'nd'] else array[()]
  return found


def _array(data: Any, name: Any, shape: Any) -> np.ndarray:
  kind = _type(name)
  if not isinstance(data, bytes):
    raise WireError(f'the data of an array are {type(data).__name__}, expected bytes')
  whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
  if not whole or len(shape) > MAX_DIMENSIONS:
    raise WireError(
      f'the shape of an array is {str(shape)[:60]}, expected up to {MAX_DIMENSIONS} whole numbers'
    )
  expected = math.prod(shape) * kind.itemsize
  if len(data) != expected or not kind.itemsize:
    raise WireError(
      f'an array of shape {shape} and type {kind.str} has {len(data)} bytes, expected {expected}'
    )
  try:
    return np.ndarray(shape, kind, data)
  except ValueError as error:  # an empty one with other axes that are too long
    raise WireError(f'an array of shape {shape}: {error}') from None


def _scalar(data: Any, name: Any) -> np.generic:
  kind = _type(name)
  if not isinstance(data, (bool, int, float, str, bytes)):
    raise WireError(f'a scalar of type {kind.str} holds {type(data).__name__}, expected a number')
  try:
    with np.errstate(over='ignore'):  # it becomes an infinity, as other packages have it
      return kind.type(data)
  except (ValueError, OverflowError, TypeError) as error:
    raise WireError(f'a scalar of type {kind.str}: {error}') from None


def _type(name: Any) -> np.dtype:
  if isinstance(name, bytes):
    name = name.decode('ascii', 'replace')
  if not isinstance(name, str) or len(name) > 16:
    raise WireError(f"the type of an array is {str(name)[:60]!r}, expected a name such as '<f4'")
  try:
    kind = np.dtype(name)
  except (TypeError, ValueError, SyntaxError):
    raise WireError(f"the type of an array is {name!r}, expected a name such as '<f4'") from None
  if kind.kind not in _KINDS or kind.shape or kind.fields:
    raise WireError(f'the type of an array is {name!r}, expected plain numbers')
  return kind


def _refuse_extension(code: int, data: bytes) -> Any:
  raise WireError(f'an extension of MessagePack of code {code}; expected plain data')
