"""A π0.5 trained in a bucket: killed, gone on with on another machine, exported, and loaded."""

import os
import shutil
import subprocess
import sys
import threading
import time

import interrupted
import jax
import numpy as np
import pytest
import robot

import aloe_jax
from aloe_jax import checkpoints as checkpoints_command
from aloe_jax import export
from aloe_jax import files
from aloe_jax import train
from aloe_jax.buckets import storage
from aloe_jax.pretrained import openpi
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from aloe_jax.run import starting_point

# Two calls a phase, and programs that other tests of a π0.5 compile too.
CHANGES = dict(data__norm_stats='compute', train__save_minutes=1e-9)


pytestmark = pytest.mark.usefixtures('compiled_once')
OURS = 'runs/laundry/'  # in the bucket


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  return tmp_path_factory.mktemp('bucket_run')


@pytest.fixture(scope='module')
def run(place, emulator, compiled_once):
  """Directories of the same run: one that was left alone here, one in the bucket.

  That one was killed while its critic learnt. What it had here is gone when it goes on.
  """
  episodes = robot.write_episodes(place / 'table' / '1.0.0')
  for path in episodes.iterdir():
    storage.upload(path, f'gs://robots/datasets/table/1.0.0/{path.name}')
  local = robot.make_flags(data__episodes=(str(episodes),), **CHANGES)
  train.main([*local, f'--workdir={place / "laundry"}'])
  url = 'gs://robots/runs/laundry'
  given = ('gs://robots/datasets/table/1.0.0',)
  flags = robot.make_flags(data__episodes=given, data__cache=str(place / 'cache'), **CHANGES)
  command = [*flags, f'--workdir={url}']
  killed = threading.Event()
  with emulator.rule(lambda method, path: 'checkpoints/1/' in path and killed.wait() and None):
    process = subprocess.Popen(
      [sys.executable, '-m', 'aloe_jax.train', *command],
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
      stdout=subprocess.DEVNULL,
    )
    try:
      wait_until(
        lambda: any('unfinished/1-' in x and 'files' in x for x in emulator.names(OURS)), process
      )
    finally:
      process.kill()
      process.wait()
      killed.set()
  assert emulator.names('runs/laundry/train.lock')
  assert not any('checkpoints/1/files.json' in x for x in emulator.names(OURS))
  shutil.rmtree(place / 'cache')
  train.main(command)
  return place / 'laundry', files.place(url)


def wait_until(is_so, process):
  stop = time.monotonic() + 240
  while not is_so():
    assert process.poll() is None, 'ended by itself'
    assert time.monotonic() < stop
    time.sleep(0.02)


def test_a_run_killed_in_a_bucket_ends_elsewhere_as_the_unbroken_one_here(run, emulator):
  here, there = run
  assert checkpoints.Checkpoints(there / 'checkpoints').numbers() == [0, 1, 2]
  described = experiment.Experiment(robot.make_config())
  like, architecture = described.abstract_state(), described.architecture()
  one, other = (
    checkpoints.restore(run / 'checkpoints' / '2', like, architecture) for run in (there, here)
  )
  jax.tree.map(np.testing.assert_array_equal, one, other)
  assert interrupted.read_metrics(there) == interrupted.read_metrics(here)
  left = [x for x in emulator.names('runs/laundry/') if 'unfinished' in x or x.endswith('.lock')]
  assert not left


def test_its_export_is_that_of_the_run_here_and_may_lie_in_the_bucket(run, place, monkeypatch):
  here, there = run
  monkeypatch.setenv('XDG_CACHE_HOME', str(place / 'cache_of_another'))
  export.main([f'--workdir={here}', f'--to={place / "exported"}', '--asset=mine'])
  url = 'gs://robots/exported/laundry'
  export.main([f'--workdir={there}', f'--to={url}', '--asset=mine'])
  shapes = openpi.shapes(place / 'exported')
  one, other = (openpi.restore(path, shapes) for path in (place / 'exported', files.place(url)))
  jax.tree.map(np.testing.assert_array_equal, one, other)
  (asset,) = openpi.assets(files.place(url)).values()
  stats = place / 'exported' / 'assets' / 'mine' / 'norm_stats.json'
  assert asset.read_text() == stats.read_text()
  with pytest.raises(SystemExit, match=f'{url} exists; give a directory that does not'):
    export.main([f'--workdir={there}', f'--to={url}', '--asset=mine'])
  assert starting_point.find(url).kind == 'openpi'
  assert starting_point.find(f'{there}/checkpoints/2').kind == 'run'
  with pytest.raises(ValueError, match=f'the newest of which is {there}/checkpoints/2'):
    starting_point.find(str(there))


def test_the_policy_and_the_list_of_checkpoints_come_out_of_the_bucket(run, capsys):
  _, there = run
  checkpoints_command.main([f'--workdir={there}', '--verify'])
  printed = capsys.readouterr().out
  assert printed.count('whole, every byte') == 3
  policy = aloe_jax.load(str(there))
  assert policy.metadata.path == f'{there}/checkpoints/2'
