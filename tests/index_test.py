"""Any step of any dataset is found where TFDS wrote it, and what is damaged is named."""

from concurrent import futures
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import foreign
import numpy as np
import pytest
import tensorflow as tf

from aloe_jax import types
from aloe_jax.data import features
from aloe_jax.data import image_codec
from aloe_jax.data import index
from aloe_jax.data import mapping
from aloe_jax.data import records
from aloe_jax.data import rlds
from aloe_jax.data import tfrecord
from aloe_jax.data import wire

GOLDEN = pathlib.Path(__file__).parent / 'golden/rlds_oxe_like'
DATASET = GOLDEN / 'aloe_oxe_like/0.1.0'
EXPECTED = json.loads((GOLDEN / 'expected.json').read_text())['train']
DEMO, POLICY, HUMAN = types.Source


@pytest.fixture(scope='module')
def golden(tmp_path_factory):
  return index.load(DATASET, {}, cache=tmp_path_factory.mktemp('cache'))


@pytest.fixture
def dataset(tmp_path):
  """A copy of the golden dataset, to be damaged."""
  return pathlib.Path(shutil.copytree(DATASET, tmp_path / 'data', copy_function=shutil.copyfile))


@pytest.fixture(scope='module')
def foreign_dataset(tmp_path_factory):
  """Three episodes of four, one and three steps, two of them in the first of two shards."""
  directory = tmp_path_factory.mktemp('foreign') / 'data'
  image = foreign.tfds_features().Image(shape=(2, 3, 3), encoding_format='png')
  state = foreign.tfds_features().Tensor(shape=(3,), dtype=np.float32)
  foreign.simple(
    directory,
    {'observation': {'state': state, 'image': image}},
    lambda e, t: {
      'observation': {
        'state': foreign.numbers(e, foreign.LENGTHS[e], 3)[t],
        'image': foreign.pixels(e, t),
      }
    },
  )
  return directory


@pytest.fixture
def small(foreign_dataset, tmp_path):
  """A copy of the dataset above, to be damaged."""
  return pathlib.Path(shutil.copytree(foreign_dataset, tmp_path / 'small'))


def shard(directory, number=0):
  return sorted(directory.glob('*tfrecord*'))[number]


def flip(path, position):
  data = bytearray(path.read_bytes())
  data[position] ^= 0x10
  path.write_bytes(data)


def indices(directory):
  return sorted(path.name for path in directory.parent.iterdir() if '.index-' in path.name)


def assert_numbers(found, episodes=(0, 1, 2)):
  """The columns hold the foreign episodes with these numbers."""
  lengths = [foreign.LENGTHS[e] for e in episodes]
  assert found.boundaries.tolist() == np.cumsum([0, *lengths]).tolist()
  for e, start, length in zip(episodes, found.boundaries, lengths, strict=False):
    rows = slice(start, start + length)
    np.testing.assert_array_equal(found.state[rows], foreign.numbers(e, length, 3))
    np.testing.assert_array_equal(found.action[rows], foreign.numbers(e, length, 2, offset=100))


def assert_pixels(found, camera='head', episodes=(0, 1, 2)):
  rows = iter(range(len(found)))
  for e in episodes:
    for t in range(foreign.LENGTHS[e]):
      image = found.image(camera, next(rows))
      decoded = image if isinstance(image, np.ndarray) else image_codec.decode(image)
      np.testing.assert_array_equal(decoded, foreign.pixels(e, t))


# What is read


def test_the_golden_dataset_is_read_as_it_was_recorded(golden):
  lengths = [episode['length'] for episode in EXPECTED]
  assert golden.boundaries.tolist() == np.cumsum([0, *lengths]).tolist()
  assert golden.cameras == types.CAMERAS
  for found, expected in zip(golden.episodes(), EXPECTED, strict=True):
    assert found.file == expected['file']
    assert {f'episode_metadata/{k}': v for k, v in found.metadata.items()} == expected['metadata']
    for row, step in ((found.start, 'first_step'), (found.stop - 1, 'last_step')):
      np.testing.assert_array_equal(
        golden.state[row], np.float32(expected[step]['observation/state'])
      )
      np.testing.assert_array_equal(golden.action[row], np.float32(expected[step]['action']))
      assert golden.prompts[golden.prompt[row]] == expected[step]['language_instruction']
    for camera, field in rlds.CAMERAS.items():
      images = [golden.image(camera, row) for row in (found.start, found.stop - 1)]
      digests = [hashlib.sha256(image).hexdigest()[:16] for image in images]
      assert digests == expected['stored_image_sha256'][f'steps/observation/{field}']


def test_sources_and_ends_are_those_of_the_recording(golden):
  sources = {'demo': DEMO, 'rollout': POLICY, 'intervention': HUMAN}
  for found, expected in zip(golden.episodes(), EXPECTED, strict=True):
    rows = slice(found.start, found.stop)
    source = sources[expected['metadata']['episode_metadata/source']]
    success = expected['metadata']['episode_metadata/success']
    assert set(golden.source[rows]) == {source}
    assert not golden.end_reason[rows][:-1].any()
    end = types.EndReason.SUCCESS if success else types.EndReason.FAILURE
    assert golden.end_reason[found.stop - 1] == end


def test_a_dataset_of_our_own_is_read_as_it_was_written(tmp_path):
  rng = np.random.default_rng(0)
  episodes = []
  for number, length in enumerate((3, 1, 40)):
    source = rng.integers(0, 3, length).astype(np.int8)
    end_reason = np.zeros(length, np.int8)
    end_reason[-1] = number + 1
    episodes.append(
      rlds.Episode(
        proprio=rng.normal(size=(length, types.PROPRIO_SIZE)).astype(np.float32),
        features=rng.normal(size=(length, 2, 4)).astype(np.float32),
        images={'head': rng.integers(0, 256, (length, 16, 16, 3), np.uint8)},
        action=rng.normal(size=(length, 5)).astype(np.float32),
        source=source,
        end_reason=end_reason,
        language_instruction=f'task {number}',
        metadata={'number': number, 'success': number == 0},
      )
    )
  rlds.write(tmp_path / 'data', episodes, name='ours')
  found = index.load(tmp_path / 'data', {})
  written = rlds.read(tmp_path / 'data')
  for entry, expected in zip(found.episodes(), written, strict=True):
    rows = slice(entry.start, entry.stop)
    np.testing.assert_array_equal(found.state[rows], expected.proprio)
    np.testing.assert_array_equal(found.action[rows], expected.action)
    np.testing.assert_array_equal(found.features[rows], expected.features)
    np.testing.assert_array_equal(found.source[rows], expected.source)
    np.testing.assert_array_equal(found.end_reason[rows], expected.end_reason)
    assert {found.prompts[row] for row in found.prompt[rows]} == {expected.language_instruction}
    assert entry.metadata == expected.metadata
    images = [found.image('head', row) for row in range(entry.start, entry.stop)]
    assert images == list(expected.images['head'])
  assert found.cameras == ('head',)
  assert found.image('left_wrist', 0) is None


@pytest.mark.parametrize('container', ['tfrecord', 'array_record'])
def test_numbers_split_over_fields_and_images_missing_at_some_steps(container, tmp_path):
  of = foreign.tfds_features()
  step = {
    'observation': {
      'joint_position': of.Tensor(shape=(2,), dtype=np.float64),
      'gripper_position': of.Tensor(shape=(1,), dtype=np.float64),
      'wrist_image_left': of.Image(shape=(None, None, 3)),
      'instruction': of.Text(),
    },
    'action': {
      'joint_position': of.Tensor(shape=(1,), dtype=np.float64),
      'gripper_position': of.Scalar(dtype=np.float64),
    },
  }

  def values(e, t):
    state = foreign.numbers(e, foreign.LENGTHS[e], 3)[t]
    action = foreign.numbers(e, foreign.LENGTHS[e], 2, offset=100)[t]
    return {
      'observation': {
        'joint_position': state[:2].astype(np.float64),
        'gripper_position': state[2:].astype(np.float64),
        'wrist_image_left': foreign.png(foreign.pixels(e, t)),
        'instruction': 'fold' if e else '',
      },
      'action': {'joint_position': action[:1].astype(np.float64), 'gripper_position': action[1]},
    }

  foreign.simple(
    tmp_path / 'data',
    step,
    values,
    episode={'task': of.Text(), 'success': np.bool_},
    metadata=lambda e: {'task': f'task {e}', 'success': e == 1},
    container=container,
  )
  found = index.load(tmp_path / 'data', {})
  assert_numbers(found)
  assert_pixels(found, 'left_wrist')
  assert found.image('head', 0) is None
  texts = [found.prompts[row] for row in found.prompt]
  assert texts == ['task 0'] * 4 + ['fold'] * 4
  assert [episode.metadata['task'] for episode in found.episodes()] == [
    'task 0',
    'task 1',
    'task 2',
  ]
  assert found.end_reason.tolist() == [0, 0, 0, 2, 1, 0, 0, 2]
  assert found.source.tolist() == [DEMO] * 8


@pytest.mark.parametrize('encoding', ['none', 'zlib'])
@pytest.mark.parametrize('container', ['tfrecord', 'array_record'])
def test_raw_pixels_are_kept_exactly(container, encoding, tmp_path):
  of = foreign.tfds_features()
  step = {'observation': {
    'state': of.Tensor(shape=(3,), dtype=np.float32),
    'image': of.Tensor(shape=(2, 3, 3), dtype=np.uint8, encoding=encoding),
    'wrist_image': of.Image(shape=(2, 3, 3), encoding_format='png'),
  }}  # fmt: skip
  foreign.simple(
    tmp_path / 'data',
    step,
    lambda e, t: {
      'observation': {
        'state': foreign.numbers(e, foreign.LENGTHS[e], 3)[t],
        'image': foreign.pixels(e, t),
        'wrist_image': foreign.pixels(e, t),
      }
    },
    container=container,
  )
  found = index.load(tmp_path / 'data', {})
  assert_numbers(found)
  assert_pixels(found, 'head')
  assert_pixels(found, 'left_wrist')
  assert isinstance(found.image('head', 0), np.ndarray)


def test_an_image_of_no_bytes_is_missing(small):
  path = shard(small, 1)
  (record,) = tfrecord.walk(path)
  example = tf.train.Example.FromString(bytes(record.payload))
  example.features.feature['steps/observation/image'].bytes_list.value[1] = b''
  with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(example.SerializeToString())
  found = index.load(small, {})
  assert [found.image('head', row) is None for row in range(5, 8)] == [False, True, False]
  np.testing.assert_array_equal(image_codec.decode(found.image('head', 7)), foreign.pixels(2, 2))


def test_lists_of_a_fixed_length_are_numbers(tmp_path):
  of = foreign.tfds_features()
  step = {'observation': {'state': of.Sequence(np.float32, length=3)}}
  foreign.simple(
    tmp_path / 'data',
    step | {'points': of.Sequence(np.float32)},
    lambda e, t: {
      'observation': {'state': foreign.numbers(e, foreign.LENGTHS[e], 3)[t]},
      'points': [1.0] * t,
    },
  )
  assert_numbers(index.load(tmp_path / 'data', {}))
  with pytest.raises(ValueError, match='action: steps/points: found ragged'):
    index.load(tmp_path / 'data', {'action': 'points'})


def test_pictures_kept_as_bytes_in_a_text_are_read_in_place(tmp_path):
  foreign.simple(
    tmp_path / 'data',
    {'image': foreign.tfds_features().Text()},
    lambda e, t: {'image': foreign.png(foreign.pixels(e, t))},
  )
  found = index.load(tmp_path / 'data', {})
  assert_pixels(found)
  assert not (next(tmp_path.glob('.data.index-*')) / 'images.bin').stat().st_size


def test_the_reward_is_there_only_if_it_is_mapped(golden, tmp_path):
  assert golden.reward is None
  found = index.load(DATASET, {'reward': 'reward'}, cache=tmp_path)
  last = found.boundaries[1:] - 1
  expected = np.zeros(len(found))
  expected[last] = [episode['last_step']['reward'] for episode in EXPECTED]
  np.testing.assert_array_equal(found.reward, expected)


def test_many_threads_read_the_same_images_with_few_files_open(tmp_path, monkeypatch):
  monkeypatch.setattr(index, '_OPEN_FILES', 1)
  found = index.load(DATASET, {}, cache=tmp_path)
  wanted = [(camera, row) for row in range(len(found)) for camera in found.cameras]
  expected = [found.image(*place) for place in wanted]
  order = np.random.default_rng(0).permutation(len(wanted) * 4) % len(wanted)
  before = len(os.listdir('/proc/self/fd'))
  with futures.ThreadPoolExecutor(8) as pool:
    images = pool.map(lambda place: found.image(*wanted[place]), order)
    assert all(image == expected[place] for image, place in zip(images, order, strict=True))
  assert len(os.listdir('/proc/self/fd')) <= before + 1


# What is damaged


def regions(path):
  """{part of the second record: a byte in it}."""
  _, record = tfrecord.walk(path)
  values = wire.parse(record.payload)
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
  flip(shard(small), regions(shard(small))[region])
  with pytest.raises(ValueError, match=f'{shard(small)}, record 1, episode 1: .* do not match'):
    index.load(small, {})
  assert not indices(small)
  found = index.load(small, {}, on_error='skip')
  assert_numbers(found, episodes=(0, 2))
  assert_pixels(found, episodes=(0, 2))
  assert len(found.skipped) == 1
  assert [entry.record for entry in found.episodes()] == [0, 0]


@pytest.mark.parametrize('place', range(12))
def test_a_flipped_bit_in_a_length_or_its_checksum_loses_one_episode(place, small):
  flip(shard(small), place)
  with pytest.raises(ValueError, match='record 0, episode 0: its length at byte 0'):
    index.load(small, {})
  found = index.load(small, {}, on_error='skip')
  assert_numbers(found, episodes=(1, 2))
  assert_pixels(found, episodes=(1, 2))
  assert len(found.skipped) == 1


def test_any_byte_that_changes_is_reported_once_with_file_record_and_episode(small):
  layout = features.read(small)
  paths = mapping.resolve(layout.leaves, {})
  path = shard(small)
  data = path.read_bytes()
  starts = [record.offset - 12 for record in tfrecord.walk(path)]
  for position in range(len(data)):
    path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
    reads = records.read(layout, layout.splits['train'], paths)
    (problem,) = [read.problem for read in reads if read.problem]
    number = int(position >= starts[1])
    assert problem.startswith(f'{path}, record {number}, episode {number}: ')


def test_a_truncated_shard_is_named_and_its_whole_episodes_are_kept(small):
  path = shard(small)
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(ValueError, match=f'{path}, record 1, episode 1: the file ends'):
    index.load(small, {})
  assert_numbers(index.load(small, {}, on_error='skip'), episodes=(0, 2))


def test_a_shard_cut_between_records_is_noticed_by_their_number(small):
  path = shard(small)
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
  assert_numbers(index.load(tmp_path / 'data', {}, on_error='skip'), episodes=(2,))


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
  assert_numbers(found, episodes=(0, 1))
  assert len(found.skipped) == 1


def test_a_split_without_shards_is_refused(small):
  info = json.loads((small / 'dataset_info.json').read_text())
  del info['splits'][0]['shardLengths']
  (small / 'dataset_info.json').write_text(json.dumps(info))
  with pytest.raises(ValueError, match="found no shardLengths of the split 'train'"):
    index.load(small, {})


def test_a_dataset_with_nothing_left_is_refused(small):
  for number in (0, 1):
    shard(small, number).write_bytes(shard(small, number).read_bytes()[:40])
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
  os.truncate(shard(small), 100)
  with pytest.raises(OSError, match=f'{shard(small)}: found .* has changed since'):
    found.image('head', 3)


# When it is built


def test_tensorflow_is_not_needed(small, tmp_path):
  foreign.simple(tmp_path / 'other', container='array_record')
  code = (
    'import sys; from aloe_jax.data import index;'
    '[index.load(path, {}) for path in sys.argv[1:]];'
    'assert not any(name in sys.modules for name in ("tensorflow", "tensorflow_datasets"))'
  )
  subprocess.run([sys.executable, '-c', code, str(small), str(tmp_path / 'other')], check=True)


def test_an_index_is_built_once_and_beside_the_dataset(small):
  steps = []
  index.load(small, {}, progress=steps.append)
  assert steps == [4, 5, 8]
  assert_numbers(index.load(small, {}, progress=steps.append))
  assert steps == [4, 5, 8]
  (name,) = indices(small)
  assert name.startswith('.small.index-')  # hidden from a user's small*
  assert sorted(path.name for path in small.parent.iterdir()) == [name, 'small']


def test_an_index_moves_with_its_dataset(small, tmp_path):
  index.load(small, {})
  (tmp_path / 'elsewhere').mkdir()
  for name in ('small', *indices(small)):
    (tmp_path / name).rename(tmp_path / 'elsewhere' / name)
  steps = []
  found = index.load(tmp_path / 'elsewhere/small', {}, progress=steps.append)
  assert_pixels(found)
  assert not steps


def test_another_index_is_built_when_a_file_or_the_mapping_changes(small):
  index.load(small, {})
  index.load(small, {'images': None})
  assert len(indices(small)) == 2
  os.utime(shard(small), ns=(0, 0))
  index.load(small, {})
  assert len(indices(small)) == 3
  fields = small / 'features.json'
  fields.write_text(fields.read_text() + '\n')
  index.load(small, {})
  assert len(indices(small)) == 4
  index.load(small, {}, on_error='skip')
  assert len(indices(small)) == 5


def test_a_build_that_is_interrupted_leaves_nothing(small):
  def interrupt(steps):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    index.load(small, {}, progress=interrupt)
  assert [path.name for path in small.parent.iterdir()] == ['small']


def test_what_a_killed_build_leaves_is_never_read(small):
  code = (
    'import os, sys; from aloe_jax.data import index;'
    'index.load(sys.argv[1], {}, progress=lambda steps: os._exit(9))'
  )
  assert subprocess.run([sys.executable, '-c', code, str(small)]).returncode == 9
  assert len(indices(small)) == 1
  assert_numbers(index.load(small, {}))
  assert len(indices(small)) == 2


def test_an_index_that_lost_its_last_file_is_built_again(small):
  index.load(small, {})
  (name,) = indices(small)
  (small.parent / name / 'index.json').unlink()
  (small.parent / name / 'state.npy').write_bytes(b'')
  assert_numbers(index.load(small, {}))
  assert indices(small) == [name]


def test_of_two_processes_that_build_at_once_the_slower_reads_what_the_faster_wrote(small):
  def build_too(steps):
    if steps == 4:
      index.load(small, {})

  assert_numbers(index.load(small, {}, progress=build_too))
  assert len(indices(small)) == 1
