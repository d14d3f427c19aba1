"""A file that grows by whole records: after a crash all but the last one are there.

A record is the four bytes `ALOE`, the length of its content and that content's CRC-32 (little
endian, 32 bits each), and the content. What follows a record that is not whole is not read.
"""

from __future__ import annotations

import os
import pathlib
import struct
from typing import BinaryIO
import zlib

_HEADER = struct.Struct('<4sII')
_MAGIC = b'ALOE'


class Writer:
  """Appends records to a new file; each is given to the system at once."""

  def __init__(self, path: pathlib.Path):
    self._file: BinaryIO = path.open('xb', buffering=0)

  def add(self, content: bytes) -> None:
    """Writes one record.

    Raises:
      OSError: there is no room.
    """
    data = memoryview(_HEADER.pack(_MAGIC, len(content), zlib.crc32(content)) + content)
    while data:
      data = data[self._file.write(data) :]

  def close(self) -> None:
    """Waits until all is on the disk, and closes the file."""
    if not self._file.closed:
      try:
        os.fsync(self._file.fileno())
      finally:
        self._file.close()


def read(path: pathlib.Path) -> tuple[list[bytes], bool]:
  """The records of a file, and whether they are all of it.

  Raises:
    OSError: it cannot be read.
  """
  found, rest = _read(path)
  return found, rest is None


def is_damaged(path: pathlib.Path) -> bool:
  """Whether something follows the whole records that is not the beginning of another one.

  Where a program ended within a record, the file ends within it too. Whatever else is there was
  written, and is not what was written.

  Raises:
    OSError: it cannot be read.
  """
  return _read(path)[1] is False


def _read(path: pathlib.Path) -> tuple[list[bytes], bool | None]:
  """The whole records; and whether the rest is the beginning of one, None where there is none."""
  found: list[bytes] = []
  with path.open('rb') as file:
    while header := file.read(_HEADER.size):
      if len(header) < _HEADER.size:
        return found, header[: len(_MAGIC)] == _MAGIC[: len(header)]
      magic, length, checksum = _HEADER.unpack(header)
      if magic != _MAGIC:
        return found, False
      content = file.read(length)
      if len(content) < length:
        return found, True
      if zlib.crc32(content) != checksum:
        return found, False
      found.append(content)
  return found, None
