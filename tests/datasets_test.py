"""Each directory is read once, each frame encoded once, and what does not fit is named."""

import dataclasses
import types as python_types

import numpy as np
import pytest

from aloe_jax import datasets
from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.models import encoder
from experiments import laundry


def make_episode(index, length=4, **changes):
  rng = np.random.default_rng(index)
  end_reason = np.zeros(length, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  brightness = rng.integers(0, 256, (length, 1, 1, 1), dtype=np.uint8)
  frames = np.broadcast_to(brightness, (length, 16, 16, 3))
  episode = rlds.Episode(
    proprio=np.zeros((length, types.PROPRIO_SIZE), np.float32),
    features=np.full((length, 3, 2), index, np.float32),
    images=dict.fromkeys(rlds.CAMERAS, frames),
    action=np.zeros((length, 14), np.float32),
    source=np.zeros(length, np.int8),
    end_reason=end_reason,
    language_instruction='fold it',
    metadata={},
  )
  return dataclasses.replace(episode, **changes)


def write(directory, *episodes):
  rlds.write(directory, episodes, name='table')
  return directory


class Encoding:
  """An experiment whose encoder says how bright the head camera's frames are, and counts them."""

  config = laundry.get_config('pixels')

  def __init__(self, seed=0):
    self.encoder = encoder.RandomEncoder(seed)
    self.encoded = 0

  def encode(self, params, images):
    self.encoded += len(images['head'])
    return images['head'].mean((1, 2, 3))[:, None, None].astype(np.float32)


NO_ENCODER = python_types.SimpleNamespace(encoder=None, config=laundry.get_config('sim'))


def test_directories_are_read_in_order_and_once(tmp_path, monkeypatch):
  first = write(tmp_path / 'one', make_episode(0), make_episode(1))
  second = write(tmp_path / 'two', make_episode(2))
  read, calls = rlds.read, []
  monkeypatch.setattr(rlds, 'read', lambda directory: calls.append(directory) or read(directory))
  kept = datasets.Datasets(NO_ENCODER, {})
  kept.read([first])
  found = kept.read([second, first])
  assert [episode.features[0, 0, 0] for episode in found] == [2, 0, 1]
  assert calls == [first, second]


def test_frames_are_encoded_once_and_kept_beside_their_episodes(tmp_path):
  episodes = [make_episode(index, length=2 + index) for index in range(3)]
  directory = write(tmp_path / 'one', *episodes)
  encoding = Encoding()
  found = datasets.Datasets(encoding, {}).read([directory])
  assert encoding.encoded == 2 + 3 + 4
  (cache,) = tmp_path.glob('one.features-*.npz')
  before = cache.stat().st_mtime_ns
  again = Encoding()
  for a, b, episode in zip(
    found, datasets.Datasets(again, {}).read([directory]), episodes, strict=True
  ):
    np.testing.assert_array_equal(a.features, b.features)
    brightness = episode.images['head'][:, 0, 0, 0]
    np.testing.assert_allclose(a.features[:, 0, 0], brightness, atol=2)
  assert again.encoded == 0
  assert cache.stat().st_mtime_ns == before


def test_another_encoder_does_not_read_the_features_of_the_first(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0))
  datasets.Datasets(Encoding(), {}).read([directory])
  other = Encoding(seed=1)
  datasets.Datasets(other, {}).read([directory])
  assert other.encoded == 4
  assert len(list(tmp_path.glob('one.features-*.npz'))) == 2


def test_episodes_without_features_name_the_variant_that_encodes(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0, features=None))
  with pytest.raises(ValueError, match=r'one has no steps/observation/features.* such as :pixels'):
    datasets.Datasets(NO_ENCODER, {}).read([directory])


def test_episodes_without_images_cannot_be_encoded(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0, images=None))
  with pytest.raises(
    ValueError, match="one, episode 0: there are no pictures of the camera 'head' or 'left_wrist'"
  ):
    datasets.Datasets(Encoding(), {}).read([directory])
  assert [path.name for path in tmp_path.iterdir()] == ['one']


def test_actions_of_another_robot_are_refused(tmp_path):
  directory = write(tmp_path / 'one', make_episode(0, action=np.zeros((4, 7), np.float32)))
  with pytest.raises(
    ValueError, match='one: steps/action: found 7 numbers a step, expected config.task.action'
  ):
    datasets.Datasets(NO_ENCODER, {}).read([directory])


def test_features_of_another_size_than_before_are_refused(tmp_path):
  directories = [
    write(tmp_path / 'one', make_episode(0)),
    write(tmp_path / 'two', make_episode(1, features=np.zeros((4, 3, 5), np.float32))),
  ]
  with pytest.raises(ValueError, match=r'two: features: found \[3, 5\] a step, expected \[3, 2\]'):
    datasets.Datasets(NO_ENCODER, {}).read(directories)


def test_a_missing_directory_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere: there is no such directory'):
    datasets.Datasets(NO_ENCODER, {}).read([tmp_path / 'nowhere'])
