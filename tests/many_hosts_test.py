"""One run by two processes, started by launch/local.sh and the command that people give."""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.envs import tabletop_sight

ROOT = pathlib.Path(__file__).parents[1]
TRAIN = ('-m', 'aloe_jax.train')
ENVIRONMENT = os.environ | {
  'JAX_PLATFORMS': 'cpu',
  'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.1',  # what one run has compiled the next finds
  'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """A directory with episodes of a robot that has the simulator's low-dimensional sight."""
  directory = tmp_path_factory.mktemp('hosts')
  rng = np.random.default_rng(0)
  ends = [types.EndReason.NONE] * 15 + [types.EndReason.SUCCESS]

  def features():
    return tiny.normal(rng, 16, *tabletop_sight.FEATURE_SHAPE)

  episodes = [
    dataclasses.replace(tiny.make_episode(rng, ends), features=features()) for _ in range(8)
  ]
  rlds.write(directory / 'data', episodes, name='table')
  return directory


def options(place, workdir, *more):
  return [
    '--config=experiments/laundry.py:sim_debug',
    '--config.sim.task=',
    f'--config.data.episodes=({str(place / "data")!r},)',
    '--config.actor.vocab_size=65536',  # so that there is something to shard
    '--config.actor.warm_start_updates=10',
    '--config.actor.updates=10',
    '--config.critic.first_updates=10',
    f'--workdir={place / workdir}',
    *more,
  ]


def start(command, **environment):
  return subprocess.Popen(
    command,
    cwd=ROOT,
    env=ENVIRONMENT | environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def ended(process):
  """Status, output and errors."""
  try:
    printed, errors = process.communicate(timeout=500)
  finally:
    process.kill()
  return process.returncode, printed, errors


def by_two(options, program=TRAIN, **environment):
  """The same of what two processes of four devices do."""
  local = ['launch/local.sh', '--processes=2', '--devices=4', '--', sys.executable, *program]
  return ended(start([*local, *options], **environment))


def metrics(workdir):
  lines = (workdir / 'metrics' / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  for record in records:
    del record['time']
  return records


@pytest.fixture(scope='module')
def one(place):
  command = [sys.executable, *TRAIN, *options(place, 'one')]
  status, _, errors = ended(start(command, JAX_NUM_CPU_DEVICES='8'))
  assert status == 0, errors
  return place / 'one'


@dataclasses.dataclass
class Two:
  """A run by two processes, of which one was killed after the warm start; it then went on."""

  workdir: pathlib.Path
  killed: tuple[int, str, str]
  seconds: float
  printed: str


@pytest.fixture(scope='module')
def two(place):
  wanted, workdir = options(place, 'two'), place / 'two'
  begin = time.monotonic()
  mortal = (ROOT / 'tests' / 'mortal_train.py',)
  killed = by_two(wanted, mortal, MORTAL=str(workdir / 'checkpoints' / '0'))
  seconds = time.monotonic() - begin
  status, printed, errors = by_two(wanted)
  assert status == 0, errors
  return Two(workdir, killed, seconds, printed)


def assert_close(found, expected):
  assert [set(record) for record in found] == [set(record) for record in expected]
  for record, wanted in zip(found, expected, strict=True):
    assert {record['phase'], record['step']} == {wanted['phase'], wanted['step']}
    for name in record.keys() - {'phase'}:
      assert record[name] == pytest.approx(wanted[name], rel=1e-4, abs=1e-5), (record, name)


def test_where_one_is_killed_the_other_names_it_and_ends(two):
  status, _, errors = two.killed
  assert status != 0
  assert f'error: process 1 ({socket.gethostname()}) has said nothing for a while' in errors
  assert two.seconds < 200


def test_two_processes_learn_what_one_does_also_after_a_stop(one, two):
  assert_close(metrics(two.workdir), metrics(one))


def test_replicas_on_two_processes_learn_the_same(place, one):
  # Nor do its saves need the service that some clusters have off, which tells of preemptions.
  wanted = options(place, 'pmap', '--config.parallel.mode=pmap', '--config.train.save_minutes=1e-6')
  status, _, errors = by_two(wanted, JAX_ENABLE_PREEMPTION_SERVICE='false')
  assert status == 0, errors
  assert_close(metrics(place / 'pmap'), metrics(one))


def test_one_process_writes_and_speaks(two):
  workdir, lines = two.workdir, two.printed.splitlines()
  lines = [line for line in lines if not line.startswith('[Gloo]')]
  assert lines[0] == 'Joined 2 processes, by the command line.'
  assert sum(line.startswith('Critic 1: 10/10') for line in lines) == 1
  steps = [(record['phase'], record['step']) for record in metrics(workdir)]
  assert len(steps) == len(set(steps))
  assert len([*(workdir / 'metrics').glob('events*')]) == 2  # one of each start
  assert sorted(p.name for p in (workdir / 'checkpoints').iterdir()) == ['0', '1', '2']
  assert not (workdir / 'train.lock').exists()


def test_what_two_processes_save_is_read_on_any_number_of_devices(two):
  command = [sys.executable, ROOT / 'tests' / 'restored_check.py', two.workdir]
  status, printed, errors = ended(start(command, JAX_NUM_CPU_DEVICES='8'))
  assert status == 0, errors
  found = json.loads(printed.splitlines()[-1])
  assert len({fingerprint for fingerprint, _ in found.values()}) == 1
  assert {count: shards for count, (_, shards) in found.items()} == {
    '1': 1, '2': 2, '4': 4, '8': 8, 'numpy': 1,
  }  # fmt: skip


def test_a_batch_size_that_differs_on_one_host_ends_both(place):
  port = '0'
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  begin = time.monotonic()
  processes = []
  for process in range(2):
    joining = [f'--coordinator=127.0.0.1:{port}', '--processes=2', f'--process={process}']
    more = ['--config.actor.batch_size=64'] if process else []
    command = [sys.executable, *TRAIN, *options(place, 'differs', *more), *joining]
    processes.append(start(command, JAX_NUM_CPU_DEVICES='4'))
  for status, _, errors in [ended(process) for process in processes]:
    assert status == 1
    assert 'config.actor.batch_size is 64 on process 1' in errors
    assert 'but 32 on process 0' in errors
    assert errors.count('error: ') == 1
  assert time.monotonic() - begin < 60
  assert not (place / 'differs').exists()
