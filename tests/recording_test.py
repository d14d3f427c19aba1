"""Episodes made of trajectories: each kept step once, in order, with its own images."""

import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.envs import recording
from aloe_jax.envs import simulation

LENGTHS = [5, 3, 7, 1]
FAILED = 1
STEPS = max(LENGTHS) + 2


def render(state):
  """Images of one colour: the number of the state, of a camera each."""
  return {
    camera: jnp.full((4, 6, 3), state['number'] + 50 * index, jnp.uint8)
    for index, camera in enumerate(rlds.CAMERA_FIELDS)
  }


def make_trajectories():
  count = len(LENGTHS)
  number = np.arange(count * STEPS).reshape(count, STEPS)
  active = np.arange(STEPS) < np.array(LENGTHS)[:, None]
  end_reason = np.zeros((count, STEPS), np.int8)
  end_reason[np.arange(count), np.array(LENGTHS) - 1] = types.EndReason.SUCCESS
  end_reason[FAILED, LENGTHS[FAILED] - 1] = types.EndReason.FAILURE
  return simulation.Trajectories(
    state=np.tile(number[..., None], types.PROPRIO_SIZE).astype(np.float32),
    features=np.tile(number[..., None, None], (3, 2)).astype(np.float32),
    action=np.tile(-number[..., None], 14).astype(np.float32),
    source=np.full((count, STEPS), types.Source.HUMAN, np.int8),
    end_reason=end_reason,
    active=active,
    simulator_state={'number': number},
  )


def record(keep, progress=lambda frames: None):
  return list(
    recording.to_episodes(
      make_trajectories(),
      prompt='put it there',
      keep=np.array(keep),
      render=render,
      metadata={'iteration': 3},
      progress=progress,
    )
  )


@pytest.mark.parametrize('frames', [1, 4, 100])
def test_images_are_those_of_their_own_states_however_many_are_drawn_at_a_time(frames, monkeypatch):
  monkeypatch.setattr(recording, 'FRAMES', frames)
  trajectories = make_trajectories()
  episodes = record([True] * 4)
  assert [len(episode) for episode in episodes] == LENGTHS
  for index, episode in enumerate(episodes):
    number = trajectories.simulator_state['number'][index, : len(episode)]
    np.testing.assert_array_equal(episode.state[:, 0], number)
    np.testing.assert_array_equal(episode.features[:, 2, 1], number)
    np.testing.assert_array_equal(episode.action[:, 13], -number)
    for place, camera in enumerate(rlds.CAMERA_FIELDS):
      expected = np.broadcast_to((number + 50 * place)[:, None, None, None], (len(number), 4, 6, 3))
      np.testing.assert_array_equal(episode.images[camera], expected)


def test_only_what_is_kept_is_drawn(monkeypatch):
  monkeypatch.setattr(recording, 'FRAMES', 4)
  drawn = []
  episodes = record([True, False, False, True], drawn.append)
  assert [episode.metadata['episode_id'] for episode in episodes] == [0, 3]
  assert drawn == [4, 6]
  np.testing.assert_array_equal(episodes[1].images['head'], np.full((1, 4, 6, 3), 3 * STEPS))


def test_metadata_say_which_episode_it_was_and_whether_it_succeeded():
  found = [episode.metadata for episode in record([True] * 4)]
  assert found == [
    {'iteration': 3, 'episode_id': index, 'success': index != FAILED} for index in range(4)
  ]


def test_what_is_recorded_can_be_written_and_read_back(tmp_path):
  episodes = record([True] * 4)
  rlds.write(tmp_path / 'round', episodes, name='table')
  found = rlds.read(tmp_path / 'round')
  for a, b in zip(found, episodes, strict=True):
    np.testing.assert_array_equal(a.action, b.action)
    np.testing.assert_array_equal(a.end_reason, b.end_reason)
    assert a.metadata == b.metadata
