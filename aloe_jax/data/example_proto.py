"""Reads a serialised `tf.train.Example` where it lies, and writes one, without TensorFlow.

Protocol buffers are rows of fields: a tag (field number and wire type), then a varint, 4 or 8
bytes, or a length and as many bytes. An Example holds, field number in brackets:

    Example: Features [1]: map entries [1]: name [1], Feature [2]
    Feature: bytes [1], floats [2] or integers [3], each a message whose field 1 is repeated

Only the lists asked for are decoded: most bytes of an episode are images, and stay encoded.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses

import numpy as np

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_KINDS = {1: 'bytes', 2: 'floats', 3: 'integers'}
_BLOCK = 1 << 20  # bytes of varints decoded at a time
_MAX_VARINT = 10  # bytes that 64 bits take


@dataclasses.dataclass(frozen=True)
class Values:
  """The list of one feature, still encoded.

  Attributes:
    kind: 'bytes', 'floats', 'integers', or '' where nothing was stored.
    payload: of the whole record.
    start: of the list in the payload.
    stop: of the list.
  """

  kind: str
  payload: memoryview | bytes
  start: int
  stop: int

  def spans(self) -> list[tuple[int, int]]:
    """(offset in the payload, length) of every byte string."""
    fields = self._repeated('bytes', (_LENGTH,))
    return [(start, stop - start) for start, stop in fields]

  def texts(self) -> list[bytes]:
    """Copies of the byte strings."""
    return [bytes(self.payload[at : at + length]) for at, length in self.spans()]

  def floats(self) -> np.ndarray:
    """[n] float32, a view where they are packed."""
    parts = []
    for start, stop in self._repeated('floats', (_LENGTH, _FOUR_BYTES)):
      if (stop - start) % 4:
        raise ValueError(f'{stop - start} bytes of floats at byte {start} of the record')
      parts.append(np.frombuffer(self.payload, '<f4', (stop - start) // 4, start))
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, '<f4'), *parts])

  def integers(self, dtype: type = np.int64) -> np.ndarray:
    """[n] integers; those that do not fit the type wrap around."""
    parts = [
      varints(self.payload[start:stop], dtype)
      for start, stop in self._repeated('integers', (_LENGTH, _VARINT))
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts])

  def _repeated(self, kind: str, wire_types: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    if self.kind not in (kind, ''):
      raise ValueError(f'found {self.kind}, expected {kind}')
    for number, wire_type, start, stop in _fields(self.payload, self.start, self.stop):
      if number == 1:
        if wire_type not in wire_types:
          raise ValueError(f'wire type {wire_type} among {kind} at byte {start} of the record')
        yield start, stop


def parse(payload: memoryview | bytes) -> dict[str, Values]:
  """The features of an Example by name.

  Raises:
    ValueError: if the bytes are no Example.
  """
  features = {}
  for start, stop in _messages(payload, 0, len(payload), 1):
    for entry_start, entry_stop in _messages(payload, start, stop, 1):
      name, values = '', Values('', payload, 0, 0)
      for number, wire_type, at, end in _fields(payload, entry_start, entry_stop):
        if wire_type != _LENGTH:
          continue
        if number == 1:
          name = str(payload[at:end], 'utf-8')
        elif number == 2:
          values = _values(payload, at, end)
      features[name] = values
  return features


def serialise(features: Mapping[str, np.ndarray | Sequence[bytes]]) -> bytes:
  """The bytes of an Example, as TensorFlow would write it but for the order of the names.

  Args:
    features: by name: byte strings, or an array of numbers, flattened row by row; floats are kept
      in single precision, integers and bools in 64 bits. They are written in the order given.
  """
  entries: list[bytes] = []
  for name, values in features.items():
    feature = _field(2, _field(*_list(values)))
    entries += _field(1, [*_field(1, [name.encode()]), *feature])
  return b''.join(_field(1, entries))  # once: images are most of it, and are copied by every join


def varints(data: memoryview | bytes, dtype: type = np.int64) -> np.ndarray:
  """[n] integers from their base-128 encoding, least significant seven bits first."""
  encoded = np.frombuffer(data, np.uint8)
  if len(encoded) and encoded[-1] >= 0x80:
    raise ValueError('the last integer of a list is cut off')
  decoded: np.ndarray = np.empty(_count_below_128(encoded), dtype)
  at = done = 0
  while at < len(encoded):
    block = encoded[at : at + _BLOCK]
    stops = np.flatnonzero(block < 0x80) + 1
    if not len(stops):
      raise ValueError(f'an integer of more than {_MAX_VARINT} bytes')
    decoded[done : done + len(stops)] = _decoded(block, stops).astype(dtype, copy=False)
    at, done = at + int(stops[-1]), done + len(stops)
  return decoded


def _count_below_128(encoded: np.ndarray) -> int:
  return sum(
    int(np.count_nonzero(encoded[at : at + _BLOCK] < 0x80)) for at in range(0, len(encoded), _BLOCK)
  )


def _decoded(block: np.ndarray, stops: np.ndarray) -> np.ndarray:
  """[n] int64: the varints that end before each of the stops."""
  starts = np.concatenate([[0], stops[:-1]])
  lengths = stops - starts
  longest = int(lengths.max())
  if longest > _MAX_VARINT:
    raise ValueError(f'an integer of more than {_MAX_VARINT} bytes')
  values = (block[starts] & 0x7F).astype(np.uint64)
  for place in range(1, longest):
    longer = np.flatnonzero(lengths > place)
    bits = (block[starts[longer] + place] & 0x7F).astype(np.uint64)
    values[longer] |= bits << np.uint64(7 * place)
  return values.view(np.int64)


def _values(payload: memoryview | bytes, start: int, stop: int) -> Values:
  """The list in a Feature; of several, the last one counts."""
  values = Values('', payload, 0, 0)
  for number, wire_type, at, end in _fields(payload, start, stop):
    if number in _KINDS and wire_type == _LENGTH:
      values = Values(_KINDS[number], payload, at, end)
  return values


def _messages(
  payload: memoryview | bytes, start: int, stop: int, wanted: int
) -> Iterator[tuple[int, int]]:
  """Where the messages with one field number lie."""
  for number, wire_type, at, end in _fields(payload, start, stop):
    if number == wanted and wire_type == _LENGTH:
      yield at, end


def _fields(
  payload: memoryview | bytes, start: int, stop: int
) -> Iterator[tuple[int, int, int, int]]:
  """Yields (field number, wire type, start, stop) of the value of every field."""
  at = start
  while at < stop:
    tag, at = _varint(payload, at, stop)
    number, wire_type = tag >> 3, tag & 7
    if wire_type == _LENGTH:
      length, at = _varint(payload, at, stop)
      end = at + length
    elif wire_type == _VARINT:
      end = _varint(payload, at, stop)[1]
    elif wire_type == _FOUR_BYTES:
      end = at + 4
    elif wire_type == _EIGHT_BYTES:
      end = at + 8
    else:
      raise ValueError(f'wire type {wire_type} at byte {at} of the record')
    if number == 0 or end > stop:
      raise ValueError(f'field {number} at byte {at} of the record ends at {end}, after {stop}')
    yield number, wire_type, at, end
    at = end


def _varint(payload: memoryview | bytes, at: int, stop: int) -> tuple[int, int]:
  """A varint and where it ends."""
  value = shift = 0
  while at < stop and shift < 7 * _MAX_VARINT:
    byte = payload[at]
    at += 1
    value |= (byte & 0x7F) << shift
    if byte < 0x80:
      return value, at
    shift += 7
  raise ValueError(f'an integer at byte {at} of the record is cut off')


def _list(values: np.ndarray | Sequence[bytes]) -> tuple[int, list[bytes]]:
  """The field number of a list in a Feature, and the parts of the list."""
  if not isinstance(values, np.ndarray):
    return 1, [part for value in values for part in _field(1, [value])]
  if values.dtype.kind == 'f':
    return 2, _field(1, [values.astype('<f4').tobytes()])
  if values.dtype.kind in 'biu':
    integers = values.astype(np.int64).ravel().tolist()
    return 3, _field(1, [_encoded(value) for value in integers])
  raise TypeError(f'found an array of {values.dtype}, expected floats, integers or bools')


def _field(number: int, parts: Sequence[bytes]) -> list[bytes]:
  """The parts of a field that holds these, one after another."""
  length = sum(len(part) for part in parts)
  return [_encoded(number << 3 | _LENGTH), _encoded(length), *parts]


def _encoded(value: int) -> bytes:
  """The varint of a 64 bit integer; a negative one takes ten bytes."""
  value &= (1 << 64) - 1
  encoded = bytearray()
  while value >= 0x80:
    encoded.append(value & 0x7F | 0x80)
    value >>= 7
  encoded.append(value)
  return bytes(encoded)
