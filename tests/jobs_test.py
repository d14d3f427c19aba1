"""Jobs: each once, after what they need, and a failure is told and keeps the others going."""

import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest

from aloe_jax.comparison import jobs
from aloe_jax.run import lock


@pytest.fixture
def make(tmp_path):
  def job(name, *codes, needs=()):
    commands = tuple(('-c', code) for code in codes)
    return jobs.Job(name, tmp_path / name, commands, needs)

  return job


def run(planned, tmp_path, workers=2):
  return jobs.run(planned, workers=workers, compiled=tmp_path / 'compiled')


def append(path, word):
  return f'with open({str(path)!r}, "a") as f: f.write({word!r})'


def test_commands_run_in_order_and_are_recorded(make, tmp_path):
  order = tmp_path / 'order'
  slow = 'import time; time.sleep(0.2); print("said")'
  job = make('one', append(order, 'a'), append(order, 'b'), slow)
  assert run([job], tmp_path) == []
  assert order.read_text() == 'ab'
  assert 'said' in job.log.read_text()
  record = json.loads(job.record.read_text())
  assert record['commands'] == [list(command) for command in job.commands]
  assert 0.2 <= record['seconds'] < 60


def test_a_finished_job_is_not_repeated_unless_its_commands_change(make, tmp_path):
  order = tmp_path / 'order'
  for word in 'aab':
    run([make('one', append(order, word))], tmp_path)
  assert order.read_text() == 'ab'


def test_a_job_that_another_process_runs_is_told_and_left_to_it(make, tmp_path, capsys):
  order = tmp_path / 'order'
  job = make('one', append(order, 'a'))
  with lock.held(job.directory, 'job.lock'):
    assert run([job], tmp_path) == ['one']
    assert not order.exists()
    assert [path.name for path in job.directory.iterdir()] == ['job.lock']
  printed = capsys.readouterr().out.replace('\n', ' ')
  assert f'is being worked in by process {os.getpid()} on ' in printed
  assert 'expected one `job` at a time' in printed
  assert run([job], tmp_path) == []
  assert order.read_text() == 'a'
  assert not (job.directory / 'job.lock').exists()


def test_a_job_that_another_process_has_finished_meanwhile_is_not_run_again(make, tmp_path):
  order = tmp_path / 'order'
  other = make('other', append(order, 'b'))
  ended = json.dumps({'commands': other.commands, 'seconds': 77.0})
  meanwhile = (
    f'import pathlib; d = pathlib.Path({str(other.directory)!r}); d.mkdir(); '
    f'(d / "job.json").write_text({ended!r})'
  )
  one = make('one', meanwhile)
  assert run([one, make('other', append(order, 'b'), needs=('one',))], tmp_path) == []
  assert not order.exists()
  assert json.loads(other.record.read_text())['seconds'] == 77


def test_a_record_of_another_process_without_seconds_is_told_and_the_others_go_on(
  make, tmp_path, capsys
):
  other = make('other', 'pass', needs=('one',))
  ended = json.dumps({'commands': other.commands})
  meanwhile = (
    f'import pathlib; d = pathlib.Path({str(other.directory)!r}); d.mkdir(); '
    f'(d / "job.json").write_text({ended!r})'
  )
  third = make('third', 'pass', needs=('one',))
  assert run([make('one', meanwhile), other, third], tmp_path) == ['other']
  printed = capsys.readouterr().out.replace('\n', ' ')
  assert f'{other.record}: found None seconds, expected a number; remove it' in printed
  assert third.record.exists()


def test_a_command_whose_harness_was_killed_keeps_the_job_for_itself(make, tmp_path, capsys):
  begun = tmp_path / 'begun'
  job = make('one', f'{append(begun, "a")}\nimport time; time.sleep(1000)')
  code = (
    'import pathlib; from aloe_jax.comparison import jobs; '
    f'job = jobs.Job("one", pathlib.Path({str(job.directory)!r}), {job.commands!r}); '
    f'jobs.run([job], workers=1, compiled=pathlib.Path({str(tmp_path / "compiled")!r}))'
  )
  harness = subprocess.Popen([sys.executable, '-c', code])
  while not begun.exists():
    assert harness.poll() is None
    time.sleep(0.05)
  children = pathlib.Path(f'/proc/{harness.pid}/task').glob('*/children')
  command = int(next(filter(None, (path.read_text() for path in children))).split()[0])
  harness.kill()
  harness.wait()
  try:
    assert run([job], tmp_path) == ['one']
  finally:
    os.kill(command, signal.SIGKILL)
  assert begun.read_text() == 'a'
  printed = capsys.readouterr().out.replace('\n', ' ')
  assert f'by a command that was started by process {harness.pid} on ' in printed


def test_a_job_some_of_whose_commands_have_ended_in_another_is_finished_too(make, tmp_path):
  order = tmp_path / 'order'
  both, first = (append(order, 'a'), append(order, 'b')), (append(order, 'a'),)
  for codes in (both, first, both):
    run([make('one', *codes)], tmp_path)
  assert order.read_text() == 'ab'


@pytest.mark.parametrize('workers', [1, 2, 99])
def test_a_job_waits_for_what_it_needs(workers, make, tmp_path):
  order = tmp_path / 'order'
  slow = 'import time; time.sleep(0.2); ' + append(order, 'first ').replace('with', 'exec("""with')
  planned = [
    make('first', slow + '""")'),
    make('second', append(order, 'second'), needs=('first',)),
  ]
  assert run(planned, tmp_path, workers) == []
  assert order.read_text() == 'first second'


def test_a_failure_is_told_and_stops_only_what_needs_it(make, tmp_path, capsys):
  planned = [
    make('bad', 'raise SystemExit(3)', 'print("never")'),
    make('child', 'print("child")', needs=('bad',)),
    make('good', 'print("good")'),
  ]
  assert sorted(run(planned, tmp_path)) == ['bad', 'child']
  printed = capsys.readouterr().out
  assert 'exit status 3' in printed
  assert str(planned[0].log) in printed.replace('\n', '')
  assert 'child: left out, as bad did not come to its end here' in printed
  assert not planned[0].is_finished
  assert 'never' not in planned[0].log.read_text()
  assert planned[2].is_finished


@pytest.mark.parametrize(
  'code, told',
  [
    ('raise SystemExit("error: no [left] hand")', '\n  error: no [left] hand\n'),
    ('raise SystemExit("error: found\\n  a/b: c")', '\n  error: found\n    a/b: c\n'),
    ('print("begun"); 1 / 0', '\n  ZeroDivisionError: division by zero\n'),
    (f'raise SystemExit({"x" * 600!r})', f'\n  {"x" * 500} ...\n'),
    ('raise SystemExit(3)', 'non-zero exit status 3.\n'),
  ],
)
def test_the_last_words_of_a_job_that_failed_are_told(code, told, make, tmp_path, capsys):
  assert run([make('bad', 'print("earlier")', code)], tmp_path) == ['bad']
  printed = capsys.readouterr().out
  assert told in printed
  assert 'earlier' not in printed and 'begun' not in printed.partition('exit status')[2]


def test_jobs_share_the_compilation_cache_and_split_the_cores(make, tmp_path):
  code = 'import os; print(os.environ["JAX_COMPILATION_CACHE_DIR"], len(os.sched_getaffinity(0)))'
  whole, half = make('whole', code), make('half', code)
  run([whole], tmp_path, workers=1)
  run([half], tmp_path, workers=2)
  (cache, all_cores), (_, some) = (
    job.log.read_text().splitlines()[-1].split() for job in (whole, half)
  )
  assert cache == str(tmp_path / 'compiled')
  assert int(some) == max(1, (int(all_cores) + 1) // 2) or int(all_cores) == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_ends_what_runs_and_says_how_to_go_on(number, tmp_path):
  code = """
import os, pathlib, sys
from aloe_jax.comparison import jobs
directory = pathlib.Path(sys.argv[1])
job = 'import os, sys, time; open(sys.argv[1], "w").write(str(os.getpid())); time.sleep(600)'
long = [jobs.Job(x, directory / x, (('-c', job, str(directory / f'{x}.pid')),)) for x in 'abc']
short = jobs.Job('short', directory / 'short', (('-c', ''),))
jobs.run([short, *long], workers=2, compiled=directory / 'compiled')
"""
  process = subprocess.Popen(
    [sys.executable, '-c', code, str(tmp_path)],
    cwd=pathlib.Path(__file__).parents[1],
    stderr=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 60
  pids = [tmp_path / f'{name}.pid' for name in 'ab']
  while not all(path.exists() and path.read_text() for path in pids):
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(number)
  _, errors = process.communicate(timeout=60)
  assert process.returncode == 1
  assert errors == 'Stopped: 1 of 4 jobs are finished; the same command goes on from there.\n'
  for path in pids:
    with pytest.raises(ProcessLookupError):
      os.kill(int(path.read_text()), 0)
  assert not (tmp_path / 'c.pid').exists()


def test_the_machine_and_its_packages_are_told_with_the_cores_of_the_run(make, tmp_path):
  run([job := make('one', 'pass')], tmp_path)
  machine = json.loads(job.record.read_text())['machine']
  cores = len(os.sched_getaffinity(0))
  assert machine['cores'] == max(1, -(-cores // 2)) or cores < 2
  assert machine['processor']
  assert machine['packages']['jax'] == importlib.metadata.version('jax')
  assert machine['packages'].keys() <= set(jobs.PACKAGES)


def test_every_job_is_told_as_soon_as_it_has_ended_well(make, tmp_path):
  planned = [make('a', 'pass'), make('bad', 'raise SystemExit(1)'), make('b', 'pass')]
  told = []

  def ended(job):
    told.append((job.name, job.is_finished))

  jobs.run(planned, workers=1, compiled=tmp_path / 'compiled', ended=ended)
  assert told == [('a', True), ('b', True)]
  jobs.run(planned[:1], workers=1, compiled=tmp_path / 'compiled', ended=ended)
  assert len(told) == 2


def test_results_that_runs_leave_behind_make_no_commit_dirty(tmp_path):
  def git(*command):
    subprocess.run(['git', *command], cwd=tmp_path, check=True, capture_output=True)

  code, results = tmp_path / 'code.py', tmp_path / 'docs' / 'results' / 'a.json'
  results.parent.mkdir(parents=True)
  for path in (code, results):
    path.write_text('1')
  git('init')
  git('add', '-A')
  git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-m', 'Begin')
  with mock.patch.object(jobs, '__file__', str(code)):
    clean = jobs.commit()
    assert len(clean) == 12
    results.write_text('2')
    assert jobs.commit() == clean
    code.write_text('2')
    assert jobs.commit() == f'{clean}-dirty'
  with mock.patch.object(jobs, '__file__', '/nowhere.py'):
    assert jobs.commit() == ''


def test_the_time_before_a_stop_counts_and_so_does_the_commit_then(make, tmp_path):
  gone_on = tmp_path / 'gone_on'
  code = 'import pathlib, sys, time; time.sleep(0.4); '
  code += f'sys.exit(not pathlib.Path({str(gone_on)!r}).exists())'
  job = make('one', code)
  with mock.patch.object(jobs, 'commit', lambda: 'old'):
    assert run([job], tmp_path) == ['one']
  gone_on.touch()
  with mock.patch.object(jobs, 'commit', lambda: 'new'):
    assert run([job], tmp_path) == []
  record = json.loads(job.record.read_text())
  assert 0.8 <= record['seconds'] < 60
  assert record['commit'] == 'old and new'
  assert not job.spent.exists()


def test_a_job_that_cannot_be_taken_has_failed_and_others_go_on(make, tmp_path, capsys):
  def ended(job):
    if job.name == 'one':
      raise ValueError('no evaluations')

  planned = [make('one', ''), make('two', '', needs=('one',)), make('three', '')]
  failed = jobs.run(planned, workers=1, compiled=tmp_path / 'compiled', ended=ended)
  assert failed == ['one', 'two']
  assert 'one: no evaluations' in capsys.readouterr().out
  assert planned[2].is_finished


@pytest.mark.parametrize('text', ['[]', '{}', 'null', '{"commands": null}'])
def test_a_damaged_record_of_a_job_is_told(text, make, tmp_path):
  job = make('one', '')
  job.directory.mkdir()
  job.record.write_text(text)
  with pytest.raises(ValueError, match=r'job.json: found no list of commands, .*; remove it, and'):
    run([job], tmp_path)


def test_a_damaged_note_of_the_time_before_a_stop_fails_its_job_alone(make, tmp_path, capsys):
  planned = [make('one', ''), make('two', '')]
  planned[0].directory.mkdir()
  planned[0].spent.write_text('[]')
  assert run(planned, tmp_path, workers=1) == ['one']
  assert (
    'spent.json: found no seconds, commits, expected both; remove it;' in capsys.readouterr().out
  )
  assert planned[1].is_finished
