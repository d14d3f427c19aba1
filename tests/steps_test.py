"""Rows of several datasets, against the same datasets laid end to end in memory."""

import dataclasses

import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import steps as steps_lib

NONE, SUCCESS, CUT = types.EndReason.NONE, types.EndReason.SUCCESS, types.EndReason.CUT


@pytest.fixture(scope='module')
def recordings():
  rng = np.random.default_rng(0)
  made = [
    [tiny.make_episode(rng, [NONE] * 3 + [SUCCESS]), tiny.make_episode(rng, [CUT], prompt='b')],
    [tiny.make_episode(rng, [NONE, SUCCESS], types.Source.HUMAN, 'a')],
  ]
  return [tiny.Recorded(episodes) for episodes in made]


def test_columns_are_those_of_the_datasets_one_after_the_other(recordings):
  steps = steps_lib.Steps(recordings)
  assert len(steps) == 7
  np.testing.assert_array_equal(steps.is_first, [1, 0, 0, 0, 1, 1, 0])
  np.testing.assert_array_equal(steps.source, [0, 0, 0, 0, 0, 2, 2])
  np.testing.assert_array_equal(steps.end_reason, [0, 0, 0, 1, 5, 0, 1])
  assert [steps.prompts[n] for n in steps.prompt] == ['put it there'] * 4 + ['b', 'a', 'a']


@pytest.mark.parametrize('rows', [[0], [6, 0, 5, 4, 4], [[1, 6], [5, 2], [3, 0]]])
def test_rows_of_any_shape_and_order_are_found(recordings, rows):
  steps, rows = steps_lib.Steps(recordings), np.array(rows)
  for name, read in (('action', steps.action), ('features', steps.features)):
    whole = np.concatenate([getattr(recording, name) for recording in recordings])
    np.testing.assert_array_equal(read(rows), whole[rows])
  whole = np.concatenate([recording.state for recording in recordings])
  np.testing.assert_array_equal(steps.state(rows), whole[rows])


def test_of_a_wider_state_the_numbers_are_read_that_all_datasets_have(recordings):
  narrow = tiny.Recorded(recordings[1]._episodes)
  narrow.state = narrow.state[:, :5]
  steps = steps_lib.Steps([recordings[0], narrow])
  assert steps.state_size == 5
  found = steps.state(np.array([6, 2]))
  np.testing.assert_array_equal(found, [narrow.state[1], recordings[0].state[2, :5]])


def test_images_are_found_in_whatever_dataset_they_lie():
  rng = np.random.default_rng(0)
  seen = []
  for first, camera in ((10, 'head'), (20, 'left_wrist')):
    frames = [np.full((2, 2, 3), first + step, np.uint8) for step in range(2)]
    episode = tiny.make_episode(rng, [NONE, SUCCESS])
    seen.append(tiny.Recorded([dataclasses.replace(episode, images={camera: frames})]))
  steps = steps_lib.Steps(seen)
  for camera, expected in (('head', [None, 11, 10]), ('left_wrist', [20, None, None])):
    reads = steps.images(camera, np.array([2, 1, 0]))
    assert [read and read()[0, 0, 0] for read in reads] == expected
  blind = steps_lib.Steps(seen, cameras=('head',))
  assert blind.images('left_wrist', np.array([2, 1, 0])) == [None] * 3
  assert blind.images('head', np.array([1]))[0] is not None


def test_features_of_an_encoder_take_the_place_of_those_recorded(recordings):
  features = [np.full((len(recording), 1, 1), n) for n, recording in enumerate(recordings)]
  steps = steps_lib.Steps(recordings, features)
  assert steps.features(np.array([0, 6]))[:, 0, 0].tolist() == [0, 1]
  assert not steps_lib.Steps(recordings, [None, features[1]]).has_features


def test_rewards_are_trusted_only_where_every_dataset_has_them(recordings):
  first, second = (tiny.Recorded(recording._episodes) for recording in recordings)
  first.reward = np.arange(5, dtype=np.float32)
  assert steps_lib.Steps([first, second]).reward is None
  second.reward = np.float32([5, 6])
  np.testing.assert_array_equal(steps_lib.Steps([first, second]).reward, np.arange(7))
