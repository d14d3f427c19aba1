"""Walks TFRecord files in place: where every record lies, and whether it is intact.

A file is a row of records, each a length (8 bytes, little endian), the masked CRC-32C of
those 8 bytes, the payload, and the masked CRC-32C of the payload. The length has a checksum
of its own, so that a damaged payload can be stepped over.
"""

from collections.abc import Iterator
import dataclasses
import mmap
import os
import struct

import google_crc32c

_HEADER = struct.Struct('<QI')  # length, its checksum
_FOOTER = struct.Struct('<I')  # checksum of the payload
_MASK_DELTA = 0xA282EAD8
_BLOCK = 1 << 18  # bytes copied at a time to be summed


@dataclasses.dataclass(frozen=True)
class Record:
  """One record of a file.

  Attributes:
    number: of records before it in the file.
    offset: of the payload in the file, bytes.
    payload: a view of the file, which stays open as long as the view; empty if its end is not
      known.
    problem: what is wrong with it and where, or the empty string.
  """

  number: int
  offset: int
  payload: memoryview
  problem: str = ''


def walk(path: str | os.PathLike) -> Iterator[Record]:
  """Yields the records of a file in order, checked but not copied.

  A record with a problem is yielded too. Where its length is lost, it is the last one.

  Raises:
    FileNotFoundError: if there is no such file.
  """
  data = _mapped(path)
  number, at = 0, 0
  while at < len(data):
    start = at + _HEADER.size
    if start > len(data):
      yield Record(number, at, data[:0], _cut(path, number, at, len(data)))
      return
    length, length_checksum = _HEADER.unpack_from(data, at)
    if masked_checksum(data[at : at + 8]) != length_checksum:
      problem = (
        f'{path}, record {number}: its length at byte {at} does not match its checksum: the '
        'file is corrupt, and nothing after this byte can be found; copy it again from its source.'
      )
      yield Record(number, start, data[:0], problem)
      return
    stop = start + length
    if stop + _FOOTER.size > len(data):
      yield Record(number, start, data[:0], _cut(path, number, at, len(data)))
      return
    payload = data[start:stop]
    problem = ''
    if masked_checksum(payload) != _FOOTER.unpack_from(data, stop)[0]:
      problem = (
        f'{path}, record {number}: the {length} bytes from byte {start} do not match their '
        'checksum: the file is corrupt; copy it again from its source.'
      )
    yield Record(number, start, payload, problem)
    number, at = number + 1, stop + _FOOTER.size


def masked_checksum(data: memoryview | bytes) -> int:
  """CRC-32C, rotated and shifted so that checksums of checksums stay good ones."""
  checksum = 0
  for start in range(0, len(data), _BLOCK):
    checksum = google_crc32c.extend(checksum, bytes(data[start : start + _BLOCK]))
  return ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _mapped(path: str | os.PathLike) -> memoryview:
  with open(path, 'rb') as file:
    if os.fstat(file.fileno()).st_size == 0:
      return memoryview(b'')
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _cut(path: str | os.PathLike, number: int, at: int, size: int) -> str:
  return (
    f'{path}, record {number}: the file ends at byte {size}, within the record that starts at '
    f'byte {at}: it is incomplete; copy it again from its source.'
  )
