"""Commands as a user starts them: each in a process of its own."""

import os
import pathlib
import subprocess
import sys

from aloe_jax.data import __main__ as data_command

ROOT = pathlib.Path(__file__).parents[1]


def run(name, *arguments, **environment):
  """Status, output and errors of `python -m aloe_jax.name`."""
  done = subprocess.run(
    [sys.executable, '-m', f'aloe_jax.{name}', *arguments],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'} | environment,
    capture_output=True,
    text=True,
  )
  return done.returncode, done.stdout, done.stderr


def data(monkeypatch, capsys, *arguments):
  """Status, output and errors of `python -m aloe_jax.data`, in this process."""
  monkeypatch.setattr(sys, 'argv', ['data', *map(str, arguments)])
  status = 0
  try:
    data_command.main()
  except SystemExit as exit:
    status = exit.code
  printed = capsys.readouterr()
  return status, printed.out, printed.err


def assert_refused(result, message):
  """The command ended early, with one message that begins like this and no traceback.

  Before it may stand what the robot is.
  """
  status, printed, errors = result
  assert status != 0
  assert all(line.startswith('Robot: ') for line in printed.splitlines()), printed
  assert errors.startswith(f'error: {message}'), errors
  assert 'Traceback' not in errors
