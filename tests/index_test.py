"""Any step of any dataset is found where TFDS wrote it."""

from concurrent import futures
import hashlib
import os

import foreign
import golden_rlds
import numpy as np
import pytest
import tensorflow as tf

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.data import tfrecord

DEMO, POLICY, HUMAN = types.Source


@pytest.fixture(scope='module')
def golden(tmp_path_factory):
  return index.load(golden_rlds.DATASET, {}, cache=tmp_path_factory.mktemp('cache'))


def test_the_golden_dataset_is_read_as_it_was_recorded(golden):
  lengths = [episode['length'] for episode in golden_rlds.EXPECTED]
  assert golden.boundaries.tolist() == np.cumsum([0, *lengths]).tolist()
  assert golden.cameras == types.CAMERAS
  for found, expected in zip(golden.episodes(), golden_rlds.EXPECTED, strict=True):
    assert found.file == expected['file']
    assert {f'episode_metadata/{k}': v for k, v in found.metadata.items()} == expected['metadata']
    for row, step in ((found.start, 'first_step'), (found.stop - 1, 'last_step')):
      np.testing.assert_array_equal(
        golden.state[row], np.float32(expected[step]['observation/state'])
      )
      np.testing.assert_array_equal(golden.action[row], np.float32(expected[step]['action']))
      assert golden.prompts[golden.prompt[row]] == expected[step]['language_instruction']
    for camera, field in rlds.CAMERA_FIELDS.items():
      images = [golden.image(camera, row) for row in (found.start, found.stop - 1)]
      digests = [hashlib.sha256(image).hexdigest()[:16] for image in images]
      assert digests == expected['stored_image_sha256'][f'steps/observation/{field}']


def test_sources_and_ends_are_those_of_the_recording(golden):
  sources = {'demo': DEMO, 'rollout': POLICY, 'intervention': HUMAN}
  for found, expected in zip(golden.episodes(), golden_rlds.EXPECTED, strict=True):
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
        state=rng.normal(size=(length, types.PROPRIO_SIZE)).astype(np.float32),
        features=rng.normal(size=(length, 2, 4)).astype(np.float32),
        images={'head': rng.integers(0, 256, (length, 16, 16, 3), np.uint8)},
        action=rng.normal(size=(length, 5)).astype(np.float32),
        source=source,
        end_reason=end_reason,
        prompt=f'task {number}',
        metadata={'number': number, 'success': number == 0},
      )
    )
  rlds.write(tmp_path / 'data', episodes, name='ours')
  found = index.load(tmp_path / 'data', {})
  written = rlds.read(tmp_path / 'data')
  for entry, expected in zip(found.episodes(), written, strict=True):
    rows = slice(entry.start, entry.stop)
    np.testing.assert_array_equal(found.state[rows], expected.state)
    np.testing.assert_array_equal(found.action[rows], expected.action)
    np.testing.assert_array_equal(found.features[rows], expected.features)
    np.testing.assert_array_equal(found.source[rows], expected.source)
    np.testing.assert_array_equal(found.end_reason[rows], expected.end_reason)
    assert {found.prompts[row] for row in found.prompt[rows]} == {expected.prompt}
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
  foreign.assert_numbers(found)
  foreign.assert_pixels(found, 'left_wrist')
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
  foreign.assert_numbers(found)
  foreign.assert_pixels(found, 'head')
  foreign.assert_pixels(found, 'left_wrist')
  assert isinstance(found.image('head', 0), np.ndarray)


def test_an_image_of_no_bytes_is_missing(small):
  path = foreign.shard(small, 1)
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
  foreign.assert_numbers(index.load(tmp_path / 'data', {}))
  with pytest.raises(ValueError, match='action: steps/points: found ragged'):
    index.load(tmp_path / 'data', {'action': 'points'})


def test_images_kept_as_bytes_in_a_text_are_read_in_place(tmp_path):
  foreign.simple(
    tmp_path / 'data',
    {'image': foreign.tfds_features().Text()},
    lambda e, t: {'image': foreign.png(foreign.pixels(e, t))},
  )
  found = index.load(tmp_path / 'data', {})
  foreign.assert_pixels(found)
  assert not (next(tmp_path.glob('.data.index-*')) / 'images.bin').stat().st_size


def test_the_reward_is_there_only_if_it_is_mapped(golden, tmp_path):
  assert golden.reward is None
  found = index.load(golden_rlds.DATASET, {'reward': 'reward'}, cache=tmp_path)
  last = found.boundaries[1:] - 1
  expected = np.zeros(len(found))
  expected[last] = [episode['last_step']['reward'] for episode in golden_rlds.EXPECTED]
  np.testing.assert_array_equal(found.reward, expected)


def test_many_threads_read_the_same_images_with_few_files_open(tmp_path, monkeypatch):
  monkeypatch.setattr(index, '_OPEN_FILES', 1)
  found = index.load(golden_rlds.DATASET, {}, cache=tmp_path)
  wanted = [(camera, row) for row in range(len(found)) for camera in found.cameras]
  expected = [found.image(*place) for place in wanted]
  order = np.random.default_rng(0).permutation(len(wanted) * 4) % len(wanted)
  before = len(os.listdir('/proc/self/fd'))
  with futures.ThreadPoolExecutor(8) as pool:
    images = pool.map(lambda place: found.image(*wanted[place]), order)
    assert all(image == expected[place] for image, place in zip(images, order, strict=True))
  assert len(os.listdir('/proc/self/fd')) <= before + 1
