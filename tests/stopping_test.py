"""Ctrl-C and SIGTERM are heard anywhere, answered with one line, and lose nothing that is saved."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
BEGINNING = """
import hashlib, sys, time
from aloe_jax import command_line
from aloe_jax import stopping

def ready():
  print('ready', flush=True)

def main():
  with stopping.heard():
    work()
"""
ENDING = """
command_line.run(main)
"""


def run(work, *numbers, between=1.5, before=''):
  """Status, errors and seconds of a program that gets signals once it has begun to work."""
  process = subprocess.Popen(
    [sys.executable, '-c', f'{BEGINNING}\n{before}\n{work}\n{ENDING}'],
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'ready\n'
  begin = time.monotonic()
  for number in numbers:
    time.sleep(between if number is not numbers[0] else 0.1)
    process.send_signal(number)
  printed, errors = process.communicate(timeout=60)
  return process.returncode, printed, errors, time.monotonic() - begin


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_is_going_on_with_one_line_and_the_status_of_shells(number):
  status, printed, errors, _ = run(
    """
def work():
  with stopping.saying('Evaluate 2 is repeated.'):
    ready()
    time.sleep(60)
""",
    number,
  )
  assert (status, printed, errors) == (128 + number, '', 'Stopped. Evaluate 2 is repeated.\n')


def test_what_has_to_come_to_a_good_end_does_so_and_the_program_ends_then():
  status, printed, errors, _ = run(
    """
def work():
  with stopping.deferred():
    ready()
    for _ in range(4):
      time.sleep(0.3)
    print('saved', stopping.asked(), flush=True)
  print('never')
""",
    signal.SIGTERM,
  )
  assert (status, printed) == (143, f'saved {int(signal.SIGTERM)}\n')
  assert errors == 'Stopped. The same command goes on after what was finished.\n'


def test_a_second_signal_ends_at_once_and_one_that_comes_twice_in_a_moment_is_one():
  work = """
def work():
  with stopping.deferred():
    ready()
    time.sleep(4)
    print('saved', flush=True)
"""
  status, printed, errors, seconds = run(work, signal.SIGTERM, signal.SIGINT)
  assert (status, printed) == (130, '')
  assert errors == 'Stopped at once. The same command goes on after what is whole.\n'
  assert seconds < 4
  # As `timeout` does: to the process, and to its group.
  status, printed, _, _ = run(work, signal.SIGTERM, signal.SIGTERM, between=0.1)
  assert (status, printed) == (143, 'saved\n')


NATIVE = """
stopping._UNHEARD_SECONDS = 0.3

def native(millions):
  ready()
  # A second or so for every 5 million, in which Python hears nothing.
  hashlib.pbkdf2_hmac('sha256', b'', b'', millions * 1_000_000)
"""


def test_a_signal_is_heard_in_native_code_such_as_a_compiler():
  status, _, errors, _ = run('def work():\n  native(500)', signal.SIGTERM, before=NATIVE)
  assert (status, errors) == (
    143,
    'Stopped. The same command goes on after what was finished.\n',
  )
  loses = """
def work():
  with stopping.deferred() as deferral:
    deferral.loses = True
    native(10)
    print('saved', flush=True)
"""
  status, printed, _, _ = run(loses, signal.SIGTERM, before=NATIVE)
  assert (status, printed) == (143, 'saved\n')


@pytest.mark.parametrize('loses, seconds', [(False, (0.3, 3)), (True, (4, 60))])
def test_what_is_put_off_for_long_ends_at_once_where_nothing_is_lost_by_it(loses, seconds):
  status, _, errors, passed = run(
    f"""
stopping._UNHEARD_SECONDS = 0.3

def work():
  with stopping.saying('Actor 1 begins anew.'), stopping.deferred() as deferral:
    deferral.loses = {loses}
    ready()
    end = time.monotonic() + 4
    while time.monotonic() < end:
      time.sleep(0.01)
""",
    signal.SIGTERM,
  )
  assert (status, errors) == (143, 'Stopped. Actor 1 begins anew.\n')
  assert seconds[0] < passed < seconds[1]


def test_signals_that_somebody_ignores_are_left_to_them():
  status, printed, _, _ = run(
    """
def work():
  ready()
  time.sleep(1)
  print('done')
""",
    signal.SIGTERM,
    before='import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)',
  )
  assert (status, printed) == (0, 'done\n')


def test_a_signal_that_comes_inside_a_destructor_is_not_forgotten():
  """Python drops what is raised there; a garbage collector's callback is one such place."""
  status, printed, errors, _ = run(
    """
class Slow:
  def __del__(self):
    ready()
    time.sleep(1)

def work():
  one = Slow()
  del one
  time.sleep(20)
  print('forgotten')
""",
    signal.SIGTERM,
  )
  assert (status, printed) == (143, '')
  assert errors == 'Stopped. The same command goes on after what was finished.\n'
