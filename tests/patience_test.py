"""A bucket service that fails or does not answer: said, tried for a while, left at a signal."""

import os
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import pytest

from aloe_jax import files
from aloe_jax import stopping
from aloe_jax.buckets import patience
from aloe_jax.buckets import storage
from aloe_jax.run import state_items
from aloe_jax.run import writing

# What a save does while a signal is put off.
SAVES = """
from aloe_jax import stopping
from aloe_jax.buckets import patience, storage
patience.SAID_SECONDS = 2.0
with stopping.heard(), stopping.saying('Critic 1 begins anew by the same command.'):
  with stopping.deferred() as deferral:
    deferral.loses = True
    storage.write('gs://robots/stuck/save', b'x')
"""


@pytest.fixture
def quick(monkeypatch):
  for name, seconds in (('SAID', 0.3), ('_HINDERS', 0.1), ('_LOOK', 0.02)):
    monkeypatch.setattr(patience, f'{name}_SECONDS', seconds)


def failing(status, times):
  """A rule that answers so many uploads with a status."""
  left = [status] * times
  return lambda method, path: left.pop() if left and '/upload/' in path else None


def test_a_service_that_fails_for_long_is_said_once_and_so_is_its_return(emulator, quick, capsys):
  with emulator.rule(failing(503, 2)):
    storage.write('gs://robots/patience/object', b'x')
  said = ' '.join(capsys.readouterr().out.split())
  assert 'gs://robots/patience/object could not be written for ' in said
  assert '503' in said
  assert 'It is tried for 10 min in all; Ctrl-C and SIGTERM are heard.' in said
  assert said.count('could not') == 1
  assert 'gs://robots answers again, after ' in said
  assert storage.read('gs://robots/patience/object') == b'x'


def test_a_service_that_does_not_answer_is_said_too(emulator, quick, monkeypatch, capsys):
  storage.write('gs://robots/patience/object', b'x')
  monkeypatch.setattr(patience, '_SLOW_SECONDS', 0.3)
  with emulator.rule(lambda method, path: time.sleep(1.5)):
    storage.read('gs://robots/patience/object')
  said = ' '.join(capsys.readouterr().out.split())
  assert 'gs://robots/patience/object could not be read for 0 s: no answer. It is tried' in said


def test_arrays_that_a_service_does_not_take_or_give_are_said_too(emulator, quick, capsys):
  """TensorStore, which writes and reads them, tells of that in its counters alone."""
  path, items = files.place('gs://robots/patience/arrays'), {'critic': {'w': jnp.ones(9)}}
  arrays = [503] * 2

  def fails(method, name):
    if arrays and '/critic/' in name and 'ocdbt' in name:
      storage.write('gs://robots/patience/lock', b'x')  # which goes well meanwhile
      return arrays.pop()
    return None

  writer = writing.Writer()
  with emulator.rule(fails), patience.waiting(path, 'written'):
    writer.start(path, state_items.of_fields(items), {}, None).result()
  writer.close()
  said = ' '.join(capsys.readouterr().out.split())
  assert said.startswith('gs://robots/patience/arrays could not be written for ')
  assert ': HTTP 503. It is tried for 10 min in all;' in said
  assert said.count('could not') == said.count('gs://robots answers again, after ') == 1

  arrays += [503] * 2
  with emulator.rule(lambda *request: fails(*request) if request[0] == 'GET' else None):
    read = state_items.read(path, items, 'x')
  assert float(read['critic']['w'].sum()) == 9
  said = ' '.join(capsys.readouterr().out.split())
  assert said.startswith('gs://robots/patience/arrays could not be read for ')


def test_what_is_short_or_fails_at_once_is_not_said(emulator, capsys):
  with emulator.rule(failing(403, 9)), pytest.raises(storage.Told, match='this account may not'):
    storage.write('gs://robots/patience/object', b'x')
  with emulator.rule(failing(503, 1)):
    storage.write('gs://robots/patience/object', b'x')
  assert capsys.readouterr().out == ''


def test_what_goes_on_for_too_long_ends_the_program_that_waits_for_it(emulator, quick, monkeypatch):
  left = []
  monkeypatch.setattr(patience, 'LONGEST_SECONDS', 0.6)
  monkeypatch.setattr(stopping, 'leave', lambda status, said: left.append((status, said)))
  with emulator.rule(failing(503, 2)):
    storage.write('gs://robots/patience/object', b'x')
  (status, said), *_ = left
  assert status == 1
  assert said.startswith('error: gs://robots/patience/object could not be written for 1 s: ')
  assert said.endswith('. The same command goes on after what was finished.')


def test_an_error_that_passes_is_tried_again_until_the_time_is_over(monkeypatch):
  came = []

  def action():
    came.append(1)
    if len(came) < 3:
      raise OSError('503')
    return 'done'

  assert patience.tried(action, lambda error: True) == 'done'
  came.clear()
  with pytest.raises(OSError, match='503'):
    patience.tried(action, lambda error: False)
  with patience.once(), pytest.raises(OSError, match='503'):
    patience.tried(action, lambda error: True)
  monkeypatch.setattr(patience, 'LONGEST_SECONDS', -1.0)
  came.clear()
  with pytest.raises(OSError, match='503'):
    patience.tried(action, lambda error: True)


@pytest.mark.parametrize('rule', [lambda *unused: 503, lambda *unused: time.sleep(30)])
def test_a_signal_is_answered_though_a_save_would_be_lost(rule, emulator):
  with emulator.rule(rule):
    process = subprocess.Popen(
      [sys.executable, '-c', SAVES],
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    begin, before = time.monotonic(), len(emulator.requests)
    while len(emulator.requests) == before and time.monotonic() < begin + 60:
      time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=60)
  assert process.returncode == 128 + signal.SIGTERM
  (line,) = errors.splitlines()
  assert line.startswith(
    'Stopped. Critic 1 begins anew by the same command. gs://robots/stuck/save could not be written'
  )
  assert printed.count('could not be written') <= 1
