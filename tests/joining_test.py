"""Processes find each other before any device is touched, and end together."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from aloe_jax.parallel import joining

ROOT = pathlib.Path(__file__).parents[1]
SLURM = {
  'SLURM_JOB_ID': '4097',
  'SLURM_NTASKS': '3',
  'SLURM_PROCID': '2',
  'SLURM_LOCALID': '0',
  'SLURM_STEP_NODELIST': 'node[001-003]',
  'SLURM_STEP_TASKS_PER_NODE': '1(x3)',
}


def free_port():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def start(process, port, *options):
  return subprocess.Popen(
    [
      sys.executable, ROOT / 'tests' / 'joining_check.py', f'--coordinator=127.0.0.1:{port}',
      '--processes=2', f'--process={process}', *options,
    ],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )  # fmt: skip


def ended(processes):
  """(status, output, errors) of each, and how long the last took."""
  begin = time.monotonic()
  try:
    told = [process.communicate(timeout=120) for process in processes]
  finally:
    for process in processes:
      process.kill()
  found = [(p.returncode, *text) for p, text in zip(processes, told, strict=True)]
  return found, time.monotonic() - begin


def both(*options):
  port = free_port()
  return ended([start(process, port, *options) for process in range(2)])


def test_two_processes_meet_and_one_of_them_speaks():
  (first, second), _ = both()
  assert first[:2] == (0, 'Joined 2 processes, by the command line.\nmet\n'), first
  assert second[:2] == (0, 'met\n'), second


def test_what_was_compiled_is_found_at_the_next_start_or_the_process_is_named(tmp_path):
  """JAX keeps what process 0 compiles; on CPUs the other one looks for another name."""
  told = []
  for _ in range(2):
    (first, second), _ = both('--does=compiles', f'--place={tmp_path}')
    assert (first[0], second[:2]) == (0, (0, 'met\n')), (first, second)
    told.append(first[1].splitlines())
  begun, again = told
  assert f'Compiled programs in {tmp_path}: 0 found, compiled anew: program.' in begun
  assert f'Compiled programs in {tmp_path}: 1 found, compiled anew: none.' in again
  assert (
    'Process 1 compiled program anew: process 0 alone keeps programs, and this one looks for them '
    'by another key, as JAX tells devices of its own from others.'
  ) in again
  assert not any(line.startswith('Process') for line in begun)


def test_one_of_two_says_that_two_were_expected():
  ((status, _, errors),), took = ended([start(0, free_port(), '--join_seconds=3')])
  assert status == 1
  assert errors == (
    'error: process 0: expected 2 processes within 3 s, but 1 of 2 have joined; start the same '
    'command on every host; raise --join_seconds if some of them start later.\n'
  )
  assert took < 40


def test_who_finds_nobody_says_where_process_0_was_expected():
  port = free_port()
  ((status, _, errors),), _ = ended([start(1, port, '--join_seconds=2')])
  assert status == 1
  assert f'expected 2 processes within 2 s, but process 0 does not answer at 127.0.0.1:{port}' in (
    errors
  )


@pytest.mark.parametrize('limit, status', [(2, 1), (60, 0)])
def test_a_host_that_is_slow_to_start_is_waited_for_as_long_as_is_said(limit, status):
  port = free_port()
  first = start(0, port, f'--join_seconds={limit}')
  time.sleep(5)
  second = start(1, port, f'--join_seconds={limit}')
  found, _ = ended([first, second])
  assert [result[0] for result in found] == [status, status], found


def test_who_is_waited_for_is_named_and_the_limit_ends_both():
  (first, second), took = both('--does=is late', '--wait_seconds=4')
  name = 'the checkpoint is read'
  assert f'process 0: {name}: has waited 1 s for process 1 of 2.' in first[1]
  expected = f'{name}: waited 4 s for process 1 of 2, which did not come.'
  assert first[2].startswith(f'error: {expected}')
  assert expected in second[2]
  assert (first[0], second[0]) == (1, 1)
  assert took < 60


@pytest.mark.parametrize(
  'what, expected',
  [
    (
      'has another size',
      'the size is 3 on process 1 (HOST), but 2 on process 0 (HOST). Make it the same.',
    ),
    (
      'has other data',
      "what data/b holds (its digest) is 'f2' on process 1 (HOST), but 'f1' on process 0 (HOST). "
      'Put it on a disk that all hosts share, or a copy of it on each of them.',
    ),
    (
      'has another path',
      'whether there is PLACE/tokenizer is False on process 1 (HOST), but True on process 0 '
      '(HOST). Put it on a disk',
    ),
    (
      'shares no disk',
      'whether there is PLACE/train.lock is False on process 1 (HOST), but True on process 0 '
      '(HOST). Give a --workdir on a disk that all hosts share, or in a bucket.',
    ),
  ],
)
def test_what_differs_is_said_by_both(what, expected, tmp_path):
  found, took = both(f'--does={what}', f'--place={tmp_path}')
  expected = expected.replace('HOST', socket.gethostname()).replace('PLACE', str(tmp_path))
  for status, _, errors in found:
    assert status == 1
    assert expected in errors
    assert errors.count('error: ') == 1
  assert took < 60


def test_an_error_of_one_host_ends_the_other_with_its_message():
  (first, second), took = both('--does=fails')
  assert 'ValueError: the disk of this host is broken.' in second[2]
  assert (
    first[2] == f'error: process 1 ({socket.gethostname()}): the disk of this host is broken.\n'
  )
  assert (first[0], second[0]) == (1, 1)
  assert took < 60


def test_a_host_that_is_killed_is_named_by_the_other():
  (first, second), took = both('--does=is killed')
  assert second[0] == -9
  assert f'error: process 1 ({socket.gethostname()}) has said nothing for a while' in first[2]
  assert first[0] == 1
  assert took < 60


def test_the_first_host_is_missed_too():
  (first, second), took = both('--does=is killed first')
  assert first[0] == -9
  assert f'error: process 1 ({socket.gethostname()}) was ended without a word' in second[2]
  assert 'or process 0 was, through which all talk.' in second[2]
  assert second[0] != 0
  assert took < 60


def test_a_host_that_is_stopped_stops_the_other():
  (first, second), _ = both('--does=is stopped')
  said = 'Stopped. The same command goes on after what was finished.\n'
  assert second[2].startswith(said)  # JAX may complain of its service on the way out
  assert first[2] == f'error: process 1 ({socket.gethostname()}): {said}'


# Where a process stands


@pytest.mark.parametrize(
  'given, message',
  [
    (('a:1', 2, None), '--process missing; expected all of --coordinator=HOST:PORT'),
    ((None, 2, 0), '--coordinator missing; expected all of'),
    ((None, None, 1), '--coordinator and --processes missing; expected all of'),
    (('a', 2, 0), "--coordinator: found 'a', expected HOST:PORT of process 0."),
    (('a:1', 2, 2), '--process is 2 and --processes 2; expected 0 to 1.'),
    (('a:1', 2, -1), '--process is -1 and --processes 2; expected 0 to 1.'),
  ],
)
def test_options_that_are_not_all_there_are_refused(given, message):
  with pytest.raises(ValueError) as error:
    joining.find(*given)
  assert str(error.value).startswith(message)


def test_alone_nothing_is_joined():
  assert joining.find(None, None, None) is None
  assert joining.find(None, 1, None) is None
  assert joining.find('a:1', 1, 0) is None


def test_the_options_say_it_all():
  place = joining.find('10.0.0.1:8476', 4, 3)
  assert place == joining.Place(4, 3, '10.0.0.1:8476', 'the command line')


@pytest.fixture
def slurm(monkeypatch):
  for name, value in SLURM.items():
    monkeypatch.setenv(name, value)


def test_slurm_says_how_many_tasks_there_are(slurm):
  place = joining.find(None, None, None)
  assert (place.processes, place.process, place.found) == (3, 2, 'slurm')
  # One task a node has all of its GPUs: joined by the address, JAX deals none of them out.
  assert place.coordinator == 'node001:61441'


def test_several_tasks_a_node_are_left_to_jax_which_deals_devices_out(slurm, monkeypatch):
  monkeypatch.setenv('SLURM_STEP_TASKS_PER_NODE', '2,1')
  assert joining.find(None, None, None).coordinator is None


def test_one_task_of_slurm_is_alone(slurm, monkeypatch):
  monkeypatch.setenv('SLURM_NTASKS', '1')
  assert joining.find(None, None, None) is None


def test_a_job_of_slurm_without_srun_does_not_train_as_one_host(slurm, monkeypatch):
  monkeypatch.delenv('SLURM_STEP_NODELIST')
  with pytest.raises(ValueError, match='gave this job 3 tasks .* was not started by srun'):
    joining.find(None, None, None)
  assert joining.find(None, 1, None) is None


def test_options_that_contradict_the_cluster_are_refused(slurm):
  with pytest.raises(ValueError) as error:
    joining.find('10.0.0.1:8476', 2, 1)
  assert '--process=1 of --processes=2 is not what slurm says: process 2 of 3.' in str(error.value)
  assert joining.find('10.0.0.1:8476', 3, 2).coordinator == '10.0.0.1:8476'
