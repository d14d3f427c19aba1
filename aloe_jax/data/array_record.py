"""Walks array_record files as `tfrecord.walk` walks TFRecord files.

Their records are compressed, so that nothing in them has a place in the file.
"""

from collections.abc import Iterator
import os
from typing import Any

from aloe_jax.data import tfrecord

_ONE_AT_A_TIME = 'readahead_buffer_size:0,max_parallelism:0'


def walk(path: str | os.PathLike) -> Iterator[tfrecord.Record]:
  """Yields the records of a file in order; their offsets are -1.

  A record that cannot be read is yielded with its problem. Where the end of the file is lost,
  so are all records.

  Raises:
    ImportError: where the package array-record is not installed.
  """
  from array_record.python import array_record_module  # not made for every platform

  reader = array_record_module.ArrayRecordReader(os.fspath(path), _ONE_AT_A_TIME)
  if not reader.ok():
    yield tfrecord.Record(0, -1, memoryview(b''), _problem(_reason(reader)))
    return
  for number in range(reader.num_records()):
    try:
      payload, problem = reader.read([number])[0], ''
    except RuntimeError as error:
      payload, problem = b'', _problem(str(error))
    yield tfrecord.Record(number, -1, memoryview(payload), problem)
  reader.close()


def _reason(reader: Any) -> str:
  """Why a reader could not find the records, as it says when it is closed, if it does."""
  try:
    reader.close()
  except RuntimeError as error:
    return str(error) or 'its index is missing'
  return 'its index is missing'


def _problem(reason: str) -> str:
  return f'the file is corrupt or incomplete ({reason}); copy it again from its source.'
