"""What a dataset says of itself is read as TFDS reads it, without TensorFlow."""

import json
import shutil

import foreign
import golden_rlds
import numpy as np
import pytest

from aloe_jax.data import schema


@pytest.fixture
def copy(tmp_path):
  """Both JSON files of the golden dataset, to be changed."""
  for name in ('features.json', 'dataset_info.json'):
    shutil.copy(golden_rlds.DATASET / name, tmp_path / name)
  return tmp_path


def edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def test_the_golden_dataset_is_described_as_it_was_built():
  layout = schema.read(golden_rlds.DATASET)
  assert layout.container == 'tfrecord'
  assert [(shard.path.name, shard.num_records) for shard in layout.splits['train']] == [
    ('aloe_oxe_like-train.tfrecord-00000-of-00002', 3),
    ('aloe_oxe_like-train.tfrecord-00001-of-00002', 3),
  ]
  assert [shard.num_records for shard in layout.splits['val']] == [1, 1]
  image = schema.Leaf('image', 'uint8', (96, 96, 3), 'jpeg', per_step=True)
  text = schema.Leaf('text', 'string', (), 'none', per_step=True)
  success = schema.Leaf('tensor', 'bool', (), 'none', per_step=False)
  position = schema.Leaf('tensor', 'float64', (12,), 'none', per_step=True)
  assert layout.leaves['steps/observation/right_wrist_image'] == image
  assert layout.leaves['steps/language_instruction'] == text
  assert layout.leaves['episode_metadata/success'] == success
  assert layout.leaves['steps/action_dict/joint_position'] == position
  assert len(layout.leaves) == 19


@pytest.mark.parametrize('container', ['tfrecord', 'array_record'])
def test_fields_and_shards_are_those_that_tfds_finds(container, tmp_path):
  _, tfds = foreign.load_tensorflow()
  of = tfds.features
  step = {
    'label': of.ClassLabel(names=['open', 'shut']),
    'scalar': of.Scalar(np.uint8),
    'word': of.Tensor(shape=(), dtype=np.str_),
    'zipped': of.Tensor(shape=(2,), dtype=np.float32, encoding='zlib'),
    'list': of.Sequence(np.float32),
    'pair': of.Sequence(of.Tensor(shape=(3,), dtype=np.float32), length=2),
    'nested': {'flag': np.bool_, 'image': of.Image(shape=(2, 3, 3), encoding_format='png')},
  }
  nothing = {
    'label': 0,
    'scalar': 1,
    'word': 'x',
    'zipped': np.zeros(2, np.float32),
    'list': [1.0],
    'pair': np.ones((2, 3), np.float32),
    'nested': {'flag': True, 'image': np.zeros((2, 3, 3), np.uint8)},
  }
  foreign.simple(
    tmp_path / 'data', step, lambda e, t: nothing, container=container, episode={'id': np.int64},
    metadata=lambda e: {'id': e},
  )  # fmt: skip
  builder = tfds.builder_from_directory(tmp_path / 'data')
  layout = schema.read(tmp_path / 'data')
  assert layout.container == container
  split = builder.info.splits['train']
  assert [str(shard.path) for shard in layout.splits['train']] == [str(p) for p in split.filepaths]
  assert [shard.num_records for shard in layout.splits['train']] == split.shard_lengths == [2, 1]
  assert all(shard.path.exists() for shard in layout.splits['train'])
  kinds = {path.removeprefix('steps/'): leaf.kind for path, leaf in layout.leaves.items()}
  assert kinds == {
    'action': 'tensor',
    'observation/state': 'tensor',
    'label': 'label',
    'scalar': 'tensor',
    'word': 'text',
    'zipped': 'tensor',
    'list': 'ragged',
    'pair': 'tensor',
    'nested/flag': 'tensor',
    'nested/image': 'image',
    'id': 'tensor',
  }
  assert layout.leaves['steps/label'].names == ('open', 'shut')
  assert layout.leaves['steps/pair'].shape == (2, 3)
  assert layout.leaves['steps/zipped'].encoding == 'zlib'
  assert layout.leaves['steps/nested/image'].encoding == 'png'
  assert not layout.leaves['id'].per_step


def test_other_file_names_are_read_from_their_template(copy):
  def change(info):
    info['splits'][0]['filepathTemplate'] = '{SPLIT}/{DATASET}.{FILEFORMAT}-{SHARD_INDEX}'
    del info['splits'][1]['filepathTemplate']
    del info['fileFormat']

  edit(copy / 'dataset_info.json', change)
  splits = schema.read(copy).splits
  assert splits['train'][1].path == copy / 'train/aloe_oxe_like.tfrecord-00001'
  assert splits['val'][0].path == copy / 'aloe_oxe_like-val.tfrecord-00000-of-00002'


def test_an_unknown_container_is_refused_by_name(copy):
  edit(copy / 'dataset_info.json', lambda info: info.update(fileFormat='riegeli'))
  with pytest.raises(ValueError, match='found the file format riegeli.*tfds convert_format'):
    schema.read(copy)


def test_a_dataset_without_steps_is_refused_with_its_fields(copy):
  edit(copy / 'features.json', lambda tree: tree['featuresDict']['features'].pop('steps'))
  with pytest.raises(ValueError, match='no field of `steps`.*episode_metadata/file_path'):
    schema.read(copy)


def test_what_is_no_dataset_is_refused(copy):
  with pytest.raises(FileNotFoundError, match='no such directory'):
    schema.read(copy / 'nowhere')
  with pytest.raises(ValueError, match=f'features.json is missing.*pass {golden_rlds.DATASET}'):
    schema.read(golden_rlds.DATASET.parent)
  with pytest.raises(ValueError, match=f'dataset_info.json is a file.*pass {copy}'):
    schema.read(copy / 'dataset_info.json')
  (copy / 'features.json').write_text('{')
  with pytest.raises(ValueError, match='features.json: found no whole JSON'):
    schema.read(copy)


@pytest.mark.parametrize(
  'name, change, message',
  [
    ('dataset_info.json', lambda info: info.pop('splits'), 'no splits.*never finished'),
    ('dataset_info.json', lambda info: info['splits'][0].update(shardLengths=['many']), "'many'"),
    ('dataset_info.json', lambda info: info['splits'][0].update(filepathTemplate='{X}'), "'X'"),
    ('dataset_info.json', lambda info: info.update(splits=['train']), 'what TFDS does not write'),
    ('features.json', lambda tree: tree.update(featuresDict=[]), 'what TFDS does not write'),
  ],
)
def test_what_tfds_does_not_write_is_named_by_its_file(name, change, message, copy):
  edit(copy / name, change)
  with pytest.raises(ValueError, match=f'{copy / name}: found .*{message}'):
    schema.read(copy)


def test_json_of_another_kind_is_refused(copy):
  (copy / 'dataset_info.json').write_text('[]')
  with pytest.raises(ValueError, match='dataset_info.json: found a list, expected an object'):
    schema.read(copy)
