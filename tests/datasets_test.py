"""Each directory is read once, each frame encoded once, and what does not fit is named."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import types as python_types

import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import index
from aloe_jax.data import rlds
from aloe_jax.run import datasets
from experiments import laundry

ROOT = pathlib.Path(__file__).parents[1]


def make_episode(number, length=4, **changes):
  rng = np.random.default_rng(number)
  end_reason = np.zeros(length, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  brightness = rng.integers(0, 256, (length, 1, 1, 1), dtype=np.uint8)
  frames = np.broadcast_to(brightness, (length, 16, 16, 3))
  episode = rlds.Episode(
    state=np.zeros((length, types.PROPRIO_SIZE), np.float32),
    features=np.full((length, 3, 2), number, np.float32),
    images=dict.fromkeys(rlds.CAMERA_FIELDS, frames),
    action=np.zeros((length, 14), np.float32),
    source=np.zeros(length, np.int8),
    end_reason=end_reason,
    prompt='fold it',
    metadata={},
  )
  return dataclasses.replace(episode, **changes)


def write(directory, *episodes):
  rlds.write(directory, episodes, name='table')
  return directory


class Encoding:
  """An experiment whose encoder says how bright the head camera sees it, counting its calls."""

  def __init__(self, seed=0, **changes):
    self.config = laundry.get_config('pixels')
    self.config.sim.image_size = 16
    self.config.data.update(changes)
    self.encoder, _ = tiny.make_encoder(16 + seed)
    self.calls = 0

  def encode(self, params, images, masks):
    self.calls += 1
    bright = images['head'].mean((1, 2, 3))[:, None, None]
    return np.broadcast_to(bright, (len(bright), 3, self.encoder.width)).astype(np.float32)


def no_encoder(**changes):
  config = laundry.get_config('sim')
  config.data.update(changes)
  return python_types.SimpleNamespace(encoder=None, config=config, feature_shape=lambda: (3, 2))


def test_directories_are_read_in_order_and_opened_once(tmp_path, monkeypatch):
  first = write(tmp_path / 'one', make_episode(0), make_episode(1))
  second = write(tmp_path / 'two', make_episode(2))
  load, calls = index.load, []
  monkeypatch.setattr(index, 'load', lambda d, m, **k: calls.append(d) or load(d, m, **k))
  kept = datasets.Datasets(no_encoder(), {})
  kept.open([first])
  steps = kept.read([second, first])
  assert steps.features(np.array([0, 4, 8]))[:, 0, 0].tolist() == [2, 0, 1]
  assert calls == [first, second]


def test_frames_are_encoded_once_and_kept_beside_their_episodes(tmp_path):
  episodes = [make_episode(number, length=2 + number) for number in range(3)]
  directory = write(tmp_path / 'one', *episodes)
  encoding = Encoding()
  found = datasets.Datasets(encoding, {}).read([directory])
  assert encoding.calls == 1
  (cache,) = tmp_path.glob('.one.features-*.npy')
  before = cache.stat().st_mtime_ns
  again = Encoding()
  rows = np.arange(9)
  np.testing.assert_array_equal(
    datasets.Datasets(again, {}).read([directory]).features(rows), found.features(rows)
  )
  brightness = np.concatenate([episode.images['head'][:, 0, 0, 0] for episode in episodes])
  # bfloat16 holds eight bits
  np.testing.assert_allclose(np.float32(found.features(rows)[:, 0, 0]), brightness, rtol=0.02)
  assert again.calls == 0
  assert cache.stat().st_mtime_ns == before


def test_who_asks_for_few_rows_has_those_encoded_and_keeps_nothing(tmp_path):
  first, second = (
    write(tmp_path / name, make_episode(number, length=200)) for number, name in enumerate('ab')
  )
  encoding = Encoding()
  kept = datasets.Datasets(encoding, {})
  sparse = kept.read([first, second], sparsely=True)
  assert encoding.calls == 0
  rows = np.array([3, 250, 399])
  kept.encode_rows([first, second], rows)
  assert encoding.calls == 2  # one of each directory
  found = sparse.features(rows)
  assert encoding.calls == 2
  assert not list(tmp_path.glob('.*.features-*.npy'))
  whole = kept.read([first, second])
  assert encoding.calls == 6  # 400 rows by 128
  assert found.dtype == whole.features(rows).dtype
  np.testing.assert_array_equal(found, whole.features(rows))


def test_what_is_encoded_already_is_read_from_the_disk_by_whoever_asks_for_few_rows(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  whole = datasets.Datasets(Encoding(), {}).read([directory])
  encoding, rows = Encoding(), np.arange(4)
  sparse = datasets.Datasets(encoding, {}).read([directory], sparsely=True)
  np.testing.assert_array_equal(sparse.features(rows), whole.features(rows))
  assert encoding.calls == 0


def test_columns_are_read_without_any_image(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0), make_episode(1))
  encoding = Encoding()
  kept = datasets.Datasets(encoding, {})
  steps = kept.read_columns([directory])
  assert (len(steps), int(steps.is_first.sum()), steps.has_features) == (8, 2, False)
  assert len(kept.content(directory)) == 16
  assert encoding.calls == 0


def test_other_encoders_and_other_episodes_have_features_of_their_own(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  datasets.Datasets(Encoding(), {}).read([directory])
  other = Encoding(seed=1)
  datasets.Datasets(other, {}).read([directory])
  assert other.calls == 1
  shutil.rmtree(directory)
  write(directory, make_episode(1, length=4))
  changed = Encoding()
  datasets.Datasets(changed, {}).read([directory])
  assert changed.calls == 1
  assert len(list(tmp_path.glob('.one.features-*.npy'))) == 3


def test_indices_and_features_may_be_kept_elsewhere(tmp_path):
  directory = write(tmp_path / 'data' / 'one', make_episode(0))
  datasets.Datasets(Encoding(cache=str(tmp_path / 'cache')), {}).read([directory])
  assert [path.name for path in directory.parent.iterdir()] == ['one']
  names = sorted(path.name.partition('-')[0] for path in (tmp_path / 'cache').iterdir())
  assert names == ['.one.features', '.one.index']


def test_episodes_without_features_name_the_variant_that_encodes(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0, features=None))
  with pytest.raises(ValueError, match=r'one has no steps/observation/features.* such as :pixels'):
    datasets.Datasets(no_encoder(), {}).read([directory])


def test_cameras_that_one_dataset_lacks_are_masked_there_and_named(tmp_path, capsys):
  first = write(tmp_path / 'one', make_episode(0))
  images = {'head': make_episode(0).images['head']}
  second = write(tmp_path / 'two', make_episode(0, images=images))
  steps = datasets.Datasets(Encoding(), {}).read([first, second])
  reads = steps.images('left_wrist', np.array([0, 4]))
  assert reads[0] is not None and reads[1] is None
  told = capsys.readouterr().out
  assert f'{second}: there are no images of left_wrist, right_wrist, which other ep' in told


def test_a_dataset_without_any_of_the_cameras_is_refused_before_anything_is_encoded(tmp_path):
  images = {'head': make_episode(0).images['head']}
  directory = write(tmp_path / 'one', make_episode(0, images=images))
  encoding = Encoding()
  encoding.config.task.cameras = ('left_wrist', 'right_wrist')
  with pytest.raises(ValueError, match='one: there are no images of left_wrist, right_wrist, so'):
    datasets.Datasets(encoding, {}).read([directory])
  assert encoding.calls == 0


def test_a_camera_that_is_not_the_robots_is_not_looked_through(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  seen = {}

  class Seeing(Encoding):
    def encode(self, params, images, masks):
      seen.update({camera: bool(mask.any()) for camera, mask in masks.items()})
      return super().encode(params, images, masks)

  every, one = Seeing(), Seeing()
  datasets.Datasets(every, {}).read([directory])
  assert seen == dict.fromkeys(types.CAMERAS, True)
  one.config.task.cameras = ('head',)
  datasets.Datasets(one, {}).read([directory])  # and has features of its own
  assert seen == {'head': True, 'left_wrist': False, 'right_wrist': False}


def test_a_mapping_names_fields_that_have_other_names(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  encoding = Encoding()
  encoding.config.data.mapping.update(head='observation/left_wrist_image', left_wrist='none')
  steps = datasets.Datasets(encoding, {}).read([directory])
  assert steps.images('left_wrist', np.array([0])) == [None]
  encoding.config.data.mapping.update(left_wrist='observation/imag')
  with pytest.raises(ValueError, match='observation/imag.*observation/image'):
    datasets.Datasets(encoding, {}).read([directory])


def test_a_reward_that_is_mapped_is_trusted(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  experiment = no_encoder()
  assert datasets.Datasets(experiment, {}).read([directory]).reward is None
  experiment.config.data.mapping.reward = 'reward'
  trusted = datasets.Datasets(experiment, {}).read([directory]).reward
  assert trusted.tolist() == [0, 0, 0, 1]  # what a success is written with


def test_a_corrupt_episode_stops_or_is_skipped_and_counted(tmp_path, capsys):
  directory = write(tmp_path / 'one', make_episode(0), make_episode(1))
  (shard,) = directory.glob('*.tfrecord*')
  content = bytearray(shard.read_bytes())
  content[len(content) // 4] ^= 1
  shard.write_bytes(content)
  with pytest.raises(ValueError, match=r'one/table-train.tfrecord.*record 0'):
    datasets.Datasets(no_encoder(), {}).read([directory])
  steps = datasets.Datasets(no_encoder(on_error='skip'), {}).read([directory])
  assert len(steps) == 4
  assert '1 episodes were skipped' in capsys.readouterr().out


def test_actions_of_another_robot_are_refused(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0, action=np.zeros((4, 7), np.float32)))
  experiment = no_encoder()
  experiment.config.task.action_size = 14
  with pytest.raises(ValueError, match='one: action: found 7 numbers a step, expected config.task'):
    datasets.Datasets(experiment, {}).read([directory])


def test_features_of_another_size_than_before_are_refused(tmp_path):
  directories = [
    write(tmp_path / 'one', make_episode(0)),
    write(tmp_path / 'two', make_episode(1, features=np.zeros((4, 3, 5), np.float32))),
  ]
  with pytest.raises(ValueError, match=r'two: features: found \[3, 5\] a step, expected \[3, 2\]'):
    datasets.Datasets(no_encoder(), {}).read(directories)


def test_features_of_another_size_than_the_simulator_shows_are_refused(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  experiment = no_encoder()
  experiment.config.sim.task = 'gymnasium:line_world:Rescued-v0'
  experiment.feature_shape = lambda: (3, 1)
  told = r'one: features: found \[3, 2\] a step, expected \[3, 1\] as of config.sim.task=.gymn'
  with pytest.raises(ValueError, match=told):
    datasets.Datasets(experiment, {}).read([directory])


def test_a_missing_directory_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere: there is no such directory'):
    datasets.Datasets(no_encoder(), {}).read([tmp_path / 'nowhere'])


def test_training_on_given_episodes_leaves_tensorflow_alone(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  program = (
    'import sys, pathlib, types\n'
    'from aloe_jax import train\n'
    'from aloe_jax.run import datasets\n'
    'from experiments import laundry\n'
    "config = laundry.get_config('sim')\n"
    'config.sim.task = ""\n'
    'experiment = types.SimpleNamespace(encoder=None, config=config)\n'
    f"steps = datasets.Datasets(experiment, {{}}).read([pathlib.Path('{directory}')])\n"
    "assert len(steps) == 4 and 'tensorflow' not in sys.modules\n"
  )
  subprocess.run([sys.executable, '-c', program], check=True, cwd=ROOT)


def test_a_dataset_is_called_by_its_name_and_not_by_its_version_alone(tmp_path, capsys):
  directory = write(tmp_path / 'table' / '1.0.0', make_episode(0))
  datasets.Datasets(Encoding(), {}).read([directory])
  datasets.Datasets(Encoding(), {}).read([directory])
  printed = capsys.readouterr().out.splitlines()
  assert printed[0].startswith('Encode table/1.0.0: 4/4 steps')
  assert printed[1] == 'Encode table/1.0.0: 4 steps, kept from before'
