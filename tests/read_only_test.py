"""A directory that cannot be written to any more: loud, and what was saved before stays whole."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import tiny

from aloe_jax.run import checkpoints
from aloe_jax.run import unfinished

ROOT = pathlib.Path(__file__).parents[1]
# The superuser too is refused what permissions forbid, once these are taken away.
REFUSED = ('setpriv', '--bounding-set=-dac_override,-dac_read_search', '--')

# A phase that saves, whose directory then becomes read-only, and that goes on to its end.
PHASE = """
import pathlib, sys, types
import tiny
from aloe_jax import command_line
from aloe_jax.run import checkpoints, lock, unfinished

def main():
  with lock.held(pathlib.Path(sys.argv[1])):
    phase(pathlib.Path(sys.argv[1]))

def phase(workdir):
  state = tiny.make_state(tiny.make_learner())
  written = checkpoints.Checkpoints(workdir / 'checkpoints')
  written.save(0, state, {}, {'architecture': {}})
  metrics = types.SimpleNamespace(write=lambda *unused, **numbers: None)
  about = {'phase': 'critic', 'iteration': 1, 'updates': 20}
  saves = unfinished.Saves(
    workdir, 'Critic 1', 1, about, after=0, found=None, minutes=15.0, metrics=metrics
  )
  for done in (5, 10):
    saves.save(done, done, lambda: {'critic': state.critic})
    saves.settle()
    for directory in (workdir / 'unfinished', workdir / 'checkpoints', workdir):
      directory.chmod(0o555)
  print('the phase goes on', flush=True)
  written.save(1, state, {}, {'architecture': {}})

command_line.run(main)
"""


@pytest.fixture
def workdir(tmp_path):
  yield tmp_path / 'run'
  for directory in ('run', 'run/unfinished', 'run/checkpoints'):
    (tmp_path / directory).chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which('setpriv'), reason='needs setpriv')
def test_a_directory_that_becomes_read_only_is_said_and_ends_the_run_at_the_end_of_its_phase(
  workdir,
):
  workdir.mkdir()
  done = subprocess.run(
    [*(REFUSED if os.geteuid() == 0 else ()), sys.executable, '-c', PHASE, workdir],
    env=os.environ
    | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')])},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  failed, goes_on = done.stdout.splitlines()
  assert failed.startswith(f'Critic 1: not saved after 10 updates. {workdir}/unfinished: what ')
  assert 'could not be written: Permission denied' in failed
  assert failed.endswith('The last save is that after 5 updates; it is tried again in 15 minutes.')
  assert goes_on == 'the phase goes on'
  (line,) = done.stderr.splitlines()
  assert line.startswith(f'error: {workdir}/checkpoints: checkpoint 1 could not be written: ')
  assert line.endswith('Mend that and give the same command again; what was finished is kept.')
  # The last good ones are whole.
  kept = checkpoints.Checkpoints(workdir / 'checkpoints')
  assert kept.numbers() == [0]
  expected = tiny.make_state(tiny.make_learner())
  found = checkpoints.restore(kept.path(0), expected, {})
  tiny_leaves = [float(state.step) for state in (found, expected)]
  assert tiny_leaves[0] == tiny_leaves[1]
  assert unfinished.find(workdir, 0).done == 5
