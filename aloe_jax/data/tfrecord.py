"""TFRecord files: walked in place, where every record lies and whether it is intact; written.

A file is a row of records, each a length (8 bytes, little endian), the masked CRC-32C of
those 8 bytes, the payload, and the masked CRC-32C of the payload. The length has a checksum
of its own, so that a damaged payload can be stepped over; after a damaged length the next
record is found by its checksums.
"""

from collections.abc import Iterator
import dataclasses
import functools
import mmap
import os
import struct

import google_crc32c
import numpy as np

_HEADER = struct.Struct('<QI')  # length, its checksum
_FOOTER = struct.Struct('<I')  # checksum of the payload
_MASK_DELTA = 0xA282EAD8
_BLOCK = 1 << 18  # bytes summed or searched at a time


@dataclasses.dataclass(frozen=True)
class Record:
  """One record of a file.

  Attributes:
    number: of records before it in the file.
    offset: of the payload in the file, bytes.
    payload: a view of the file, which stays open as long as the view; empty if its end is not
      known.
    problem: what is wrong with it, or the empty string.
  """

  number: int
  offset: int
  payload: memoryview
  problem: str = ''


def walk(path: str | os.PathLike) -> Iterator[Record]:
  """Yields the records of a file in order, checked but not copied.

  A record with a problem is yielded too.

  Raises:
    FileNotFoundError: if there is no such file.
  """
  data = _mapped(path)
  number, at = 0, 0
  while at < len(data):
    start = at + _HEADER.size
    if start > len(data):
      yield Record(number, at, data[:0], _cut(at, len(data)))
      return
    length, length_checksum = _HEADER.unpack_from(data, at)
    if masked_checksum(data[at : at + 8]) != length_checksum:
      damaged, at = at, _next_intact(data, at + 1)
      rest = f'the next intact one is at byte {at}' if at < len(data) else 'none follows it intact'
      problem = (
        f'its length at byte {damaged} does not match its checksum, and {rest}: the file is '
        'corrupt; copy it again from its source.'
      )
      yield Record(number, start, data[:0], problem)
      number += 1
      continue
    stop = start + length
    if stop + _FOOTER.size > len(data):
      yield Record(number, start, data[:0], _cut(at, len(data)))
      return
    payload = data[start:stop]
    problem = ''
    if masked_checksum(payload) != _FOOTER.unpack_from(data, stop)[0]:
      problem = (
        f'the {length} bytes from byte {start} do not match their checksum: the file is corrupt; '
        'copy it again from its source.'
      )
    yield Record(number, start, payload, problem)
    number, at = number + 1, stop + _FOOTER.size


def framed(payload: bytes) -> bytes:
  """The bytes of a record in a file: its payload between length and checksums."""
  return b''.join(parts(payload))


def parts(payload: bytes) -> tuple[bytes, bytes, bytes]:
  """The same in three parts, of which the second is the payload itself and not a copy."""
  length = len(payload).to_bytes(8, 'little')
  header = length + _FOOTER.pack(masked_checksum(length))
  return header, payload, _FOOTER.pack(masked_checksum(payload))


def masked_checksum(data: memoryview | bytes) -> int:
  """CRC-32C, rotated and shifted so that checksums of checksums stay good ones."""
  checksum = 0
  for start in range(0, len(data), _BLOCK):
    checksum = google_crc32c.extend(checksum, bytes(data[start : start + _BLOCK]))
  return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _next_intact(data: memoryview, at: int) -> int:
  """Where the first intact record from a byte on begins; the end of the file if none does."""
  while at < len(data):
    block = np.frombuffer(data[at : at + _BLOCK + _HEADER.size - 1], np.uint8)
    for place in _headers(block).tolist():
      start = at + place + _HEADER.size
      stop = start + _HEADER.unpack_from(data, at + place)[0]
      whole = stop + _FOOTER.size <= len(data)
      if whole and masked_checksum(data[start:stop]) == _FOOTER.unpack_from(data, stop)[0]:
        return at + place
    at += _BLOCK
  return len(data)


def _headers(block: np.ndarray) -> np.ndarray:
  """Places in [n] uint8 where 8 bytes and their masked checksum lie."""
  count = len(block) - _HEADER.size + 1
  if count <= 0:
    return np.zeros(0, np.int64)
  of_zeros, of_bytes = _checksum_table()
  found = np.full(count, of_zeros, np.uint32)
  for place in range(8):
    found ^= of_bytes[place][block[place : place + count]]
  masked = (found >> 15 | found << 17) + np.uint32(_MASK_DELTA)
  stored = np.zeros(count, np.uint32)
  for place in range(4):
    stored |= block[8 + place : 8 + place + count].astype(np.uint32) << 8 * place
  return np.flatnonzero(masked == stored)


@functools.cache
def _checksum_table() -> tuple[int, np.ndarray]:
  """CRC-32C of 8 zeros, and [8, 256] what a byte in their place changes: exclusive or adds up."""
  of_zeros = google_crc32c.value(bytes(8))
  changes = [
    [google_crc32c.value(bytes(place) + bytes([byte]) + bytes(7 - place)) for byte in range(256)]
    for place in range(8)
  ]
  return of_zeros, np.array(changes, np.uint32) ^ np.uint32(of_zeros)


def _mapped(path: str | os.PathLike) -> memoryview:
  with open(path, 'rb') as file:
    if os.fstat(file.fileno()).st_size == 0:
      return memoryview(b'')
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _cut(at: int, size: int) -> str:
  return (
    f'the file ends at byte {size}, within the record that starts at byte {at}: it is '
    'incomplete; copy it again from its source.'
  )
