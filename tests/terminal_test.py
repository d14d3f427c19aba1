"""The keys of a plain terminal, in a terminal that a test holds the other end of."""

import contextlib
import os
import pathlib
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

from aloe_client import episode_files

# The child is another program at once; JAX, which other tests of this process use, cannot know.
pytestmark = pytest.mark.filterwarnings('ignore:os.fork:RuntimeWarning')

PROGRAM = pathlib.Path(__file__).parent / 'terminal_robot.py'


class Terminal:
  """A program with a terminal and without a display.

  Attributes:
    before: how the terminal was set.
  """

  def __init__(self, *arguments):
    self._mine, self._theirs = pty.openpty()
    self.before = self.settings()
    self.shown = ''
    variables = {k: v for k, v in os.environ.items() if k not in ('DISPLAY', 'WAYLAND_DISPLAY')}
    self.process = subprocess.Popen(
      [sys.executable, PROGRAM, *map(str, arguments)],
      stdin=self._theirs,
      stdout=self._theirs,
      stderr=self._theirs,
      env=variables,
      start_new_session=True,
      preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # it is in the foreground
    )

  def settings(self):
    return termios.tcgetattr(self._theirs)

  def press(self, keys):
    os.write(self._mine, keys.encode())

  def until(self, text):
    """Reads until the screen says something new; what came before it is forgotten."""
    end = time.monotonic() + 60
    while text not in self.shown:
      assert time.monotonic() < end, f'not in time: {text!r} in {self.shown[-500:]!r}'
      if select.select([self._mine], [], [], 0.2)[0]:
        with contextlib.suppress(OSError):
          self.shown += os.read(self._mine, 1 << 16).decode()
    before, _, self.shown = self.shown.partition(text)
    return before

  def close(self):
    self.process.kill()
    self.process.wait()
    os.close(self._mine)
    os.close(self._theirs)


@pytest.fixture
def start():
  with contextlib.ExitStack() as opened:

    def run(*arguments):
      made = Terminal(*arguments)
      opened.callback(made.close)
      return made

    yield run


def test_every_command_is_a_key_without_any_display(start, tmp_path):
  terminal = start(tmp_path)
  terminal.until('Keys: t take over, r release, s success, f failure, c cut, n next, d discard, x')
  terminal.until('episode 0, recording')
  assert terminal.settings() != terminal.before
  terminal.press('t')
  terminal.until('A person acts.')
  terminal.until('YOU ACT')
  terminal.press('r')
  terminal.until('The policy acts, from a new chunk.')
  terminal.until('policy acts')
  for number, (key, end) in enumerate([('s', 'success'), ('f', 'failure'), ('c', 'cut')]):
    terminal.press(key)
    terminal.until(f'Episode {number} ended: {end}.')
    terminal.press('n')
    terminal.until(f'Episode {number + 1} begins.')
    terminal.until(f'episode {number + 1}, recording')
  terminal.press('d')
  terminal.until('Episode 3 is put aside.')
  terminal.press('q\x1b[A')  # and an arrow
  terminal.until('q: no command; t r s f c n d x')
  terminal.press('s')
  terminal.until('success: There is no episode to end.')
  terminal.press('x')
  terminal.until('Stopped.')
  terminal.until('THE END 1')  # no thread is left
  assert terminal.process.wait(10) == 0
  assert terminal.settings() == terminal.before
  found = [episode_files.read(path) for path in episode_files.finished(tmp_path)]
  assert [one.summary['end_reason'] for one in found] == ['success', 'failure', 'cut']


def test_a_wait_shows_that_it_lives_and_can_be_ended(start, tmp_path):
  terminal = start(tmp_path)
  terminal.until('episode 0, recording')
  terminal.press('s')
  beats = {terminal.until(' episode 1, paused')[-1] for _ in range(6)}
  assert beats == set('|/-\\')
  end = ' s: waits for next'
  seconds = [int(terminal.until(end).rpartition('paused ')[2]) for _ in range(6)]  # 1.25 s or more
  assert seconds == sorted(seconds) and seconds[0] < seconds[-1]
  terminal.press('x')
  terminal.until('THE END 1')


def test_where_nobody_can_take_over_that_is_said_and_the_robot_goes_on(start, tmp_path):
  terminal = start(tmp_path, 'alone')
  terminal.until('policy acts')
  terminal.press('t')
  terminal.until('takeover: found no source of actions; pass one, or human= to the recorder.')
  terminal.until('policy acts')
  terminal.press('x')
  terminal.until('THE END 1')
  (found,) = map(episode_files.read, episode_files.finished(tmp_path))
  assert {(step['who'], step['held']) for step in found.steps} == {('policy', False)}


def test_a_terminal_is_as_it_was_after_a_program_that_fell_over(start, tmp_path):
  terminal = start(tmp_path, 'raise')
  terminal.until('RuntimeError: a robot that falls over')
  assert terminal.process.wait(10) == 1
  assert terminal.settings() == terminal.before


def test_an_interrupt_reaches_the_program_and_restores_the_terminal(start, tmp_path):
  terminal = start(tmp_path)
  terminal.until('episode 0, recording')
  terminal.press('\x03')
  terminal.until('KeyboardInterrupt')
  terminal.process.wait(10)
  assert terminal.settings() == terminal.before


def test_without_a_terminal_that_is_said_and_the_robot_goes_on(tmp_path):
  done = subprocess.run(
    [sys.executable, PROGRAM, tmp_path], stdin=subprocess.DEVNULL, capture_output=True, text=True
  )
  assert done.returncode == 0
  expected = (
    'No keys are read: the standard input is no terminal; use the page, aloe_client.cockpit.'
  )
  assert expected in done.stderr
