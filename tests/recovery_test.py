"""What a robot's program leaves open when it dies keeps every step, and its faults."""

import os
import time

import robot_clock

from aloe_client import episode_files
from aloe_client import records
from aloe_client import wire


def leave_open(directory, seen=robot_clock.observation, steps=11, **options):
  """Leaves an episode as a program does that is killed; the directory that it is in."""
  recorder, clock, _ = robot_clock.recorder(directory, **options)
  if 'human' in options:
    recorder.takeover()
  for step in range(steps):
    recorder.infer(seen(step))
    clock.now += 0.02
  recorder._writer.flush(10)
  time.sleep(0.05)
  recorder._writer._held.close()
  (path,) = episode_files.unfinished(directory)
  return path


def recovered(directory):
  recorder, _, _ = robot_clock.recorder(directory)
  (text,) = [event.text for event in recorder.events.recent() if event.kind == 'recovered']
  recorder.close()
  (path,) = episode_files.finished(directory)
  return episode_files.read(path), text


def test_every_step_stays_where_a_camera_gave_no_picture(tmp_path):
  def blind(step):
    return {**robot_clock.observation(step), 'images': {'head': None}}

  leave_open(tmp_path, blind, human=lambda seen: seen['state'])
  found, text = recovered(tmp_path)
  assert len(found.steps) == found.summary['steps'] > 0
  assert found.summary['end_reason'] == 'cut' and not found.summary['exportable']
  assert f'{len(found.steps)} images of head are missing' in text


def test_every_step_stays_where_the_pictures_are_gone(tmp_path):
  path = leave_open(tmp_path)
  (path / 'head.images').unlink()
  found, _ = recovered(tmp_path)
  assert len(found.steps) == 9 and found.summary['flags'] == ['9 images of head are missing']
  assert not found.summary['exportable']


def test_steps_after_the_last_picture_are_kept_beside(tmp_path):
  path = leave_open(tmp_path)
  file = path / 'head.images'
  os.truncate(file, file.stat().st_size // 2)
  found, text = recovered(tmp_path)
  assert 0 < len(found.steps) < 9 and found.summary['exportable']
  assert f'{9 - len(found.steps)} more are in steps_before_cut.records' in text
  content, _ = records.read(found.path / 'steps_before_cut.records')
  assert sum(wire.unpack(record)['type'] == 'step' for record in content) == 9


def test_an_open_episode_without_a_header_is_put_aside(tmp_path):
  path = leave_open(tmp_path)
  (path / 'header.json').unlink()
  recorder, _, _ = robot_clock.recorder(tmp_path)
  assert 'found no header.json' in recorder.events.recent()[0].text
  recorder.close()
  (kept,) = (tmp_path / 'discarded').iterdir()
  assert (kept / 'steps.records').stat().st_size


def test_an_episode_that_lost_something_stays_one_that_is_not_exported(tmp_path):
  written = []

  def encode(pixels):
    written.append(pixels)
    if len(written) == 3:
      raise OSError(28, 'No space left on device')
    return bytes(9)

  leave_open(tmp_path, images=encode)
  assert len(written) > 5
  found, text = recovered(tmp_path)
  assert 'something of it was not written' in text and not found.summary['exportable']
  assert found.summary['flags'][-1] == 'something of it was not written, as was told then'


def test_an_episode_that_a_full_disk_left_open_keeps_its_end(tmp_path, monkeypatch):
  def full(*arguments):
    raise OSError(28, 'No space left on device')

  recorder, clock, _ = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 8)
  monkeypatch.setattr(episode_files, 'close', full)
  recorder.end('success')
  recorder.close()
  monkeypatch.undo()
  found, _ = recovered(tmp_path)
  assert found.summary['end_reason'] == 'success' and found.summary['exportable']


def killed_while(directory, monkeypatch, say):
  """Ends or takes back an episode, and dies before it has its place."""
  with monkeypatch.context() as patch:
    for name in ('close', 'discard'):
      patch.setattr(episode_files, name, lambda *_: directory)
    recorder, clock, _ = robot_clock.recorder(directory)
    robot_clock.play(recorder, clock, 12)
    say(recorder)
    recorder.close()
  (path,) = episode_files.unfinished(directory)
  return path


def test_how_an_episode_ended_outlives_the_program(tmp_path, monkeypatch):
  path = killed_while(tmp_path, monkeypatch, lambda recorder: recorder.end('success'))
  assert episode_files.read(path).summary['end_reason'] == 'success'
  found, text = recovered(tmp_path)
  assert found.summary['end_reason'] == 'success' and found.summary['exportable']
  assert text.endswith(f'{len(found.steps)} steps, success.')


def test_an_end_is_a_cut_where_its_last_pictures_are_gone(tmp_path, monkeypatch):
  path = killed_while(tmp_path, monkeypatch, lambda recorder: recorder.end('success'))
  os.truncate(path / 'head.images', (path / 'head.images').stat().st_size // 2)
  found, _ = recovered(tmp_path)
  assert found.summary['end_reason'] == 'cut' and found.summary['exportable']


def test_what_was_taken_back_is_not_found_again(tmp_path, monkeypatch):
  path = killed_while(tmp_path, monkeypatch, lambda recorder: recorder.discard())
  assert episode_files.read(path).summary['flags'] == ['taken back']
  assert episode_files.recover(tmp_path) == []
  assert not episode_files.finished(tmp_path) and len([*(tmp_path / 'discarded').iterdir()]) == 1


def test_an_episode_is_put_aside_under_a_number_that_is_free(tmp_path):
  (tmp_path / 'discarded' / '000003-was-000000').mkdir(parents=True)
  for name in ('000000', '000001'):
    (tmp_path / name).mkdir()
    episode_files.discard(tmp_path / name)
  assert sorted(path.name for path in (tmp_path / 'discarded').iterdir()) == [
    '000003-was-000000',
    '000004-was-000000',
    '000005-was-000001',
  ]
