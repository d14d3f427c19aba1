"""A slow or full disk costs pictures, never time, and is told before or while it happens."""

import argparse
import os
import shutil
import threading
import time

import numpy as np
import pytest
import robot_clock

from aloe_client import episode_files
from aloe_client import episode_writer


def episodes(directory):
  return [episode_files.read(path) for path in episode_files.finished(directory)]


def test_a_camera_that_loses_images_flags_the_episode_loudly(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  for step in range(20):
    seen = robot_clock.observation(step)
    if step in (5, 6, 7):
      seen['images'] = {'head': None}
    recorder.infer(seen)
    clock.now += 0.02
  assert recorder.snapshot()['lost_images'] == {'head': 3}
  recorder.end('success')
  recorder.close()
  loud = [event.text for event in recorder.events.recent() if event.kind == 'images']
  assert loud[-1].startswith('3 images of head lost, at step 6')
  (found,) = episodes(tmp_path)
  assert not found.summary['exportable']
  assert found.summary['flags'] == ['3 images of head are missing']
  with pytest.raises(ValueError, match="step 4: the picture of 'head' is missing"):
    found.images('head')


def test_a_disk_that_is_too_slow_loses_images_and_never_time(tmp_path):
  wait = threading.Event()
  recorder, clock, _ = robot_clock.recorder(tmp_path, images=lambda p: wait.wait(60) and b'x')
  recorder._writer._room = 10 * 8 * 8 * 3  # ten images
  longest = 0.0
  for step in range(300):
    start = time.perf_counter()
    recorder.infer(robot_clock.observation(step))
    clock.now += 0.02
    longest = max(longest, time.perf_counter() - start)
  recorder.end('success')
  recorder.infer(robot_clock.observation(0))  # the next episode does not wait either
  assert longest < 0.5  # of an encoder that sleeps for a minute
  assert recorder.snapshot()['waiting_mb'] <= 10 * 192 / 1e6
  wait.set()
  recorder.close()
  found = episodes(tmp_path)[0]
  assert len(found.steps) == 299  # every step is there
  assert found.summary['lost_images'] == {'head': 299 - 10} and not found.summary['exportable']


def test_handles_and_threads_do_not_grow_with_the_episodes(tmp_path):
  wait = threading.Event()
  recorder, clock, _ = robot_clock.recorder(tmp_path, images=lambda p: wait.wait(60) and b'x')

  def count():
    return len(os.listdir('/proc/self/fd')), threading.active_count()

  robot_clock.play(recorder, clock, 3)
  recorder.end('success')
  before = count()
  for _ in range(40):  # while nothing is taken off the queue
    robot_clock.play(recorder, clock, 3)
    recorder.end('success')
  handles, threads = count()
  assert handles <= before[0] + 2 and threads == before[1]
  wait.set()
  recorder.close()
  assert len(episode_files.finished(tmp_path)) == 41


def test_a_full_disk_is_told_before_the_episode_and_nothing_moves(tmp_path, monkeypatch):
  recorder, clock, asks = robot_clock.recorder(tmp_path)
  robot_clock.play(recorder, clock, 5)
  recorder.end('success')
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: argparse.Namespace(free=10**8))
  asked = len(asks.requests)
  with pytest.raises(episode_writer.FullDiskError, match='0.10 GB are free and an episode may nee'):
    recorder.infer(robot_clock.observation(0))
  assert len(asks.requests) == asked
  recorder.close()
  with pytest.raises(episode_writer.FullDiskError, match='nothing moves'):
    robot_clock.recorder(tmp_path)
  assert not episode_files.is_held(tmp_path)


def test_a_disk_that_fills_up_in_an_episode_flags_it_and_the_robot_goes_on(tmp_path):
  recorder, clock, _ = robot_clock.recorder(tmp_path, images=full)
  assert robot_clock.play(recorder, clock, 10)[-1] is not None
  recorder.end('success')
  recorder.close()
  assert [event.kind for event in recorder.events.recent()].count('disk') == 1
  flags = episodes(tmp_path)[0].summary['flags']
  assert 'images of head were not written (No space left on device)' in flags


def full(pixels):
  raise OSError(28, 'No space left on device')


def test_pictures_are_recorded_alike_however_they_lie(tmp_path):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)
  recorder, clock, _ = robot_clock.recorder(tmp_path)
  layouts = (pixels, pixels.transpose(2, 0, 1), (pixels / 255 + 1e-4).clip(0, 1))
  for image in (pixels, *layouts):
    recorder.infer({'state': np.zeros(3), 'images': {'head': image}})
    clock.now += 0.02
  recorder.end('success')
  recorder.close()
  (found,) = episodes(tmp_path)
  assert len(set(found.images('head'))) == 1
  sizes = [path.stat().st_size for path in found.path.glob('*.images')]
  assert sizes[0] < 2 * len(found.images('head')[0])  # the same picture is kept once
