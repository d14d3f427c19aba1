"""Saves inside a phase: a run that was broken off there ends bit for bit as the unbroken one."""

import json
import os
import shutil
import signal

import interrupted
import jax
import pytest

from aloe_jax import disk
from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax import train
from aloe_jax.run import checkpoints
from aloe_jax.run import unfinished
from aloe_jax.run import updates
from aloe_jax.run import writing

pytestmark = pytest.mark.usefixtures('compiled_once')

ALWAYS = 1e-9  # minutes between two saves


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  interrupted.start(workdir)
  return workdir


@pytest.fixture
def before(finished, tmp_path):
  """Makes a copy of the finished run as it was after a checkpoint, None for none."""

  def copy(checkpoint, name='run'):
    workdir = tmp_path / name
    shutil.copytree(finished, workdir)
    first = -1 if checkpoint is None else checkpoint
    for number in range(first + 1, 3):
      shutil.rmtree(workdir / 'checkpoints' / str(number))
    kept = json.loads((workdir / 'evaluations.json').read_text())[: 0 if first < 0 else 1]
    (workdir / 'evaluations.json').write_text(json.dumps(kept, indent=2))
    if first < 1:
      shutil.rmtree(workdir / 'episodes' / 'iteration_1')
      listed = json.loads((workdir / 'manifest.json').read_text())
      (workdir / 'manifest.json').write_text(json.dumps(listed[:1]))
    log = workdir / 'metrics' / 'metrics.jsonl'
    lines = log.read_text().splitlines(keepends=True)
    log.write_text(''.join(lines[: {None: 0, 0: 5, 1: 10}[checkpoint]]))
    return workdir

  return copy


def stop_after(monkeypatch, calls):
  """Has a signal come during the compiled call of that number."""
  step, seen = updates.Updates._log, []

  def log(self, *arguments):
    seen.append(1)
    return step(self, *arguments)

  monkeypatch.setattr(updates.Updates, '_log', log)
  # Metrics are read a call late: one was logged when two are done.
  monkeypatch.setattr(stopping, 'asked', lambda: signal.SIGTERM if len(seen) >= calls - 1 else None)


@pytest.mark.parametrize(
  'checkpoint, what, calls', [(None, 'Warm start', 1), (0, 'Critic 1', 2), (1, 'Actor 1', 3)]
)
def test_a_signal_saves_inside_the_phase_and_the_same_command_goes_on_from_there(
  checkpoint, what, calls, before, finished, monkeypatch, capsys
):
  workdir = before(checkpoint)
  with monkeypatch.context() as patch, pytest.raises(stopping.Stopped) as stopped:
    stop_after(patch, calls)
    interrupted.start(workdir)
  done = 5 * calls
  assert stopped.value.number == signal.SIGTERM
  assert str(stopped.value) == (
    f'Stopped in {what} after {done} of 20 updates; saved. The same command goes on from there.'
  )
  number = 0 if checkpoint is None else checkpoint + 1
  assert [path.name for path in (workdir / 'unfinished').iterdir()] == [f'{number}-{done}']
  assert checkpoints.Checkpoints(workdir / 'checkpoints').latest() == checkpoint
  asked = []
  with monkeypatch.context() as patch:
    log = updates.Updates._log
    patch.setattr(updates.Updates, '_log', lambda self, *a: asked.append(a[0]) or log(self, *a))
    interrupted.start(workdir)
  assert asked[0] == 20 * number + done + 5  # nothing before was done again
  assert f'{what}: goes on after {done} of 20 updates.' in capsys.readouterr().out
  interrupted.assert_same_run(workdir, finished)


def test_sigterm_in_any_phase_saves_or_says_what_is_repeated(finished, tmp_path, monkeypatch):
  """The same command goes on each time, until the signal of the next phase."""
  workdir, bar = tmp_path / 'run', progress.bar
  flags = [f'--config.{field}={value}' for field, value in interrupted.QUICK.items()]
  command = ['--config=experiments/laundry.py:sim_debug', *flags, f'--workdir={workdir}']
  repeated = 'is repeated from its beginning by the same command; all before is kept.'
  saved = 'after 5 of 20 updates; saved. The same command goes on from there.'
  said = {
    'Demonstrations': 'Stopped. The demonstrations are repeated from their beginning by the same '
    'command.',
    'Warm start': f'Stopped in Warm start {saved}',
    'Evaluate 0': f'Stopped. Evaluate 0 {repeated}',
    'Collect 1': f'Stopped. Collect 1 {repeated}',
    'Bank 1': 'Stopped. Bank 1 goes on after the states that it has by the same command.',
    'Critic 1': f'Stopped in Critic 1 {saved}',
    'Weights 1': f'Stopped. Weights 1 {repeated}',
    'Actor 1': f'Stopped in Actor 1 {saved}',
    'Evaluate 1': f'Stopped. Evaluate 1 {repeated}',
  }
  for phase, line in said.items():

    def killed(what, *arguments, phase=phase):
      if what == phase:
        os.kill(os.getpid(), signal.SIGTERM)
      return bar(what, *arguments)

    with monkeypatch.context() as patch, pytest.raises(stopping.Stopped) as stopped:
      patch.setattr(progress, 'bar', killed)
      train.main(command)
    assert (str(stopped.value), stopped.value.number) == (line, signal.SIGTERM)
    assert not (workdir / 'train.lock').exists()
  train.main(command)
  interrupted.assert_same_run(workdir, finished)


class Killed(Exception):
  """Stands for an end of the process in the middle of its work."""


def kill_at(monkeypatch, step):
  log = updates.Updates._log

  def killed(self, at, *arguments):
    if at == step:
      raise Killed
    return log(self, at, *arguments)

  monkeypatch.setattr(updates.Updates, '_log', killed)


@pytest.mark.parametrize(
  'changes',
  [
    {},
    dict(actor__bank=False),
    dict(actor__bank=False, actor__rule='paper', actor__weights='per_step', parallel__mode='pmap'),
    dict(agent='recap'),
  ],
)
def test_a_run_that_is_killed_goes_on_from_its_newest_save_and_ends_as_the_unbroken_one(
  changes, finished, before, tmp_path, monkeypatch
):
  def begin(name):
    workdir = before(0, name)
    if 'agent' in changes:  # another critic: from the demonstrations on
      for left in ('checkpoints', 'metrics'):
        shutil.rmtree(workdir / left)
      for left in ('evaluations.json', 'manifest.json'):
        (workdir / left).unlink()
    return workdir

  expected = finished
  if changes:
    expected = begin('unbroken')
    interrupted.start(expected, **changes)
  workdir = begin('run')
  for step in (35, 55):  # of the critic, then of the actor
    with monkeypatch.context() as patch, pytest.raises(Killed):
      kill_at(patch, step)
      patch.setattr(unfinished.Saves, 'due', saved_at_once)
      interrupted.start(workdir, **changes)
  assert [path.name for path in (workdir / 'unfinished').iterdir() if path.name[0] != '.'] == [
    '2-10'
  ]
  interrupted.start(workdir, **changes)
  interrupted.assert_same_run(workdir, expected, **changes)


def saved_at_once(saves):
  """Has each call saved, and the save whole before the next, which a slow machine may not do."""
  saves._hear(wait=True)
  return True


def test_arrays_that_were_read_are_donated_as_fresh_ones_are(before, monkeypatch):
  """Else the first step after a restart takes memory for two states."""
  workdir, seen = before(0), []
  step = updates.Updates.run

  def run(self, *arguments):
    compiled = self._step

    def watched(state, *batches):
      given = jax.tree.leaves((state.critic, state.critic_target, state.critic_optimizer))
      result = compiled(state, *batches)
      seen.append([leaf.is_deleted() for leaf in given])
      return result

    self._step = watched
    return step(self, *arguments)

  with monkeypatch.context() as patch, pytest.raises(stopping.Stopped):
    stop_after(patch, 2)
    patch.setattr(updates.Updates, 'run', run)
    interrupted.start(workdir)
  fresh = seen[0]
  seen.clear()
  monkeypatch.setattr(updates.Updates, 'run', run)
  kill_at(monkeypatch, 35)
  with pytest.raises(Killed):
    interrupted.start(workdir)
  assert len(fresh) > 20
  assert sum(seen[0]) >= sum(fresh) >= 0.9 * len(fresh)


def test_saves_that_fail_are_told_and_the_run_goes_on_and_ends_as_it_would_have(
  before, finished, monkeypatch, capsys
):
  workdir = before(1)
  begin, calls = writing.Writer.start, []

  def start(self, path, *arguments):
    if path.parent.name == unfinished.DIRECTORY:
      calls.append(path.name)
      if len(calls) == 1:
        raise OSError(28, 'No space left on device', str(path))
      if len(calls) == 2:
        return self._finisher.submit(fail, path)
    return begin(self, path, *arguments)

  def fail(path):
    raise ValueError("Error writing: Read-only file system [os_error_code='30']")

  monkeypatch.setattr(writing.Writer, 'start', start)
  monkeypatch.setattr(unfinished.Saves, 'due', saved_at_once)
  interrupted.start(workdir, train__save_minutes=30.0)
  printed = ' '.join(capsys.readouterr().out.split())
  for done, reason in ((5, 'No space left on device'), (10, 'Read-only file system')):
    assert f'Actor 1: not saved after {done} updates. {workdir}/unfinished: what Actor 1' in printed
    assert reason in printed
  assert 'The last save is that of the phase before; it is tried again in 30 minutes.' in printed
  lines = (workdir / 'metrics' / 'metrics.jsonl').read_text().splitlines()
  saves = [line for line in map(json.loads, lines) if line['phase'] == 'save']
  assert [line['failed'] for line in saves if 'failed' in line] == [1, 1]
  assert all(line['share'] >= 0 for line in saves if 'share' in line)
  interrupted.assert_same_run(workdir, finished)


def test_a_phase_whose_own_checkpoint_cannot_be_written_ends_the_run_and_the_last_stays(
  before, finished, monkeypatch
):
  workdir = before(1)
  begin = writing.Writer.start

  def start(self, path, *arguments):
    raise OSError(30, 'Read-only file system', str(path))

  with monkeypatch.context() as patch, pytest.raises(disk.WriteError, match='checkpoint 2 could'):
    patch.setattr(writing.Writer, 'start', start)
    interrupted.start(workdir)
  assert writing.Writer.start is begin
  assert interrupted.numbers(workdir) == [0, 1]
  interrupted.start(workdir)
  interrupted.assert_same_run(workdir, finished)


def test_a_save_that_was_damaged_is_passed_over_and_said(before, finished, monkeypatch, capsys):
  workdir = before(1)
  with monkeypatch.context() as patch, pytest.raises(stopping.Stopped):
    stop_after(patch, 2)
    interrupted.start(workdir)
  (save,) = (workdir / 'unfinished').iterdir()
  file = max(
    (path for path in (save / 'actor').rglob('*') if path.is_file()),
    key=lambda path: path.stat().st_size,
  )
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)
  interrupted.start(workdir)
  printed = ' '.join(capsys.readouterr().out.split())
  assert f'{save} is passed over: {file} holds other bytes than were written' in printed
  interrupted.assert_same_run(workdir, finished)


def test_what_is_learnt_again_in_the_simulator_is_evaluated_under_its_own_number(
  finished, tmp_path, monkeypatch
):
  workdir, bar = tmp_path / 'run', progress.bar
  shutil.copytree(finished, workdir)
  kept = json.loads((finished / 'evaluations.json').read_text())

  def killed(what, *arguments):
    if what == 'Evaluate 2':
      os.kill(os.getpid(), signal.SIGTERM)
    return bar(what, *arguments)

  changes = dict(actor__beta=2.0)
  with monkeypatch.context() as patch, pytest.raises(stopping.Stopped), stopping.heard():
    patch.setattr(progress, 'bar', killed)
    interrupted.start(workdir, 'redo=actor', **changes)
  interrupted.start(workdir, 'redo=actor', **changes)  # the rest of the same
  assert interrupted.numbers(workdir) == [0, 1, 2, 3, 4]
  listed = json.loads((workdir / 'evaluations.json').read_text())
  assert [entry['iteration'] for entry in listed] == [0, 1, 2]
  assert listed[:2] == kept
  evaluated = [x for x in interrupted.read_metrics(workdir) if x['phase'] == 'evaluate']
  assert [line['step'] for line in evaluated] == [20, 60, 80]
  assert sorted(path.name for path in (workdir / 'episodes').iterdir() if path.name[0] != '.') == [
    'demonstrations', 'iteration_1',
  ]  # fmt: skip


def test_a_host_says_that_it_saved_once_all_have_and_the_save_is_whole(tmp_path, monkeypatch):
  """The first host alone gives a save its name, and must not be ended by another one before."""
  asked = []

  def lowest(number, what):
    asked.append(((tmp_path / 'unfinished' / '1-5').is_dir(), bool(number), what))
    return 0  # another host could not

  class Nowhere:
    def write(self, step, scalars, *, phase): ...

  monkeypatch.setattr(unfinished.hosts, 'lowest', lowest)
  saves = unfinished.Saves(
    tmp_path, 'Critic 1', 1, {}, after=0, found=None, minutes=0, metrics=Nowhere()
  )
  assert not saves.save_now(5, 25, lambda: {'critic': {'w': jax.numpy.ones(3)}})
  assert asked == [(True, True, 'Critic 1 is saved')]
