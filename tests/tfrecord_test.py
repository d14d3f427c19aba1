"""Records are found where TensorFlow wrote them, and every damaged byte is noticed."""

import numpy as np
import pytest
import tensorflow as tf

from aloe_jax.data import tfrecord

PAYLOADS = (b'first', b'', bytes(range(256)) * 5000, b'last one')


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'episodes.tfrecord'
  with tf.io.TFRecordWriter(str(path)) as writer:
    for payload in PAYLOADS:
      writer.write(payload)
  return path


def damage(path, position):
  data = bytearray(path.read_bytes())
  data[position] ^= 0x10
  path.write_bytes(data)


def test_what_tensorflow_wrote_is_found_at_its_offset(path):
  data = path.read_bytes()
  records = list(tfrecord.walk(path))
  assert [bytes(record.payload) for record in records] == list(PAYLOADS)
  assert [record.number for record in records] == [0, 1, 2, 3]
  assert not any(record.problem for record in records)
  for record, payload in zip(records, PAYLOADS, strict=True):
    assert data[record.offset : record.offset + len(payload)] == payload


def test_what_is_written_is_what_tensorflow_writes(path):
  assert b''.join(tfrecord.framed(payload) for payload in PAYLOADS) == path.read_bytes()


def test_the_checksum_is_the_published_one():
  # 32 zero bytes: RFC 3720, B.4; rotated by 15 bits and shifted, as TFRecord wants it.
  checksum = 0x8A9136AA
  masked = ((checksum >> 15 | checksum << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32
  assert tfrecord.masked_checksum(bytes(32)) == masked


def test_an_empty_file_has_no_records(tmp_path):
  (tmp_path / 'empty').touch()
  assert not list(tfrecord.walk(tmp_path / 'empty'))


@pytest.mark.parametrize('place', [0, 2, 4], ids=['first byte', 'middle', 'last byte'])
def test_a_damaged_payload_is_named_and_stepped_over(path, place):
  damage(path, 12 + place)
  first, *others = tfrecord.walk(path)
  assert first.problem.startswith('the 5 bytes from byte 12 do not match')
  assert [bytes(record.payload) for record in others] == list(PAYLOADS[1:])
  assert not any(record.problem for record in others)


def test_a_damaged_checksum_of_a_payload_counts_as_a_damaged_payload(path):
  damage(path, 12 + 5 + 3)
  problems = [bool(record.problem) for record in tfrecord.walk(path)]
  assert problems == [True, False, False, False]


@pytest.mark.parametrize('place', range(12))
@pytest.mark.parametrize('damaged', range(4))
def test_a_damaged_length_loses_one_record(path, damaged, place):
  starts = np.cumsum([0, *(len(payload) + 16 for payload in PAYLOADS)])
  damage(path, starts[damaged] + place)
  records = list(tfrecord.walk(path))
  assert [record.number for record in records] == [0, 1, 2, 3]
  for number, record in enumerate(records):
    if number == damaged:
      follows = 'none follows it' if number == 3 else f'one is at byte {starts[number + 1]}'
      assert record.problem.startswith(f'its length at byte {starts[number]} does not match its')
      assert follows in record.problem
      assert not len(record.payload)
    else:
      assert bytes(record.payload) == PAYLOADS[number]
      assert not record.problem


def test_only_a_whole_record_is_gone_on_with_after_a_damaged_length(path):
  third = 12 + 5 + 4 + 12 + 4
  damage(path, 12 + 5 + 4)
  damage(path, third + 100)
  records = list(tfrecord.walk(path))
  assert [bytes(record.payload) for record in records] == [b'first', b'', b'last one']
  assert [bool(record.problem) for record in records] == [False, True, False]


def test_a_file_cut_anywhere_loses_only_the_record_it_is_cut_in(path):
  data = path.read_bytes()
  starts = np.cumsum([0, *(len(payload) + 16 for payload in PAYLOADS)])
  for size in (1, 11, 12, 14, 17, 20, 22, 36, 37, 60, int(starts[3]) - 1, len(data) - 1):
    path.write_bytes(data[:size])
    whole = int(np.searchsorted(starts, size, 'right')) - 1
    records = list(tfrecord.walk(path))
    assert [bytes(record.payload) for record in records[:whole]] == list(PAYLOADS[:whole])
    if size in starts:
      assert len(records) == whole
    else:
      assert len(records) == whole + 1
      assert f'the file ends at byte {size}' in records[-1].problem
      assert f'starts at byte {starts[whole]}' in records[-1].problem
