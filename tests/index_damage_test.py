"""What is damaged in a dataset is named by file, record and episode, or left out."""

import json
import os

import foreign
import numpy as np
import pytest

from aloe_jax.data import example_proto
from aloe_jax.data import index
from aloe_jax.data import mapping
from aloe_jax.data import records
from aloe_jax.data import schema
from aloe_jax.data import tfrecord


def flip(path, position):
  data = bytearray(path.read_bytes())
  data[position] ^= 0x10
  path.write_bytes(data)


def regions(path):
  """{part of the second record: a byte in it}."""
  _, record = tfrecord.walk(path)
  values = example_proto.parse(record.payload)
  image, length = values['steps/observation/image'].spans()[0]
  parts = {'checksum of the payload': len(record.payload) + 1, 'first byte': 0}
  parts |= {'image': image + length // 2, 'length of an image': image - 1}
  parts |= {'state': values['steps/observation/state'].start + 3}
  parts |= {'name': bytes(record.payload).index(b'steps/action') + 2}
  return {name: record.offset + at for name, at in parts.items()}


@pytest.mark.parametrize(
  'region',
  ['checksum of the payload', 'first byte', 'image', 'length of an image', 'state', 'name'],
)
def test_one_flipped_bit_is_named_or_its_episode_left_out(region, small):
  flip(foreign.shard(small), regions(foreign.shard(small))[region])
  with pytest.raises(
    ValueError, match=f'{foreign.shard(small)}, record 1, episode 1: .* do not match'
  ):
    index.load(small, {})
  assert not foreign.indices(small)
  found = index.load(small, {}, on_error='skip')
  foreign.assert_numbers(found, episodes=(0, 2))
  foreign.assert_pixels(found, episodes=(0, 2))
  assert len(found.skipped) == 1
  assert [entry.record for entry in found.episodes()] == [0, 0]


@pytest.mark.parametrize('place', range(12))
def test_a_flipped_bit_in_a_length_or_its_checksum_loses_one_episode(place, small):
  flip(foreign.shard(small), place)
  with pytest.raises(ValueError, match='record 0, episode 0: its length at byte 0'):
    index.load(small, {})
  found = index.load(small, {}, on_error='skip')
  foreign.assert_numbers(found, episodes=(1, 2))
  foreign.assert_pixels(found, episodes=(1, 2))
  assert len(found.skipped) == 1


def test_any_byte_that_changes_is_reported_once_with_file_record_and_episode(small):
  layout = schema.read(small)
  paths = mapping.resolve(layout.leaves, {})
  path = foreign.shard(small)
  data = path.read_bytes()
  starts = [record.offset - 12 for record in tfrecord.walk(path)]
  for position in range(len(data)):
    path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
    reads = records.read(layout, layout.splits['train'], paths)
    (problem,) = [read.problem for read in reads if read.problem]
    number = int(position >= starts[1])
    assert problem.startswith(f'{path}, record {number}, episode {number}: ')


def test_a_truncated_shard_is_named_and_its_whole_episodes_are_kept(small):
  path = foreign.shard(small)
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(ValueError, match=f'{path}, record 1, episode 1: the file ends'):
    index.load(small, {})
  foreign.assert_numbers(index.load(small, {}, on_error='skip'), episodes=(0, 2))


def test_a_shard_cut_between_records_is_noticed_by_their_number(small):
  path = foreign.shard(small)
  _, record = tfrecord.walk(path)
  path.write_bytes(path.read_bytes()[: record.offset - 12])
  with pytest.raises(ValueError, match=f'{path}: found 1 records, expected 2'):
    index.load(small, {})


def test_a_truncated_array_record_is_named(tmp_path):
  foreign.simple(tmp_path / 'data', container='array_record')
  path = min((tmp_path / 'data').glob('*array_record-*'))
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(ValueError, match=f'{path}, record 0, episode 0: the file is corrupt or'):
    index.load(tmp_path / 'data', {})
  foreign.assert_numbers(index.load(tmp_path / 'data', {}, on_error='skip'), episodes=(2,))


def test_an_episode_that_is_not_finite_is_named_or_left_out(tmp_path):
  state = foreign.tfds_features().Tensor(shape=(3,), dtype=np.float32)

  def values(e, t):
    numbers = foreign.numbers(e, foreign.LENGTHS[e], 3)
    numbers[2:, 1] = np.nan if e == 2 else numbers[2:, 1]
    return {'observation': {'state': numbers[t]}}

  foreign.simple(tmp_path / 'data', {'observation': {'state': state}}, values)
  message = r'tfrecord-\d+, record 0, episode 2, step 2: steps/observation/state: found NaN'
  with pytest.raises(ValueError, match=message):
    index.load(tmp_path / 'data', {})
  found = index.load(tmp_path / 'data', {}, on_error='skip')
  foreign.assert_numbers(found, episodes=(0, 1))
  assert len(found.skipped) == 1


def test_a_split_without_shards_is_refused(small):
  info = json.loads((small / 'dataset_info.json').read_text())
  del info['splits'][0]['shardLengths']
  (small / 'dataset_info.json').write_text(json.dumps(info))
  with pytest.raises(ValueError, match="found no shardLengths of the split 'train'"):
    index.load(small, {})


def test_a_dataset_with_nothing_left_is_refused(small):
  for number in (0, 1):
    foreign.shard(small, number).write_bytes(foreign.shard(small, number).read_bytes()[:40])
  with pytest.raises(ValueError, match='there is no episode'):
    index.load(small, {}, on_error='skip')


def test_a_missing_shard_split_or_field_is_named(dataset, tmp_path):
  with pytest.raises(FileNotFoundError, match='val.tfrecord-00000-of-00002: the shard is missing'):
    index.load(dataset, {}, split='val')
  with pytest.raises(ValueError, match="split 'test': expected one of .'train', 'val'."):
    index.load(dataset, {}, split='test')
  with pytest.raises(ValueError, match=f'{dataset}: state: robot is missing'):
    index.load(dataset, {'state': 'robot'})
  with pytest.raises(ValueError, match="on_error: found 'ignore'"):
    index.load(dataset, {}, on_error='ignore')
  (tmp_path / 'file').touch()
  with pytest.raises(OSError, match='cannot be written here .* choose a cache directory'):
    index.load(dataset, {}, cache=tmp_path / 'file')


def test_a_file_that_shrank_after_it_was_indexed_is_named(small):
  found = index.load(small, {})
  os.truncate(foreign.shard(small), 100)
  with pytest.raises(OSError, match=f'{foreign.shard(small)}: found .* has changed since'):
    found.image('head', 3)
