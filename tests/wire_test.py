"""The bytes between robot and server, held to those recorded of openpi's server and client."""

import json
import pathlib

import msgpack
import numpy as np
import pytest

from aloe_client import wire

GOLDEN = json.loads((pathlib.Path(__file__).parent / 'golden/pi05_io_golden.json').read_text())


def array(data=b'\0' * 8, dtype='<f4', shape=(2,), **changed):
  """Bytes of an array that may be wrong."""
  told = {b'__ndarray__': True, b'data': data, b'dtype': dtype, b'shape': shape} | changed
  return msgpack.packb({'state': told})


@pytest.mark.parametrize('name', [n for n in GOLDEN if n.endswith('_hex')])
def test_what_openpi_sends_is_read_and_written_byte_for_byte(name):
  recorded = bytes.fromhex(GOLDEN[name])
  assert wire.pack(wire.unpack(recorded)) == recorded


def test_the_values_of_a_message_of_openpi_are_what_it_sent():
  message = wire.unpack(bytes.fromhex(GOLDEN['msgpack_example_hex']))
  np.testing.assert_array_equal(message['observation/state'], np.linspace(-1, 1, 8))
  np.testing.assert_array_equal(message['observation/image'].ravel(), np.arange(18))
  assert message['observation/image'].dtype == np.uint8
  assert message['prompt'] == 'fold'
  assert message['nested'] == {'a': 1, 'b': [1, 2.5, None]}
  assert message['scalar_np'] == np.float32(0.25) and message['arr0d'].shape == ()
  assert not message['observation/state'].flags.writeable


def test_an_array_of_msgpack_numpy_is_read():
  values = np.arange(6, dtype=np.float32).reshape(2, 3)
  told = {b'nd': True, b'type': '<f4', b'kind': b'', b'shape': (2, 3), b'data': values.tobytes()}
  scalar = {b'nd': False, b'type': '<i4', b'data': np.int32(7).tobytes()}
  found = wire.unpack(msgpack.packb({'state': told, 'n': scalar}))
  np.testing.assert_array_equal(found['state'], values)
  assert found['n'] == 7 and found['n'].dtype == np.int32


@pytest.mark.parametrize(
  'data, said',
  [
    (array(dtype='|O'), 'expected plain numbers'),
    (array(dtype='<c8'), 'expected plain numbers'),
    (array(dtype='|V4'), 'expected plain numbers'),
    (array(dtype='nonsense'), "such as '<f4'"),
    (array(dtype='<f4' * 9), "such as '<f4'"),
    (array(dtype=5), "such as '<f4'"),
    (array(shape=(3,)), 'has 8 bytes, expected 12'),
    (array(shape=(-2,)), 'expected up to 8 whole numbers'),
    (array(shape=(2.0,)), 'expected up to 8 whole numbers'),
    (array(shape=[1] * 9 + [2]), 'expected up to 8 whole numbers'),
    (array(shape=None), 'expected up to 8 whole numbers'),
    (array(data=b'', shape=(0, 2**62, 2**62)), 'an array of shape'),
    (array(data='text'), 'expected bytes'),
    (array(data=b'', dtype='|S0', shape=(4,)), 'expected 0'),
    (
      msgpack.packb({b'nd': True, b'type': '|O', b'kind': b'O', b'shape': (1,), b'data': b'\x80'}),
      'expected plain numbers',
    ),
    (msgpack.packb({b'__npgeneric__': True, b'data': [1], b'dtype': '<f4'}), 'holds list'),
    (msgpack.packb(msgpack.ExtType(5, b'x')), 'an extension of MessagePack'),
    (msgpack.packb({1: 2}), 'not a message of MessagePack'),
    (b'', 'not a message of MessagePack'),
    (b'\x93\x01', 'not a message of MessagePack'),
    (b'\x01\x02', 'not a message of MessagePack'),
    (b'\x91' * 5000, 'not a message of MessagePack: nested too deep'),
    (b'\xc1', 'not a message of MessagePack: FormatError'),
    (b'\xdd\xff\xff\xff\xff', 'not a message of MessagePack'),
    (b'\xdd\x00\x01\x00\x00' + b'\x80' * 65536, 'exceeds max_array_len'),
    (msgpack.packb([[{}] * 1000] * 30), 'more than 20000 entries'),
  ],
)
def test_bytes_that_are_no_message_are_refused_in_words(data, said):
  with pytest.raises(wire.WireError, match=said):
    wire.unpack(data)


@pytest.mark.parametrize('name, _, said', GOLDEN['msgpack_rejects'])
def test_types_that_openpi_refuses_are_refused_as_it_does(name, _, said):
  with pytest.raises(ValueError, match=said):
    wire.pack({'a': np.zeros(2, name)})


def test_a_value_that_cannot_be_sent_is_named():
  with pytest.raises(wire.WireError, match='found set'):
    wire.pack({'a': {1, 2}})


@pytest.mark.parametrize(
  'value',
  [
    np.arange(12.0).reshape(3, 4)[:, ::2],
    np.asfortranarray(np.arange(6, dtype='>i2').reshape(2, 3)),
    np.zeros((0, 3)),
    np.array('text'),
    np.array([b'', b'']),
    np.array('2026-11-26', 'datetime64[D]'),
  ],
)
def test_arrays_come_back_however_they_lie_in_memory(value):
  found = wire.unpack(wire.pack({'a': value}))['a']
  assert (found.dtype, found.shape) == (value.dtype, value.shape)
  assert found.tobytes() == value.tobytes()
