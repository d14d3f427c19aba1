"""Frames of a shared video that lie in no episode are told by file, with their number."""

import lerobot_timed
import pytest

from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib


def notes(root, places):
  """What an import of three episodes of six frames has to tell, from one file of 18 frames."""
  one = lerobot_timed.episode(range(6))
  kept = [one, one, lerobot_timed.episode(range(5), frames=6)]
  lerobot_timed.write(root, kept, version='v3.0', places=places)
  settings = settings_lib.Settings()
  assert len(list(lerobot.Dataset(root, settings))) == 3
  return settings.log.notes()


@pytest.mark.parametrize(
  'places, number',
  [
    ([(0.0, 0.6), (0.7, 1.3), (1.3, 1.8)], 1),  # between two
    ([(0.1, 0.7), (0.7, 1.3), (1.3, 1.8)], 1),  # before the first
    ([(0.0, 0.6), (0.6, 1.2), (1.2, 1.7)], 1),  # after the last
    ([(0.04, 0.6), (0.64, 1.2), (1.24, 1.74)], 1),
    ([(0.1, 0.7), (0.7, 1.3), (1.3, 1.79)], 1),
  ],
)
def test_frames_of_no_episode_are_told_by_file(places, number, tmp_path):
  (line,) = notes(tmp_path / 'in', places)
  assert line.startswith(f'{number} video frame that belongs to no episode ({tmp_path}/in/videos/')
  assert f'file-000.mp4: {number}): left out; from_timestamp' in line


def test_a_shift_of_less_than_half_a_frame_leaves_none_out(tmp_path):
  told = notes(tmp_path / 'in', [(0.04, 0.64), (0.64, 1.24), (1.24, 1.84)])
  assert told == [
    '1 video frame after the last step in episode 2: left out, since every step has '
    'its own by its time'
  ]
