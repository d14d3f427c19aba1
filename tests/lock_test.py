"""One process at a time trains in a directory, and what a dead one left is in nobody's way."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from aloe_jax.run import lock

ROOT = pathlib.Path(__file__).parents[1]
HOLDS = """
import pathlib, sys, time
from aloe_jax.run import lock
with lock.held(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(float(sys.argv[2]))
"""
TRAIN = ('-m', 'aloe_jax.train', '--config=experiments/laundry.py:sim_debug')


def start(*arguments):
  return subprocess.Popen(
    [sys.executable, *map(str, arguments)],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@contextlib.contextmanager
def holding(workdir):
  """A process that holds the lock."""
  process = start('-c', HOLDS, workdir, 60)
  try:
    assert process.stdout.readline() == 'held\n'
    yield process
  finally:
    process.kill()
    process.communicate()


def wait_for(path):
  """Until a process says in the file who it is."""
  stop = time.monotonic() + 60
  while not (path.exists() and path.read_text()):
    assert time.monotonic() < stop
    time.sleep(0.05)
  return json.loads(path.read_text())


def take(workdir):
  with lock.held(workdir):
    pass


def leave(workdir, **changes):
  """The file as a process that is no more left it."""
  with lock.held(workdir):
    told = json.loads((workdir / lock.NAME).read_text())
  workdir.mkdir(exist_ok=True)
  (workdir / lock.NAME).write_text(json.dumps(told | changes))
  return told | changes


def test_a_second_train_is_refused_at_once_and_told_of_the_first(tmp_path):
  with holding(tmp_path) as first:
    second = start(*TRAIN, f'--workdir={tmp_path}')
    printed, errors = second.communicate(timeout=120)
    told = json.loads((tmp_path / lock.NAME).read_text())
    assert (second.returncode, printed) == (1, '')
    assert told['process'] == first.pid
    assert errors.startswith(
      f'error: {tmp_path} is being worked in by process {first.pid} on {told["host"]} (since '
    )
    assert 'expected one `train` at a time. Give another --workdir, wait for it' in errors
    assert 'Traceback' not in errors
  assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]


def test_of_two_that_start_at_once_one_trains_and_a_killed_one_is_taken_over_from(tmp_path):
  workdir = tmp_path / 'run'
  both = [start(*TRAIN, f'--workdir={workdir}') for _ in range(2)]
  try:
    stop = time.monotonic() + 120
    while all(process.poll() is None for process in both) and time.monotonic() < stop:
      time.sleep(0.05)
    loser, winner = sorted(both, key=lambda process: process.poll() is None)
    assert loser.returncode == 1
    assert f'is being worked in by process {winner.pid} on' in loser.communicate()[1]
    assert wait_for(workdir / lock.NAME)['process'] == winner.pid
  finally:
    for process in both:
      process.kill()
      process.communicate()
  third = start(*TRAIN, f'--workdir={workdir}')
  try:
    line = third.stdout.readline()
    assert line.startswith(f'Taking over from process {winner.pid} on ')
    assert wait_for(workdir / lock.NAME)['process'] == third.pid
    third.send_signal(signal.SIGTERM)  # as a cluster ends a job that has to go
    assert 'Stopped. The same command goes on' in third.communicate(timeout=120)[1]
  finally:
    third.kill()
    third.communicate()
  assert not (workdir / lock.NAME).exists()


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError, SystemExit])
def test_the_lock_goes_whatever_ends_the_work(error, tmp_path):
  with pytest.raises(error), lock.held(tmp_path / 'new'):
    assert (tmp_path / 'new' / lock.NAME).exists()
    raise error
  assert not (tmp_path / 'new').exists()  # in which nothing had come to be


def test_it_is_held_again_after_it_went(tmp_path, capsys):
  for _ in range(2):
    take(tmp_path)
  assert capsys.readouterr().out == ''
  with lock.held(tmp_path), pytest.raises(FileExistsError, match=f'process {os.getpid()} on'):
    take(tmp_path)


def test_a_lock_of_another_host_is_left_and_the_file_to_remove_is_named(tmp_path):
  leave(tmp_path, host='arm7', process=12, boot='other', machine='other')
  message = (
    f'{tmp_path} is being worked in by process 12 on arm7 .since .*If it has surely ended, '
    f'remove {re.escape(str(tmp_path / lock.NAME))}'
  )
  for _ in range(2):
    with pytest.raises(FileExistsError, match=message):
      take(tmp_path)


@pytest.mark.parametrize(
  'changes',
  [
    {'boot': 'the one before'},  # the machine was started anew
    {'host': 'a container'},  # of this machine
    {},
  ],
)
def test_on_this_machine_the_system_tells_whether_a_process_is_there(changes, tmp_path, capsys):
  told = leave(tmp_path, **changes)
  if not told['boot']:
    pytest.skip('this system does not tell when it was started')
  take(tmp_path)
  name = re.escape(f'process {told["process"]} on {told["host"]}')
  printed = ' '.join(capsys.readouterr().out.split())
  assert re.match(f'Taking over from {name} .*which no longer works here', printed)
  assert not (tmp_path / lock.NAME).exists()


def without_locks(monkeypatch):
  def refused(*unused):
    raise OSError(lock.errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(lock.fcntl, 'flock', refused)


def test_without_locks_of_the_file_system_the_process_is_looked_for(tmp_path, monkeypatch):
  without_locks(monkeypatch)
  with lock.held(tmp_path), pytest.raises(FileExistsError, match=f'process {os.getpid()} on'):
    take(tmp_path)
  told = leave(tmp_path)
  with pytest.raises(FileExistsError, match=f'process {os.getpid()} on'):
    take(tmp_path)
  leave_started = dict(told, started=-1)  # another process got the number
  (tmp_path / lock.NAME).write_text(json.dumps(leave_started))
  take(tmp_path)
  ended = subprocess.Popen([sys.executable, '-c', ''])
  ended.wait()
  (tmp_path / lock.NAME).write_text(json.dumps(dict(told, process=ended.pid)))
  take(tmp_path)
  assert not (tmp_path / lock.NAME).exists()


@pytest.mark.parametrize('text', ['', '{"process": ', '[]'])
def test_a_file_that_a_crash_left_empty_or_cut_is_nobodys(text, tmp_path):
  (tmp_path / lock.NAME).write_text(text)
  take(tmp_path)
  assert not (tmp_path / lock.NAME).exists()


def test_only_the_first_of_several_hosts_takes_it_and_all_hear_of_it(tmp_path, monkeypatch):
  monkeypatch.setattr(lock.hosts, 'is_first', lambda: False)
  with lock.held(tmp_path / 'run'):
    assert not (tmp_path / 'run').exists()
  first = f'{tmp_path} is being worked in by process 7'
  monkeypatch.setattr(lock.hosts, 'exchange', lambda what, problem: [first, problem])
  with pytest.raises(FileExistsError, match='is being worked in by process 7'):
    take(tmp_path / 'run')


@pytest.mark.parametrize('kind', ['directory', 'link'])
def test_what_is_no_file_of_a_lock_is_named(kind, tmp_path):
  path = tmp_path / lock.NAME
  path.mkdir() if kind == 'directory' else path.symlink_to(tmp_path / 'nothing')
  with pytest.raises(FileExistsError, match=f'{path}: found a directory, a link or .*; remove it'):
    take(tmp_path)


def test_a_directory_that_another_start_removes_in_between_is_made_again(tmp_path, monkeypatch):
  made, opens = tmp_path / 'run', os.open

  def removed_before(path, *arguments):
    monkeypatch.setattr(lock.os, 'open', opens)
    made.rmdir()
    return opens(path, *arguments)

  monkeypatch.setattr(lock.os, 'open', removed_before)
  with lock.held(made):
    assert (made / lock.NAME).exists()
  assert not made.exists()
