"""Whatever ends a robot's program, finished episodes are whole and the open one is a cut."""

import io
import pathlib
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest
import robot_clock

from aloe_client import episode_files
from aloe_client import images
from aloe_client import records
from aloe_client import wire

HERE = pathlib.Path(__file__).parent


def kept(directory):
  """All finished episodes, read whole; numbers contiguous, a picture a step, step after step."""
  paths = episode_files.finished(directory)
  assert [int(path.name) for path in paths] == list(range(len(paths)))
  found = [episode_files.read(path) for path in paths]
  for episode in found:
    assert [step['step'] for step in episode.steps] == list(range(len(episode.steps)))
    assert len(episode.steps) == episode.summary['steps'] > 0
    pictures = episode.path / 'head.images'
    if not (pictures.exists() and records.read(pictures)[0]):  # killed before its first picture
      assert episode.summary['recovered'] and not episode.summary['exportable']
      assert episode.summary['end_reason'] == 'cut'
      continue
    assert len(episode.images('head')) == len(episode.steps)
    for step, image in zip(episode.steps, episode.images('head'), strict=True):
      seen = round(float(step['state'][0]) * 100)
      assert image == picture(seen)  # that of its own step
  return found


def picture(step):
  pixels = np.full((8, 8, 3), step % 251, np.uint8)
  return images.encoder('raw')(pixels)


def open_one(directory):
  """A recorder with an episode of nine steps that is open."""
  recorder, clock, _ = robot_clock.recorder(directory)
  robot_clock.play(recorder, clock, 11)
  assert recorder.flush(10)
  return recorder


def crash(recorder):
  """Leaves the files as a program does that is killed."""
  time.sleep(0.05)
  recorder._writer._held.close()


def test_twenty_kills_lose_no_finished_episode(tmp_path):
  command = [sys.executable, HERE / 'killed_recorder.py', tmp_path]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  counts = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
  assert len(counts) == 20
  assert [count for count, _ in counts] == sorted({count for count, _ in counts})
  assert sum(left_open for _, left_open in counts) >= 5  # killed within an episode
  recorder, _, _ = robot_clock.recorder(tmp_path)
  recorder.close()
  found = kept(tmp_path)
  assert len(found) >= 20
  ends = [episode.summary['end_reason'] for episode in found]
  assert {'success', 'failure', 'cut'} >= set(ends)
  assert all(e.summary['recovered'] for e in found if e.summary['end_reason'] == 'cut')
  assert not episode_files.unfinished(tmp_path)


def test_the_open_episode_of_a_killed_program_is_a_cut_of_what_is_whole(tmp_path):
  crash(open_one(tmp_path))
  (path,) = episode_files.unfinished(tmp_path)
  read = episode_files.read(path)
  assert read.summary['end_reason'] == 'cut' and len(read.steps) == 9  # the tenth was under way
  recorder, _, _ = robot_clock.recorder(tmp_path)
  assert 'recovered' in [event.kind for event in recorder.events.recent()]
  recorder.close()
  (found,) = kept(tmp_path)
  assert len(found.steps) == 9 and found.summary['recovered'] and found.plans


@pytest.mark.parametrize('size', [None, 0, 7])
def test_an_episode_killed_before_its_first_picture_keeps_its_steps_and_says_so(size, tmp_path):
  crash(open_one(tmp_path))
  (path,) = episode_files.unfinished(tmp_path)
  pictures = path / 'head.images'
  if size is None:
    pictures.unlink()
  else:
    pictures.write_bytes(pictures.read_bytes()[:size])
  recorder, _, _ = robot_clock.recorder(tmp_path)
  recorder.close()
  (found,) = kept(tmp_path)
  assert len(found.steps) == 9
  assert found.summary['flags'] == ['9 images of head are missing']


@pytest.mark.parametrize('name', ['steps.records', 'head.images'])
def test_a_power_cut_at_any_byte_leaves_the_steps_before_it(name, tmp_path):
  crash(open_one(tmp_path / 'whole'))
  (path,) = episode_files.unfinished(tmp_path / 'whole')
  data = (path / name).read_bytes()
  before = 0
  for length in range(0, len(data), 97):
    (path / name).write_bytes(data[:length])
    steps = len(episode_files.read(path).steps)
    assert before <= steps <= 9
    before = steps
  assert before >= 8


@pytest.mark.parametrize(
  'damage, told',
  [
    (lambda data: data[:20] + b'!' + data[21:], 'found no whole step in steps.records, which is d'),
    (lambda data: bytes(len(data)), 'found no whole step in steps.records, which is damaged.'),
    (lambda data: b'', 'found no whole step in steps.records.'),
  ],
)
def test_an_open_episode_whose_steps_are_gone_is_put_aside_and_told(damage, told, tmp_path):
  crash(open_one(tmp_path))
  (path,) = episode_files.unfinished(tmp_path)
  steps = path / 'steps.records'
  steps.write_bytes(damage(steps.read_bytes()))
  recorder, _, _ = robot_clock.recorder(tmp_path)
  (event,) = recorder.events.recent()
  recorder.close()
  assert told in event.text and event.loud
  assert not episode_files.finished(tmp_path)
  assert len(list((tmp_path / 'discarded').glob('*/head.images'))) == 1


def test_steps_after_a_damaged_one_are_kept_beside_and_told(tmp_path):
  crash(open_one(tmp_path))
  (path,) = episode_files.unfinished(tmp_path)
  steps = path / 'steps.records'
  data = bytearray(steps.read_bytes())
  data[len(data) // 2] ^= 1
  steps.write_bytes(data)
  recorder, _, _ = robot_clock.recorder(tmp_path)
  (event,) = recorder.events.recent()
  recorder.close()
  (found,) = kept(tmp_path)
  assert 0 < len(found.steps) < 9
  assert 'of steps.records was damaged, see steps_before_cut.records' in event.text
  assert (found.path / 'steps_before_cut.records').read_bytes() == data


def test_a_finished_episode_that_is_damaged_is_named(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  recorder.end('success')
  recorder.close()
  path = tmp_path / '000000' / 'steps.records'
  data = bytearray(path.read_bytes())
  data[-3] ^= 1
  path.write_bytes(data)
  with pytest.raises(ValueError, match=r'000000/steps.records: record \d+ is damaged'):
    episode_files.read(path.parent)
  (path.parent / 'episode.json').write_text('{"form')
  with pytest.raises(ValueError, match='found no whole JSON'):
    episode_files.read(path.parent)


def test_two_programs_do_not_record_in_one_directory(tmp_path):
  recorder = open_one(tmp_path)
  with pytest.raises(episode_files.LockedError, match='another program records there'):
    robot_clock.recorder(tmp_path)
  assert episode_files.is_held(tmp_path)
  recorder.close()
  assert not episode_files.is_held(tmp_path)
  assert len(kept(tmp_path)) == 1


def test_an_episode_without_a_step_leaves_nothing(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, delays=[1e9])
  robot_clock.play(recorder, clock, 5)
  assert not recorder.end('cut')
  robot_clock.play(recorder, clock, 5)
  assert recorder.flush(10)
  crash(recorder)
  recorder, _, _ = robot_clock.recorder(tmp_path)
  recorder.close()
  assert not episode_files.finished(tmp_path) and not episode_files.unfinished(tmp_path)


def test_records_are_those_that_were_written_up_to_the_first_that_is_not_whole(tmp_path):
  writer = records.Writer(tmp_path / 'a')
  for content in (b'one', b'', b'x' * 10**5):
    writer.add(content)
  writer.close()
  assert records.read(tmp_path / 'a') == ([b'one', b'', b'x' * 10**5], True)
  with (tmp_path / 'a').open('ab') as file:
    file.write(b'ALOE\x05\0\0\0')
  assert records.read(tmp_path / 'a') == ([b'one', b'', b'x' * 10**5], False)


def test_what_happens_in_an_episode_is_kept_with_it(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  recorder.takeover(lambda observation: [0, 0, 0])
  robot_clock.play(recorder, clock, 5, start=5)
  recorder.end('success')
  recorder.close()
  content, whole = records.read(tmp_path / '000000/steps.records')
  found = [wire.unpack(record) for record in content]
  assert whole and [r['kind'] for r in found if r['type'] == 'event'] == ['takeover']


def test_pictures_are_files_that_any_program_opens():
  pixels = np.arange(9 * 7, dtype=np.uint8).reshape(9, 7, 1) + np.array([0, 60, 120], np.uint8)
  for kind, tolerance in (('raw', 0), ('png', 0), ('jpeg', 9), ('auto', 9)):
    decoded = np.asarray(Image.open(io.BytesIO(images.encoder(kind)(pixels))))
    np.testing.assert_allclose(decoded.astype(int), pixels, atol=tolerance)
  with pytest.raises(ValueError, match="images: found 'gif', expected auto"):
    images.encoder('gif')


def test_without_pillow_pictures_are_kept_whole(monkeypatch):
  monkeypatch.setitem(sys.modules, 'PIL.Image', None)
  pixels = np.zeros((4, 4, 3), np.uint8)
  assert images.encoder('auto')(pixels).startswith(b'\x89PNG')
  with pytest.raises(ModuleNotFoundError, match='needs Pillow'):
    images.encoder('jpeg')


def test_an_open_episode_that_cannot_be_read_is_put_aside_and_told(tmp_path):
  crash(open_one(tmp_path))
  (path,) = episode_files.unfinished(tmp_path)
  (path / 'header.json').write_text('{')
  recorder, _, _ = robot_clock.recorder(tmp_path)
  (event,) = recorder.events.recent()
  assert 'is in discarded/' in event.text and event.loud
  recorder.close()
  assert not episode_files.finished(tmp_path) and (tmp_path / 'discarded').is_dir()
