"""What a robot sees and can no longer use, in the midst of an episode: told, held, nothing lost."""

import numpy as np
import pytest
import robot_clock
import scripted_server

from aloe_client import episode_files
from aloe_client import recorder as recorder_lib
from aloe_client import watch as watch_lib
from aloe_jax.data.importers import recorder as importer
from aloe_jax.data.importers import settings

BAD = {
  'wider': ({'state': np.zeros(4)}, 'state: found 4 numbers, expected 3 numbers as in the'),
  'narrower': ({'state': np.zeros(2)}, 'state: found 2 numbers, expected 3 numbers as in the'),
  'gone': ({'joints': np.zeros(3)}, 'state: found nothing of this name; the observation has'),
  'no number': (
    {'state': np.full(3, np.nan)},
    'state: found float64 with what is no finite',
  ),
  'another picture': (
    {'images': {'head': np.zeros((16, 8, 3), np.uint8)}},
    'images/head: found a picture of 16 x 8, expected 8 x 8 as in the first step of the episode',
  ),
}


def episodes(directory):
  return [episode_files.read(path) for path in episode_files.finished(directory)]


@pytest.mark.parametrize('kind', BAD)
@pytest.mark.parametrize('told', [None, {}], ids=['described', 'undescribed'])
def test_the_robot_holds_and_the_episode_stays_and_goes_on(kind, told, tmp_path):
  recorder, clock, asks = robot_clock.recorder(tmp_path, told=told, hz=50, robot=robot_clock.ARM)
  before = robot_clock.play(recorder, clock, 12)
  seen, said = BAD[kind]
  seen = robot_clock.observation(12, **seen)
  if kind == 'gone':
    del seen['state']
  asked = len(asks.requests)
  watch = watch_lib.Watch(recorder, clock)
  for _ in range(30):
    np.testing.assert_array_equal(recorder.infer(seen), before[-1])
    clock.now += 0.02
    assert watch.look()['acting'] == 'Holds: what it sees is of no use'
  assert len(asks.requests) == asked
  after = robot_clock.play(recorder, clock, 12, start=12)
  np.testing.assert_array_equal(after[0], before[-1])  # what was planned from before is not played
  np.testing.assert_allclose(after[-1], 0.2, atol=0.04)
  recorder.end('success')
  recorder.close()
  heard = [event for event in recorder.events.recent() if event.kind in ('unseen', 'seen')]
  assert [(event.kind, event.loud) for event in heard] == [('unseen', True), ('seen', False)]
  assert heard[0].text.startswith(f'Episode 0, step 11: {said}')
  assert 'The robot holds and nothing is recorded until' in heard[0].text
  (found,) = episodes(tmp_path)
  assert found.column('state').shape == (11 + 12, 3) and found.summary['exportable']
  assert found.steps[10]['dt'] == pytest.approx(31 * 0.02)  # of which it held for thirty
  assert len(list(importer.Folder(tmp_path, settings.Settings()))) == 1


def test_cameras_may_have_another_size_from_one_episode_to_the_next(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 4)
  recorder.end('success')
  for _ in range(4):
    recorder.infer(robot_clock.observation(0, images={'head': np.zeros((4, 4, 3), np.uint8)}))
    clock.now += 0.02
  recorder.end('success')
  recorder.close()
  assert [len(found.steps) for found in episodes(tmp_path)] == [3, 3]
  assert 'unseen' not in [event.kind for event in recorder.events.recent()]


def test_a_person_acts_again_once_the_robot_sees(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, human=lambda seen: [1, 2, 3], fade=0)
  robot_clock.play(recorder, clock, 5)
  recorder.takeover()
  robot_clock.play(recorder, clock, 2)
  np.testing.assert_allclose(
    recorder.infer(robot_clock.observation(7, state=np.zeros(9))), [1, 2, 3]
  )
  robot_clock.play(recorder, clock, 2)
  assert (recorder.snapshot()['who'], recorder.holding) == ('human', '')
  recorder.close()


def test_features_of_another_shape_are_named_too(tmp_path):
  told = scripted_server.metadata(cameras={}, features=[2, 4])
  recorder, clock, _ = robot_clock.recorder(tmp_path, told=told)
  for size in (4, 4, 4, 5):
    recorder.infer({'state': np.zeros(3), 'features': np.zeros((2, size))})
    clock.now += 0.02
  assert 'features: found numbers [2, 5], expected numbers [2, 4] as in the first' in (
    recorder.events.recent()[-1].text
  )
  recorder.close()


def test_of_another_programs_steps_one_of_another_width_is_refused_and_the_others_stay(tmp_path):
  with recorder_lib.Recorder(None, 'fold', tmp_path, hz=10, images='raw') as recorder:
    for step in range(3):
      recorder.observe(robot_clock.observation(step), [step, 0])
    with pytest.raises(ValueError, match='state: found 4 numbers, expected 3 numbers as'):
      recorder.observe(robot_clock.observation(3, state=np.zeros(4)), [3, 0])
    with pytest.raises(ValueError, match=r'executed: found \[3.0\], expected 2 finite numbers'):
      recorder.observe(robot_clock.observation(3), [3])
    recorder.observe(robot_clock.observation(3), [3, 0])
    recorder.end('success')
  (found,) = episodes(tmp_path)
  np.testing.assert_array_equal(found.column('executed')[:, 0], range(4))
