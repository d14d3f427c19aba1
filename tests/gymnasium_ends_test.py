"""How commands and the processes of their environments end: nothing is left behind in silence."""

import logging
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.envs import gymnasium_place
from aloe_jax.envs import gymnasium_places
from aloe_jax.envs import gymnasium_process
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_task

ROOT = pathlib.Path(__file__).parents[1]
PATIENCE = 600.0  # seconds after which a test fails; a machine that has too much to do takes long

# A command that plays: the environment, processes, episodes and their steps.
COMMAND = """
import sys
import jax
from aloe_jax import command_line
from aloe_jax import stopping
from aloe_jax.envs import gymnasium_process
from aloe_jax.envs import gymnasium_rollout
from aloe_jax.envs import gymnasium_task
from gymnasium_ends_test import PATIENCE
from gymnasium_ends_test import Still

gymnasium_process._CLOSE_SECONDS = PATIENCE

def main():
  kind, processes, episodes, limit = sys.argv[1], *map(int, sys.argv[2:])
  task = gymnasium_task.Task(f'gymnasium:odd_world:{kind}-v0')
  setup = gymnasium_rollout.Setup(task, 2, limit, processes=processes)
  with stopping.heard():
    setup.run(Still(), key=jax.random.key(0), episodes=episodes)
  print('played')

command_line.run(main)
"""


@flax.struct.dataclass
class Still:
  def act(self, sight, key):
    return jnp.zeros((len(sight.state), 3, 2))


@pytest.fixture
def said(tmp_path, monkeypatch):
  """The file in which environments say what they do."""
  monkeypatch.setenv('ODD_SAID', str(tmp_path / 'said'))
  return tmp_path / 'said'


def start(kind, processes, episodes=2, limit=5):
  arguments = map(str, (kind, processes, episodes, limit))
  return subprocess.Popen(
    [sys.executable, '-c', COMMAND, *arguments],
    env=os.environ | {'PYTHONPATH': f'{ROOT / "tests"}:{ROOT}', 'JAX_PLATFORMS': 'cpu'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def ended(command):
  """Status, output and errors, once whoever has its pipes has ended too."""
  printed, errors = command.communicate(timeout=PATIENCE)
  return command.returncode, printed, errors


def numbers(said, what):
  """Of the processes that have said this."""
  lines = said.read_text().splitlines() if said.exists() else []
  return [int(line.split()[1]) for line in lines if line.split()[0] == what]


def wait_for(condition):
  deadline = time.monotonic() + PATIENCE
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.05)


def is_gone(number):
  stat = pathlib.Path(f'/proc/{number}/stat')
  try:
    return stat.read_text().rpartition(')')[2].split()[0] == 'Z'
  except OSError:
    return True


def assert_nothing_is_left(said):
  opened = numbers(said, 'opened')
  assert opened and sorted(opened) == sorted(numbers(said, 'closed'))
  assert all(is_gone(number) for number in [*opened, *numbers(said, 'child')])


@pytest.mark.parametrize('processes, environments', [(1, 2), (2, 3)])
def test_a_command_closes_its_environments_before_it_ends(processes, environments, said):
  assert ended(start('HasChild', processes)) == (0, 'played\n', '')
  assert len(numbers(said, 'opened')) == environments
  assert_nothing_is_left(said)


@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('to_all', [False, True])
def test_a_command_that_is_stopped_closes_its_environments(processes, to_all, said):
  command = start('GoesOn', processes, limit=10**6)
  wait_for(lambda: len(set(numbers(said, 'steps'))) == processes)
  if to_all:
    os.killpg(command.pid, signal.SIGTERM)
  else:
    command.terminate()
  status, _, errors = ended(command)
  assert status == 128 + signal.SIGTERM
  assert errors == 'Stopped. The same command goes on after what was finished.\n'
  assert_nothing_is_left(said)


def test_processes_in_a_step_that_hangs_end_after_a_command_that_was_killed(said):
  command = start('Hangs', 2)
  wait_for(lambda: len(numbers(said, 'hangs')) == 2)
  command.kill()
  status, _, errors = ended(command)
  assert (status, errors) == (-signal.SIGKILL, '')
  wait_for(lambda: all(map(is_gone, numbers(said, 'hangs'))))


def test_processes_end_without_a_word_after_a_command_that_was_killed(said):
  command = start('GoesOnAlone', 2, limit=10**6)
  wait_for(lambda: len(set(numbers(said, 'steps'))) == 2)
  players = set(numbers(said, 'steps'))
  command.kill()
  status, _, errors = ended(command)
  assert (status, errors) == (-signal.SIGKILL, '')
  wait_for(lambda: all(map(is_gone, players)))


def play(kind, processes):
  task = gymnasium_task.Task(f'gymnasium:odd_world:{kind}-v0')
  setup = gymnasium_rollout.Setup(task, 2, 5, processes=processes)
  return task, setup.run(Still(), key=jax.random.key(0), episodes=2)


@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize(
  'kind, raised', [('CloseFails', 'OSError: no gripper'), ('CloseExits', 'SystemExit: 0')]
)
def test_an_environment_that_cannot_be_closed_is_told_once(kind, raised, processes, caplog):
  task, _ = play(kind, processes)
  with caplog.at_level(logging.WARNING):
    task.close()
  (told,) = [r.getMessage() for r in caplog.records if 'odd_world' in r.getMessage()]
  assert told.startswith(f'gymnasium:odd_world:{kind}-v0: close raised {raised} (odd_world.py:')
  assert told.endswith('What was played is whole; what the environment had started may still run.')


def test_an_environment_that_is_refused_is_closed(said):
  with pytest.raises(ValueError, match='observations are None'):
    gymnasium_task.Task('gymnasium:odd_world:IsRefused-v0')
  assert numbers(said, 'closed') == [os.getpid()]


@pytest.mark.parametrize(
  'kind, how',
  [
    ('StepLeaves', 'ended with exit code 0'),
    ('StepIsKilled', 'was ended by SIGKILL'),
    ('StepCrashes', 'was ended by SIGSEGV'),
  ],
)
def test_a_process_that_dies_is_told_with_what_it_was_doing(kind, how):
  with pytest.raises(ValueError) as caught:
    play(kind, 2)
  told = str(caught.value)
  where = rf'gymnasium:odd_world:{kind}-v0, step 1 \(seed \d+\)'
  assert re.match(rf"{where}: the process that plays it {how}, during 'step'\. ", told), told
  assert ('memory' in told) == (kind == 'StepIsKilled')
  assert '--config.sim.processes=1' in told


def test_no_traceback_is_shown_of_a_process_that_died():
  status, printed, errors = ended(start('StepCrashes', 2, episodes=1))
  assert (status, printed) == (1, '')
  assert errors.startswith('error: gymnasium:odd_world:StepCrashes-v0, step 1 (seed ')
  assert errors.count('\n') == 1


def test_a_step_that_takes_long_is_told_and_waited_for(monkeypatch, caplog):
  task = gymnasium_task.Task('gymnasium:odd_world:StepIsSlow-v0')
  places = gymnasium_places.make(task, 2)
  places.rules(gymnasium_place.Rules(5, 'none'))
  places.begin({0: 7})
  monkeypatch.setattr(places, '_silent', 0.6)
  with caplog.at_level(logging.WARNING):
    now = places.play({0: np.zeros((1, 2))})
  task.close()
  assert now[0].steps == 1
  told = [record.getMessage() for record in caplog.records if 'answered' in record.getMessage()]
  where = r'gymnasium:odd_world:StepIsSlow-v0, step 1 \(seed 7\)'
  words = "the process that plays it has not answered for [1-9] s, and is at 'step' now; it is"
  assert all(re.match(f'{where}: {words} waited for', line) for line in told), told
  assert places._silent >= 1.2  # the next one after twice as long
  assert len(told) in (1, 2)


def test_a_process_that_hangs_is_killed_with_its_children_and_told(said, monkeypatch, caplog):
  task = gymnasium_task.Task('gymnasium:odd_world:HangsWithChild-v0')
  places = gymnasium_places.make(task, 2)
  places.rules(gymnasium_place.Rules(5, 'none'))
  places.begin({0: 1})
  places._pipes[0].send(('play', {0: np.zeros((1, 2))}))
  wait_for(lambda: numbers(said, 'hangs'))
  monkeypatch.setattr(gymnasium_process, '_CLOSE_SECONDS', 1.0)
  with caplog.at_level(logging.WARNING):
    task.close()
  assert 'HangsWithChild-v0: a process that plays it did not end within 1 s and was' in caplog.text
  assert len(numbers(said, 'child')) == 3  # one of this process
  wait_for(lambda: all(map(is_gone, numbers(said, 'child') + numbers(said, 'hangs'))))


def test_children_of_a_process_that_died_are_not_left_behind(said):
  status, _, errors = ended(start('IsKilledWithChild', 2))
  assert status == 1
  assert 'IsKilledWithChild-v0, step 1 (seed ' in errors
  assert len(numbers(said, 'child')) == 3
  assert all(map(is_gone, numbers(said, 'child')))
