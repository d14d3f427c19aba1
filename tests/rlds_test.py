"""Episodes survive the disk, open with plain TFDS, and wrong ones are named."""

import dataclasses
import io
import json
import pathlib
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import foreign
import golden_rlds
import numpy as np

from aloe_jax import types
from aloe_jax.data import example_proto
from aloe_jax.data import rlds
from aloe_jax.data import tfrecord


def make_episode(index=0, length=5, **changes):
  """The policy acts for two steps, then a human takes over and succeeds."""
  rng = np.random.default_rng(index)
  corners = rng.integers(0, 256, (len(rlds.CAMERA_FIELDS), length, 2, 3, 3), dtype=np.uint8)
  frames = np.repeat(np.repeat(corners, 16, axis=2), 16, axis=3)  # 32 x 48, flat 16 x 16 blocks
  source = np.full(length, types.Source.HUMAN, np.int8)
  source[:2] = types.Source.POLICY
  end_reason = np.zeros(length, np.int8)
  end_reason[1:2] = types.EndReason.TAKEOVER
  end_reason[-1] = types.EndReason.SUCCESS
  episode = rlds.Episode(
    state=rng.normal(size=(length, types.PROPRIO_SIZE)).astype(np.float32),
    features=rng.normal(size=(length, 3, 4)).astype(np.float32),
    images=dict(zip(rlds.CAMERA_FIELDS, frames, strict=True)),
    action=rng.normal(size=(length, 14)).astype(np.float32),
    source=source,
    end_reason=end_reason,
    prompt='fold the towel',
    metadata={'episode_id': index, 'success': True, 'speed': 0.25, 'task': 'fold_laundry'},
  )
  return dataclasses.replace(episode, **changes)


def steps_with(value, at, like):
  """A copy of an array with the value at one step."""
  array = like.copy()
  array[at] = value
  return array


def tfds_example(episode):
  """What TFDS is given to write the episode as it is on disk."""
  source = {source: text for text, source in rlds.SOURCE_TEXT.items()}
  end = {reason: text for text, reason in rlds.END_REASON_TEXT.items()}
  last = len(episode) - 1
  steps = [
    {
      'observation': {
        'state': episode.state[t],
        'features': episode.features[t],
        **{
          rlds.CAMERA_FIELDS[name]: io.BytesIO(frames[t]) for name, frames in episode.images.items()
        },
      },
      'action': episode.action[t],
      'reward': float(t == last),
      'discount': float(t < last),
      'is_first': t == 0,
      'is_last': t == last,
      'is_terminal': t == last,
      'language_instruction': episode.prompt,
      'source': source[episode.source[t]],
      'end_reason': end[episode.end_reason[t]],
    }
    for t in range(len(episode))
  ]
  return {'steps': steps, 'episode_metadata': dict(episode.metadata)}


def stored(values):
  return bytes(values.payload[values.start : values.stop])


class RldsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / 'round_0'

  def assert_same_numbers(self, found, expected):
    np.testing.assert_array_equal(found.state, expected.state)
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_array_equal(found.source, expected.source)
    np.testing.assert_array_equal(found.end_reason, expected.end_reason)
    self.assertEqual(found.prompt, expected.prompt)
    self.assertEqual(found.metadata, expected.metadata)

  def test_what_is_written_is_read_back_in_order(self):
    episodes = [make_episode(index, length=3 + index) for index in range(4)]
    rlds.write(self.directory, iter(episodes), name='towels')
    for found, expected in zip(rlds.read(self.directory, images=True), episodes, strict=True):
      self.assert_same_numbers(found, expected)
      np.testing.assert_array_equal(found.features, expected.features)
      self.assertEqual(found.source.dtype, np.int8)
      self.assertEqual(list(found.images), list(rlds.CAMERA_FIELDS))
      for camera, frames in expected.images.items():
        np.testing.assert_allclose(found.images[camera].astype(int), frames, atol=3)

  def test_episodes_without_images_and_features_stay_without_them(self):
    rlds.write(self.directory, [make_episode(images=None, features=None)], name='towels')
    (found,) = rlds.read(self.directory, images=True)
    self.assertIsNone(found.images)
    self.assertIsNone(found.features)

  def test_order_is_kept_across_shards(self):
    episodes = [make_episode(index, length=1 + index % 3, images=None) for index in range(70)]
    rlds.write(self.directory, episodes, name='towels')
    self.assertLen(list(self.directory.glob('*.tfrecord-*')), 3)
    found = rlds.read(self.directory)
    self.assertEqual([episode.metadata['episode_id'] for episode in found], list(range(70)))

  def test_encoded_images_keep_their_bytes(self):
    rlds.write(self.directory, [make_episode()], name='towels')
    (first,) = rlds.read(self.directory)
    again = self.directory.with_name('again')
    rlds.write(again, [first], name='towels')
    (second,) = rlds.read(again)
    for camera in rlds.CAMERA_FIELDS:
      self.assertEqual(list(first.images[camera]), list(second.images[camera]))
      self.assertStartsWith(first.images[camera][0], b'\xff\xd8')

  def test_plain_tfds_reads_the_same_steps(self):
    episode = make_episode()
    rlds.write(self.directory, [episode], name='towels')
    _, tfds = foreign.load_tensorflow()
    builder = tfds.builder_from_directory(self.directory)
    self.assertEqual(builder.name, 'towels')
    self.assertEqual(builder.info.splits['train'].num_examples, 1)
    (example,) = builder.as_dataset(split='train')
    steps = list(example['steps'].as_numpy_iterator())
    self.assertLen(steps, 5)
    for t, step in enumerate(steps):
      np.testing.assert_array_equal(step['observation']['state'], episode.state[t])
      np.testing.assert_array_equal(step['observation']['features'], episode.features[t])
      np.testing.assert_array_equal(step['action'], episode.action[t])
      image = step['observation']['left_wrist_image'].astype(int)
      np.testing.assert_allclose(image, episode.images['left_wrist'][t], atol=3)
      self.assertEqual(step['language_instruction'], b'fold the towel')
    self.assertEqual([step['source'] for step in steps], [b'policy'] * 2 + [b'human'] * 3)
    self.assertEqual(
      [step['end_reason'] for step in steps], [b'', b'takeover', b'', b'', b'success']
    )
    self.assertEqual([step['reward'] for step in steps], [0, 0, 0, 0, 1])
    self.assertEqual([step['discount'] for step in steps], [1, 1, 1, 1, 0])
    self.assertEqual([step['is_first'] for step in steps], [True] + [False] * 4)
    self.assertEqual([step['is_last'] for step in steps], [False] * 4 + [True])
    self.assertEqual([step['is_terminal'] for step in steps], [False] * 4 + [True])
    self.assertEqual(example['episode_metadata']['speed'].numpy(), 0.25)

  def test_what_tfds_says_of_such_episodes_is_on_disk_to_the_byte(self):
    episodes = [make_episode(index, length=2) for index in range(3)]
    rlds.write(self.directory, episodes, name='towels')
    theirs = self.directory.with_name('theirs')
    of = foreign.load_tensorflow()[1].features
    image = of.Image(shape=(32, 48, 3), encoding_format='jpeg')
    observation = dict.fromkeys(rlds.CAMERA_FIELDS.values(), image) | {
      'state': of.Tensor(shape=(types.PROPRIO_SIZE,), dtype=np.float32),
      'features': of.Tensor(shape=(3, 4), dtype=np.float32),
    }
    steps = {
      'observation': observation,
      'action': of.Tensor(shape=(14,), dtype=np.float32),
      **dict.fromkeys(('reward', 'discount'), np.float32),
      **dict.fromkeys(('is_first', 'is_last', 'is_terminal'), np.bool_),
      **{name: of.Text() for name in ('language_instruction', 'source', 'end_reason')},
    }
    metadata = {'episode_id': np.int64, 'success': np.bool_, 'speed': np.float32, 'task': of.Text()}
    examples = [tfds_example(episode) for episode in rlds.read(self.directory)]
    foreign.write(theirs, steps, examples, episode={'episode_metadata': metadata}, per_shard=32)
    for name in ('features.json', 'dataset_info.json'):
      expected = (theirs / name).read_text().replace('foreign', 'towels')
      expected = expected.replace('elsewhere', 'aloe_jax')
      self.assertEqual((self.directory / name).read_text(), expected)
    ours, theirs = ([*tfrecord.walk(foreign.shard(path))] for path in (self.directory, theirs))
    for record, other in zip(ours, theirs, strict=True):
      found, expected = example_proto.parse(record.payload), example_proto.parse(other.payload)
      self.assertEqual(found.keys(), expected.keys())
      for name, values in found.items():
        self.assertEqual(values.kind, expected[name].kind)
        self.assertEqual(stored(values), stored(expected[name]), name)

  def test_names_and_numbers_of_any_kind_arrive_in_plain_tfds(self):
    metadata = {'steps': -7, 'image': 2**62, 'größe': -1.5, 'leer': '', 'no': np.bool_(False)}
    episode = make_episode(images=None, features=None, length=1, metadata=metadata)
    rlds.write(self.directory, [episode], name='towels')
    builder = foreign.load_tensorflow()[1].builder_from_directory(self.directory)
    (found,) = (example['episode_metadata'] for example in builder.as_dataset(split='train'))
    self.assertEqual(
      {name: value.numpy() for name, value in found.items()},
      {'steps': -7, 'image': 2**62, 'größe': -1.5, 'leer': b'', 'no': False},
    )
    self.assertEqual(rlds.read(self.directory)[0].metadata, metadata)

  @parameterized.parameters(types.EndReason.TIMEOUT, types.EndReason.CUT)
  def test_an_undecided_end_is_not_terminal_on_disk(self, end_reason):
    ends = np.array([0, end_reason], np.int8)
    episode = make_episode(length=2, images=None, end_reason=ends)
    rlds.write(self.directory, [episode], name='towels')
    _, tfds = foreign.load_tensorflow()
    dataset = tfds.builder_from_directory(self.directory).as_dataset(split='train')
    (steps,) = (list(example['steps'].as_numpy_iterator()) for example in dataset)
    self.assertEqual([step['is_terminal'] for step in steps], [False, False])
    self.assertEqual([step['discount'] for step in steps], [1, 1])
    self.assertEqual([step['reward'] for step in steps], [0, 0])

  def test_an_existing_directory_is_never_overwritten(self):
    rlds.write(self.directory, [make_episode(0)], name='towels')
    with self.assertRaisesRegex(FileExistsError, 'round_0 exists already.*choose another'):
      rlds.write(self.directory, [make_episode(1)], name='towels')
    self.assertEqual(rlds.read(self.directory)[0].metadata['episode_id'], 0)

  def test_a_writer_that_fails_half_way_leaves_nothing(self):
    def episodes():
      yield make_episode(0)
      raise RuntimeError('the robot lost power')

    with self.assertRaisesRegex(RuntimeError, 'lost power'):
      rlds.write(self.directory, episodes(), name='towels')
    self.assertEmpty(list(self.directory.parent.iterdir()))

  @parameterized.named_parameters(
    ('nan_action', 'action', (np.nan, 3), r'episode 1, step 3: action: found NaN'),
    ('infinite_state', 'state', (np.inf, 2), r'episode 1, step 2: state: found NaN or inf'),
    ('unknown_source', 'source', (7, 4), r'episode 1, step 4: source: found 7.*types\.Source'),
    ('unknown_end', 'end_reason', (9, 1), r'step 1: end_reason: found 9.*types\.EndReason'),
  )
  def test_a_wrong_value_is_named_before_it_is_written(self, field, value_at, message):
    right = make_episode(1)
    wrong = dataclasses.replace(right, **{field: steps_with(*value_at, getattr(right, field))})
    with self.assertRaisesRegex(ValueError, message):
      rlds.write(self.directory, [make_episode(0), wrong], name='towels')
    self.assertFalse(self.directory.exists())

  @parameterized.named_parameters(
    ('flat_state', {'state': np.zeros(5)}, r'state: found \[5\], expected \[5, any\]'),
    ('narrow_state', {'state': np.zeros((5, 14))}, r'state: found \(14,\), expected \(32,\) as in'),
    ('flat_action', {'action': np.zeros(5)}, r'action: found \[5\], expected \[5, any\]'),
    ('short_source', {'source': np.zeros(4, np.int8)}, r'source: found \[4\], expected \[5\]'),
    ('no_steps', {'action': np.zeros((0, 14))}, 'the episode has no steps'),
    ('no_width', {'action': np.zeros((5, 0))}, r'action: found \[5, 0\], which holds no number'),
    ('complex_state', {'state': np.zeros((5, 32), complex)}, 'state: found complex128, expected r'),
    ('text_action', {'action': np.full((5, 14), 'a')}, 'action: found <U1, expected real numbers'),
    (
      'too_large',
      {'state': np.full((5, 32), 1e300)},
      'step 0: state: found a number too large for',
    ),
    ('bytes_prompt', {'prompt': b'fold'}, "prompt: found b'fold', a bytes; expected one str"),
    ('no_prompt', {'prompt': None}, 'prompt: found None, a NoneType; expected one str'),
    ('other_width', {'action': np.zeros((5, 7))}, r'steps/action: found \(7,\), expected \(14,\)'),
    ('no_features', {'features': None}, r'features: found nothing, expected \(3, 4\)'),
    ('other_metadata', {'metadata': {}}, 'episode_metadata/episode_id: found nothing'),
    ('list_metadata', {'metadata': {'tags': []}}, "metadata 'tags': found a list, expected a bool"),
    ('slash_metadata', {'metadata': {'a/b': 1}}, "metadata 'a/b': found a slash.*rename it"),
    ('unknown_camera', {'images': {'chest': []}}, "camera 'chest': expected one of"),
    ('few_images', {'images': {'head': [b'']}}, 'found 1, expected one a step: 5'),
    ('no_jpeg', {'images': {'head': [b'GIF'] * 5}}, "'head': step 0: found neither JPEG nor PNG"),
    ('float_images', {'images': {'head': np.zeros((5, 8, 8, 3))}}, 'found float64.*expected uint8'),
  )
  def test_an_episode_unlike_the_first_is_named(self, changes, message):
    wrong = make_episode(1, **changes)
    with self.assertRaisesRegex(ValueError, f'round_0, episode 1.*{message}'):
      rlds.write(self.directory, [make_episode(0), wrong], name='towels')

  def test_writing_nothing_is_refused(self):
    with self.assertRaisesRegex(ValueError, 'there is no episode to write'):
      rlds.write(self.directory, [], name='towels')
    with self.assertRaisesRegex(ValueError, "name: found 'two words'"):
      rlds.write(self.directory, [make_episode()], name='two words')

  def test_a_missing_directory_is_named(self):
    with self.assertRaisesRegex(FileNotFoundError, 'round_0: there is no such directory'):
      rlds.read(self.directory)

  def test_a_folder_above_a_dataset_points_to_it(self):
    with self.assertRaisesRegex(ValueError, 'is not a TFDS dataset.*pass .*0.1.0'):
      rlds.read(golden_rlds.DATASET.parent)

  def test_a_missing_split_or_shard_is_named(self):
    with self.assertRaisesRegex(ValueError, r"split 'test': expected one of \['train', 'val'\]"):
      rlds.read(golden_rlds.DATASET, split='test')
    with self.assertRaisesRegex(ValueError, 'val.tfrecord-00000-of-00002: the shard is mi'):
      rlds.read(golden_rlds.DATASET, split='val')

  @parameterized.parameters(
    ('"action":', '"motion":', 'action: found no field with a name in use; choose from .*motion'),
    ('"state":', '"joints":', 'state: found no field with a name in use; choose from .*joints'),
  )
  def test_a_missing_field_is_named_with_those_there_are(self, found, renamed, message):
    rlds.write(self.directory, [make_episode(images=None)], name='towels')
    path = self.directory / 'features.json'
    path.write_text(path.read_text().replace(found, renamed))
    with self.assertRaisesRegex(ValueError, message):
      rlds.read(self.directory)

  @parameterized.parameters(
    (
      b'takeover',
      b'handover',
      "step 1: steps/end_reason: found 'handover', expected one of .*'takeover'",
    ),
    (b'policy', b'robots', "step 0: steps/source: found 'robots', expected one of .'demo'"),
  )
  def test_an_unknown_text_on_disk_is_named(self, text, replacement, message):
    rlds.write(self.directory, [make_episode(images=None)], name='towels')
    self.rewrite_records(lambda record: record.replace(text, replacement))
    with self.assertRaisesRegex(ValueError, f'episode 0, {message}'):
      rlds.read(self.directory)

  def rewrite_records(self, change):
    (path,) = self.directory.glob('*.tfrecord-*')
    records = [change(bytes(record.payload)) for record in tfrecord.walk(path)]
    path.write_bytes(b''.join(tfrecord.framed(record) for record in records))

  def test_nan_on_disk_is_named(self):
    mark = np.float32(1234.5)
    episode = make_episode(images=None)
    episode.action[3, 7] = mark
    rlds.write(self.directory, [episode], name='towels')
    nan = np.float32(np.nan).tobytes()
    self.rewrite_records(lambda record: record.replace(mark.tobytes(), nan))
    with self.assertRaisesRegex(ValueError, 'record 0, episode 0, step 3: steps/action: found NaN'):
      rlds.read(self.directory)

  def test_a_corrupt_shard_is_named_with_the_episode(self):
    rlds.write(self.directory, [make_episode(i, images=None) for i in range(3)], name='towels')
    (path,) = self.directory.glob('*.tfrecord-*')
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, r'tfrecord-00000, record 1, episode 1: .* checksum'):
      rlds.read(self.directory)


class OtherLaboratoriesDataTest(absltest.TestCase):
  """A dataset in Open X-Embodiment's layout, written by TFDS; its numbers are known."""

  def test_numbers_are_read(self):
    episodes = rlds.read(golden_rlds.DATASET, images=True)
    self.assertEqual([e.metadata['episode_id'] for e in episodes], [5, 0, 3, 1, 2, 4])
    self.assertEqual([len(e) for e in episodes], [27, 24, 51, 30, 12, 18])
    for episode in episodes:
      identifier, t = episode.metadata['episode_id'], np.arange(len(episode))
      np.testing.assert_array_equal(episode.state[:, 0], identifier)
      np.testing.assert_array_equal(episode.state[:, 1], t)
      np.testing.assert_array_equal(episode.state[:, 14:], 0)
      expected = -0.1 + 0.2 * np.arange(14) / 13 + 0.01 * t[:, None]
      np.testing.assert_allclose(episode.action, expected, atol=1e-6)
      for number, camera in enumerate(rlds.CAMERA_FIELDS):
        self.assertEqual(episode.images[camera].shape, (len(episode), 96, 96, 3))
        colour = episode.images[camera][:, 2:8, 2:8].mean(axis=(1, 2))
        red, green = np.full(len(episode), 20 + 12 * identifier), 20 + 3 * t
        blue = np.full(len(episode), 60 + 60 * number)
        np.testing.assert_allclose(colour, np.stack([red, green, blue], axis=1), atol=3)

  def test_sources_and_ends_come_from_the_metadata(self):
    by_id = {e.metadata['episode_id']: e for e in rlds.read(golden_rlds.DATASET)}
    sources = {i: set(e.source) for i, e in by_id.items()}
    demo, policy, human = ({source} for source in types.Source)
    self.assertEqual(sources, {0: demo, 3: demo, 1: policy, 4: policy, 2: human, 5: human})
    for identifier, episode in by_id.items():
      np.testing.assert_array_equal(episode.end_reason[:-1], types.EndReason.NONE)
      failed = identifier in (2, 5)
      end = types.EndReason.FAILURE if failed else types.EndReason.SUCCESS
      self.assertEqual(episode.end_reason[-1], end)
    self.assertEqual(by_id[5].prompt, 'pack the phone into the box')

  def test_without_a_success_flag_an_episode_ends_by_a_cut(self):
    directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / 'no_flag'
    shutil.copytree(golden_rlds.DATASET, directory)
    path = directory / 'features.json'
    features = json.loads(path.read_text())
    del features['featuresDict']['features']['episode_metadata']
    path.write_text(json.dumps(features))
    for episode in rlds.read(directory):
      self.assertEqual(episode.metadata, {})
      np.testing.assert_array_equal(episode.source, types.Source.DEMO)
      self.assertEqual(episode.end_reason[-1], types.EndReason.CUT)


if __name__ == '__main__':
  absltest.main()
