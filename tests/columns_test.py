"""A record means here what its dataset says, and a wrong one is named to the step."""

import foreign
import numpy as np
import pytest
import tensorflow as tf

from aloe_jax import types
from aloe_jax.data import columns
from aloe_jax.data import mapping
from aloe_jax.data import schema
from aloe_jax.data import tfrecord

DEMO, POLICY, HUMAN = types.Source
NONE, SUCCESS, FAILURE, _, TAKEOVER, CUT = types.EndReason
NUMBER = schema.Leaf('tensor', 'float32', (), 'none', True)
FLAG = schema.Leaf('tensor', 'bool', (), 'none', True)
TEXT = schema.Leaf('text', 'string', (), 'none', True)
EPISODE_TEXT = schema.Leaf('text', 'string', (), 'none', False)
LABEL = schema.Leaf('label', 'int64', (), 'none', True, ('Demo', 'policy', 'human'))
PNG = b'\x89PNG\r\n\x1a\n...'
EPISODE_FLAG = schema.Leaf('tensor', 'bool', (), 'none', False)
LEAVES = {
  'steps/observation/state': schema.Leaf('tensor', 'float32', (2,), 'none', True),
  'steps/action': schema.Leaf('tensor', 'float64', (1,), 'none', True),
}
FIELDS = {
  'steps/observation/state': [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
  'steps/action': [7.0, 8.0, 9.0],
}


def feature(values):
  if isinstance(values[0], bytes):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
  if isinstance(values[0], float):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
  return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def read(leaves=None, fields=None, wanted=None):
  """An episode of three steps: the fields above and more of them."""
  leaves = LEAVES | (leaves or {})
  fields = {name: feature(values) for name, values in (FIELDS | (fields or {})).items()}
  example = tf.train.Example(features=tf.train.Features(feature=fields))
  paths = mapping.resolve(leaves, wanted or {})
  return columns.read(example.SerializeToString(), leaves, paths, 'x, record 0')


@pytest.fixture(scope='module')
def every_number(tmp_path_factory):
  """A dataset with every kind of number that TFDS stores; its directory and what TFDS reads."""
  _, tfds = foreign.load_tensorflow()
  tensor, directory = tfds.features.Tensor, tmp_path_factory.mktemp('numbers') / 'data'
  step = {
    'float64': tensor(shape=(2,), dtype=np.float64),
    'float16': tensor(shape=(2,), dtype=np.float16),
    'matrix': tensor(shape=(2, 3), dtype=np.float32),
    'int32': tensor(shape=(2,), dtype=np.int32),
    'uint8': tensor(shape=(3,), dtype=np.uint8),
    'bool': tensor(shape=(2,), dtype=np.bool_),
    'scalar': np.float64,
    'bytes': tensor(shape=(2,), dtype=np.float32, encoding='bytes'),
    'zlib': tensor(shape=(2,), dtype=np.int16, encoding='zlib'),
  }

  def values(e, t):
    return {
      'float64': np.array([1 / 3, e + t / 7]),
      'float16': np.array([0.5, t], np.float16),
      'matrix': np.arange(6, dtype=np.float32).reshape(2, 3) + t,
      'int32': np.array([-t, 70000], np.int32),
      'uint8': np.array([0, t, 255 - t], np.uint8),
      'bool': np.array([t % 2, 1], bool),
      'scalar': t / 3,
      'bytes': np.array([t, -0.25], np.float32),
      'zlib': np.array([t, -300], np.int16),
    }

  foreign.simple(directory, step, values)
  dataset = tfds.builder_from_directory(directory).as_dataset(
    split='train', read_config=tfds.ReadConfig(interleave_cycle_length=1)
  )
  return directory, [list(example['steps'].as_numpy_iterator()) for example in dataset]


@pytest.mark.parametrize(
  'name',
  ['float64', 'float16', 'matrix', 'int32', 'uint8', 'bool', 'scalar', 'bytes', 'zlib'],
)
def test_every_kind_of_number_is_read_as_tfds_reads_it(name, every_number):
  directory, episodes = every_number
  layout = schema.read(directory)
  paths = mapping.resolve(layout.leaves, {'state': [name]})
  found = [
    columns.read(record.payload, layout.leaves, paths, 'here')
    for shard in layout.splits['train']
    for record in tfrecord.walk(shard.path)
  ]
  assert [len(episode) for episode in found] == list(foreign.LENGTHS)
  for episode, steps in zip(found, episodes, strict=True):
    expected = np.float32([np.ravel(step[name]) for step in steps])
    np.testing.assert_array_equal(episode.state, expected)
    np.testing.assert_array_equal(episode.action, [step['action'] for step in steps])


def test_a_dataset_that_tells_nothing_holds_demonstrations_that_are_cut():
  found = read()
  np.testing.assert_array_equal(found.state, [[1, 2], [3, 4], [5, 6]])
  np.testing.assert_array_equal(found.action, [[7], [8], [9]])
  assert found.state.dtype == found.action.dtype == np.float32
  assert found.source.tolist() == [DEMO] * 3
  assert found.end_reason.tolist() == [NONE, NONE, CUT]
  assert found.prompt == ['', '', '']
  assert (found.reward, found.features, found.images, found.metadata) == (None, None, {}, {})


def test_flags_of_the_steps_are_not_trusted():
  flags = {'steps/is_last': FLAG, 'steps/is_terminal': FLAG}
  found = read(flags, {'steps/is_last': [1, 0, 0], 'steps/is_terminal': [1, 0, 0]})
  assert found.end_reason.tolist() == [NONE, NONE, CUT]


@pytest.mark.parametrize('success, end', [(1, SUCCESS), (0, FAILURE)])
@pytest.mark.parametrize('prefix', ['episode_metadata/', ''])
def test_an_episode_ends_by_its_success(prefix, success, end):
  found = read({f'{prefix}success': EPISODE_FLAG}, {f'{prefix}success': [success]})
  assert found.end_reason.tolist() == [NONE, NONE, end]
  assert found.metadata == {'success': bool(success)}


EPISODE_NUMBER = schema.Leaf('tensor', 'float32', (1,), 'none', False)
OUTCOME = schema.Leaf('label', 'int64', (), 'none', False, ('success', 'failure'))


@pytest.mark.parametrize(
  'name, leaf, values, end',
  [
    ('success', OUTCOME, [0], SUCCESS),
    ('success', OUTCOME, [1], FAILURE),
    ('success', EPISODE_TEXT, [b'True'], SUCCESS),
    ('success', EPISODE_NUMBER, [0.0], FAILURE),
    ('steps/success', FLAG, [0, 0, 1], SUCCESS),
    ('steps/success', FLAG, [1, 1, 0], FAILURE),
    ('steps/reward', NUMBER, [0.0, 0.0, 1.0], SUCCESS),
    ('steps/reward', NUMBER, [0.0, 0.0, 0.0], FAILURE),
  ],
)
def test_success_may_be_a_label_a_text_or_what_the_last_step_says(name, leaf, values, end):
  found = read({name: leaf}, {name: values}, {'success': name})
  assert found.end_reason.tolist() == [NONE, NONE, end]


@pytest.mark.parametrize(
  'name, leaf, values, found',
  [
    ('success', EPISODE_NUMBER, [float('nan')], 'nan'),
    ('success', EPISODE_NUMBER, [-1.0], '-1'),
    ('success', EPISODE_TEXT, [b'unknown'], "'unknown'"),
    ('steps/reward', NUMBER, [0.0, 0.0, 0.7], '0.7'),
  ],
)
def test_a_success_that_is_neither_yes_nor_no_is_refused(name, leaf, values, found):
  with pytest.raises(ValueError, match=f'{name}: found {found}, .*data.mapping.success=none'):
    read({name: leaf}, {name: values}, {'success': name})


def test_names_of_labels_count_for_sources_and_prompts():
  found = read(
    {'steps/source': LABEL, 'steps/task': LABEL},
    {'steps/source': [1, 2, 0], 'steps/task': [-1, 1, 1]},
  )
  assert found.source.tolist() == [POLICY, HUMAN, DEMO]
  assert found.prompt == ['', 'policy', 'policy']


def test_a_human_who_acts_after_the_policy_took_over_unless_ends_are_told():
  found = read({'steps/source': TEXT}, {'steps/source': [b'policy', b'human', b'policy']})
  assert found.end_reason.tolist() == [TAKEOVER, NONE, CUT]


def test_integers_beyond_63_bits_keep_their_sign():
  wide = schema.Leaf('tensor', 'uint64', (1,), 'none', True)
  found = read({'steps/action': wide}, {'steps/action': [1, -(2**62), 3]})
  np.testing.assert_array_equal(found.action[:, 0], np.float32([1, 2**64 - 2**62, 3]))


def test_metadata_that_is_no_text_does_not_stop_an_episode():
  found = read({'episode_metadata/thumbnail': EPISODE_TEXT}, {'episode_metadata/thumbnail': [PNG]})
  assert found.metadata['thumbnail'].endswith('PNG\r\n\x1a\n...')


@pytest.mark.parametrize(
  'text, source',
  [
    ('demo', DEMO),
    ('Demonstration', DEMO),
    ('autonomous', POLICY),
    ('rollout', POLICY),
    ('policy', POLICY),
    ('intervention', HUMAN),
  ],
)
def test_the_source_of_an_episode_counts_for_its_steps(text, source):
  name = 'episode_metadata/source'
  found = read({name: EPISODE_TEXT}, {name: [text.encode()]})
  assert found.source.tolist() == [source] * 3
  assert found.metadata == {'source': text}


def test_what_every_step_tells_comes_before_what_the_episode_tells():
  found = read(
    {'steps/source': TEXT, 'steps/end_reason': TEXT, 'steps/intervention': FLAG}
    | {'source': EPISODE_TEXT, 'success': EPISODE_FLAG},
    {
      'steps/source': [b'policy', b'human', b'demo'],
      'steps/end_reason': [b'takeover', b'', b'timeout'],
      'steps/intervention': [0, 0, 1],
      'source': [b'demo'],
      'success': [1],
    },
  )
  assert found.source.tolist() == [POLICY, HUMAN, DEMO]
  assert found.end_reason.tolist() == [TAKEOVER, NONE, types.EndReason.TIMEOUT]


@pytest.mark.parametrize(
  'human, sources, ends',
  [
    ([0, 1, 1], [POLICY, HUMAN, HUMAN], [TAKEOVER, NONE, SUCCESS]),
    ([1, 0, 0], [HUMAN, POLICY, POLICY], [NONE, NONE, SUCCESS]),
    ([1, 0, 1], [HUMAN, POLICY, HUMAN], [NONE, TAKEOVER, SUCCESS]),
    ([0, 0, 0], [POLICY] * 3, [NONE, NONE, SUCCESS]),
    ([1, 1, 1], [HUMAN] * 3, [NONE, NONE, SUCCESS]),
  ],
)
@pytest.mark.parametrize('text', ['rollout', 'intervention', None])
def test_a_human_who_intervenes_ends_a_fragment_of_the_policy(text, human, sources, ends):
  leaves = {'steps/is_intervention': FLAG, 'success': EPISODE_FLAG}
  fields = {'steps/is_intervention': human, 'success': [1]}
  if text is not None:
    leaves['source'], fields['source'] = EPISODE_TEXT, [text.encode()]
  found = read(leaves, fields)
  assert found.source.tolist() == sources
  assert found.end_reason.tolist() == ends


def test_a_demonstration_has_no_interventions():
  found = read(
    {'source': EPISODE_TEXT, 'steps/intervention': FLAG},
    {'source': [b'demo'], 'steps/intervention': [0, 1, 1]},
  )
  assert found.source.tolist() == [DEMO] * 3
  assert found.end_reason.tolist() == [NONE, NONE, CUT]


def test_of_several_instructions_the_first_that_is_not_empty_counts():
  first, second = 'steps/language_instruction', 'steps/language_instruction_2'
  found = read(
    {first: TEXT, second: TEXT, 'task': EPISODE_TEXT},
    {first: [b'', b'', b'fold'], second: [b'', 'gefaltet, é'.encode(), b'no'], 'task': [b'last']},
  )
  assert found.prompt == ['last', 'gefaltet, é', 'fold']


def test_a_reward_is_read_only_when_it_is_asked_for():
  leaves, fields = {'steps/reward': NUMBER}, {'steps/reward': [0.0, 0.5, 1.0]}
  assert read(leaves, fields).reward is None
  np.testing.assert_array_equal(read(leaves, fields, {'reward': 'reward'}).reward, [0, 0.5, 1])


def test_numbers_and_texts_of_the_episode_are_its_metadata():
  leaves = {
    'episode_metadata/id': schema.Leaf('tensor', 'int32', (), 'none', False),
    'episode_metadata/speed': schema.Leaf('tensor', 'float32', (), 'none', False),
    'episode_metadata/box': schema.Leaf('tensor', 'float32', (2,), 'none', False),
    'episode_metadata/file': EPISODE_TEXT,
    'other': EPISODE_TEXT,
  }
  fields = {
    'episode_metadata/id': [-3],
    'episode_metadata/speed': [0.25],
    'episode_metadata/box': [1.0, 2.0],
    'episode_metadata/file': [b'a/b'],
    'other': [b'no'],
  }
  assert read(leaves, fields).metadata == {'id': -3, 'speed': 0.25, 'file': 'a/b'}


@pytest.mark.parametrize(
  'leaves, fields, message',
  [
    ({}, {'steps/observation/state': [1.0, 2.0, 3.0, float('nan'), 5.0, 6.0]},
     'x, record 0, step 1: steps/observation/state: found NaN or infinity'),
    ({}, {'steps/action': [7.0, 8.0, float('inf')]}, 'record 0, step 2: steps/action: found NaN'),
    ({}, {'steps/observation/state': [1.0] * 5}, 'state: found 5 numbers, expected 3 steps of 2'),
    ({}, {'steps/action': [1, 2, 3]}, 'steps/action: found integers, expected floats'),
    ({'steps/source': TEXT}, {'steps/source': [b'demo', b'robot', b'demo']},
     "step 1: steps/source: found 'robot', expected one of .*'demo'"),
    ({'source': EPISODE_TEXT}, {'source': [b'bridge']}, "0: source: found 'bridge'.*to none"),
    ({'steps/end_reason': TEXT}, {'steps/end_reason': [b'', b'', b'won']},
     "step 2: steps/end_reason: found 'won', expected one of .*'success'"),
    ({'steps/source': TEXT}, {'steps/source': [b'demo']}, 'found 1 texts, expected 3'),
    ({'task': EPISODE_TEXT}, {'task': [b'\xff']}, r"task: found b'.xff', expected UTF-8"),
    ({'success': EPISODE_FLAG}, {}, 'success: the field is missing in this record'),
    ({'success': EPISODE_FLAG}, {'success': [1, 1]}, 'success: found 2 values, expected one'),
    ({'steps/observation/image': schema.Leaf('image', 'uint8', (2, 2, 3), 'png', True)},
     {'steps/observation/image': [b'a', b'b']}, 'found 2 images, expected one a step: 3'),
    ({'steps/observation/image': schema.Leaf('image', 'uint8', (2, 2, 3), 'png', True)},
     {'steps/observation/image': [PNG, b'', b'BMP-bytes']},
     "step 2: steps/observation/image: found bytes that begin with b'BMP-byte', expected a JPEG"),
    ({'steps/source': LABEL}, {'steps/source': [0, 1, 3]},
     'steps/source: found the label 3, expected at most 2'),
  ],
)  # fmt: skip
def test_a_wrong_record_is_named_to_the_step_and_the_field(leaves, fields, message):
  with pytest.raises(ValueError, match=message):
    read(leaves, fields)


def test_a_record_without_steps_and_bytes_that_are_no_record_are_refused():
  paths = mapping.resolve(LEAVES, {})
  empty = {path: tf.train.Feature(float_list=tf.train.FloatList()) for path in LEAVES}
  payload = tf.train.Example(features=tf.train.Features(feature=empty)).SerializeToString()
  with pytest.raises(ValueError, match='here: the episode has no steps; remove it'):
    columns.read(payload, LEAVES, paths, 'here')
  with pytest.raises(ValueError, match='here: found no tf.train.Example'):
    columns.read(b'\xff' * 20, LEAVES, paths, 'here')
