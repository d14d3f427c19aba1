"""Examples are read as TensorFlow writes them, and written as it reads them.

Damaged ones raise nothing but ValueError.
"""

import contextlib

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
import tensorflow as tf

from aloe_jax.data import example_proto

INTEGERS = st.integers(-(2**63), 2**63 - 1)
LISTS = st.one_of(
  st.lists(st.binary(max_size=300), max_size=6),
  st.lists(st.floats(width=32), min_size=1, max_size=40),
  st.lists(INTEGERS, min_size=1, max_size=40),
)


def feature(values):
  if values and isinstance(values[0], float):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
  if values and isinstance(values[0], int):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def serialised(features):
  features = {name: feature(values) for name, values in features.items()}
  return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def written(values):
  """The list as it is handed to `serialise`."""
  if values and isinstance(values[0], float | int):
    return np.asarray(values, np.float32 if isinstance(values[0], float) else np.int64)
  return values


def field(number, data):
  """A length-delimited field of fewer than 128 bytes."""
  return bytes([number << 3 | 2, len(data)]) + data


def example_of(*features):
  return field(1, b''.join(field(1, field(1, b'x') + field(2, feature)) for feature in features))


@hypothesis.given(st.dictionaries(st.text(max_size=200), LISTS, max_size=5), st.booleans())
@hypothesis.settings(deadline=None)
def test_every_example_is_read_as_it_was_written(features, as_view):
  payload = serialised(features)
  found = example_proto.parse(memoryview(payload) if as_view else payload)
  assert found.keys() == features.keys()
  for name, values in features.items():
    if values and isinstance(values[0], float):
      np.testing.assert_array_equal(found[name].floats(), np.float32(values))
    elif values and isinstance(values[0], int):
      np.testing.assert_array_equal(found[name].integers(), np.int64(values))
    else:
      assert found[name].texts() == values
      assert [payload[at : at + length] for at, length in found[name].spans()] == values


@hypothesis.given(st.dictionaries(st.text(max_size=200), LISTS, max_size=5))
@hypothesis.settings(deadline=None)
def test_tensorflow_reads_what_is_written(features):
  payload = example_proto.serialise({name: written(values) for name, values in features.items()})
  found = tf.train.Example.FromString(payload)
  theirs = tf.train.Example.FromString(serialised(features))
  for name, values in features.items():  # NaN is not equal to itself, its bytes are
    ours = found.features.feature[name]
    assert ours.SerializeToString() == theirs.features.feature[name].SerializeToString(), values
  assert found.features.feature.keys() == features.keys()
  assert example_proto.parse(payload).keys() == features.keys()


def test_bools_are_written_as_integers_and_matrices_row_by_row():
  matrix = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3) / 2)
  payload = example_proto.serialise({'flag': np.array([True, False]), 'x': matrix})
  found = tf.train.Example.FromString(payload).features.feature
  assert list(found['flag'].int64_list.value) == [1, 0]
  assert list(found['x'].float_list.value) == [0, 0.5, 1, 1.5, 2, 2.5]


def test_an_array_of_what_an_example_cannot_hold_is_refused():
  with pytest.raises(TypeError, match='found an array of complex128, expected floats'):
    example_proto.serialise({'x': np.zeros(2, complex)})


@hypothesis.given(st.data())
@hypothesis.settings(deadline=None)
def test_a_damaged_example_is_read_or_refused_but_never_crashes(data):
  payload = bytearray(serialised({'a': [b'abc', b''], 'b': [1.5, 2.0], 'c': [1, -1, 300]}))
  for _ in range(data.draw(st.integers(1, 3))):
    payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
  payload = bytes(payload[: data.draw(st.integers(0, len(payload)))])
  with contextlib.suppress(ValueError):
    for values in example_proto.parse(payload).values():
      read = {'bytes': values.texts, 'floats': values.floats, 'integers': values.integers}
      read.get(values.kind, values.spans)()


@hypothesis.given(st.binary(max_size=60))
def test_bytes_that_are_no_example_are_read_or_refused_but_never_crash(payload):
  with contextlib.suppress(ValueError):
    example_proto.parse(payload)


def test_numbers_that_are_not_packed_are_read_too():
  floats = b''.join(b'\x0d' + np.float32(value).tobytes() for value in (1.5, -2.0))
  integers = b'\x08\x01' + b'\x08\xac\x02' + b'\x08' + b'\xff' * 9 + b'\x01'
  packed_after = integers + field(1, b'\x05\x96\x01')
  (found,) = example_proto.parse(example_of(field(2, floats))).values()
  assert found.floats().tolist() == [1.5, -2.0]
  (found,) = example_proto.parse(example_of(field(3, packed_after))).values()
  assert found.integers().tolist() == [1, 300, -1, 5, 150]


def test_nothing_stored_reads_as_an_empty_list_of_any_kind():
  (found,) = example_proto.parse(example_of(b'')).values()
  assert found.kind == ''
  assert (found.spans(), found.floats().size, found.integers().size) == ([], 0, 0)


def test_of_a_name_written_twice_the_last_one_counts():
  found = example_proto.parse(example_of(field(3, field(1, b'\x01')), field(3, field(1, b'\x02'))))
  assert found['x'].integers().tolist() == [2]


def test_fields_of_later_versions_are_stepped_over():
  unknown = b'\x48\x05' + b'\x55abcd' + b'\x59abcdefgh' + field(12, b'more')
  payload = unknown + field(1, unknown + field(1, field(1, b'x') + unknown + field(2, unknown)))
  assert example_proto.parse(payload)['x'].kind == ''


@pytest.mark.parametrize(
  'payload, message',
  [
    (b'\x0a', 'an integer at byte 1 of the record is cut off'),
    (b'\x0a\x05abc', 'ends at 7, after 5'),
    (b'\x0a\x04abc', 'ends at 6, after 5'),
    (b'\x0b\x00', 'wire type 3 at byte 1'),
    (b'\x02\x00', 'field 0'),
    (b'\xff' * 11, 'an integer at byte 10'),
  ],
)
def test_what_is_wrong_is_said(payload, message):
  with pytest.raises(ValueError, match=message):
    example_proto.parse(payload)


@pytest.mark.parametrize(
  'feature, read, message',
  [
    (field(1, field(1, b'a')), 'floats', 'found bytes, expected floats'),
    (field(2, field(1, b'abcde')), 'floats', '5 bytes of floats'),
    (field(2, b'\x08\x01'), 'floats', 'wire type 0 among floats'),
    (field(3, field(1, b'\x01\x80')), 'integers', 'cut off'),
    (field(3, field(1, b'\x80' * 10 + b'\x01')), 'integers', 'more than 10 bytes'),
  ],
)
def test_a_list_of_the_wrong_kind_or_length_is_refused(feature, read, message):
  (values,) = example_proto.parse(example_of(feature)).values()
  with pytest.raises(ValueError, match=message):
    getattr(values, read)()


@pytest.mark.parametrize('block', [16, 17, 100])
def test_integers_are_the_same_in_blocks_of_any_size(block, monkeypatch):
  monkeypatch.setattr(example_proto, '_BLOCK', block)
  expected = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 200)
  expected = expected >> np.arange(200) % 64
  found = example_proto.parse(serialised({'x': expected.tolist()}))['x'].integers()
  np.testing.assert_array_equal(found, expected)


def test_pixels_stored_as_integers_come_back_as_bytes():
  pixels = np.random.default_rng(0).integers(0, 256, 3_000_000).astype(np.uint8)
  found = example_proto.parse(serialised({'x': pixels.tolist()}))['x'].integers(np.uint8)
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(found, pixels)
