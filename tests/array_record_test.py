"""Records of array_record files come back in order, and damaged ones are stepped over."""

from array_record.python import array_record_module
import numpy as np
import pytest

from aloe_jax.data import array_record

PAYLOADS = [np.random.default_rng(number).bytes(3000) for number in range(3)]


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'episodes.array_record'
  writer = array_record_module.ArrayRecordWriter(str(path), 'group_size:1')
  for payload in PAYLOADS:
    writer.write(payload)
  writer.close()
  return path


def test_records_come_back_in_the_order_they_were_written(path):
  records = list(array_record.walk(path))
  assert [bytes(record.payload) for record in records] == PAYLOADS
  assert [record.number for record in records] == [0, 1, 2]
  assert not any(record.problem for record in records)


@pytest.mark.parametrize('damaged', range(3))
def test_a_damaged_record_is_named_and_stepped_over(path, damaged):
  data = bytearray(path.read_bytes())
  data[data.index(PAYLOADS[damaged][1000:1010])] ^= 0x10
  path.write_bytes(data)
  records = list(array_record.walk(path))
  for number, record in enumerate(records):
    if number == damaged:
      assert record.problem.startswith('the file is corrupt')
    else:
      assert bytes(record.payload) == PAYLOADS[number]
  assert len(records) == 3


@pytest.mark.parametrize('size', [0, 10, 65536, -1])
def test_a_truncated_file_is_named(path, size):
  path.write_bytes(path.read_bytes()[:size])
  (record,) = array_record.walk(path)
  assert record.problem.startswith('the file is corrupt or incomplete')
  assert '()' not in record.problem
