"""Two hosts against one: processes of two devices each, which talk to each other."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def free_port():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def run(count, directory):
  """The results of every host."""
  (directory / 'rows').mkdir(parents=True)
  port = free_port()
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '2',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
  }
  script = ROOT / 'tests' / 'hosts_check.py'
  processes = [
    subprocess.Popen(
      [sys.executable, script, str(rank), str(count), str(port), directory],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for rank in range(count)
  ]
  try:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
  for process, output in zip(processes, outputs, strict=True):
    assert process.returncode == 0, output
  return [dict(np.load(directory / f'{rank}.npz')) for rank in range(count)]


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  directory = tmp_path_factory.mktemp('hosts')
  return run(1, directory / 'one')[0], run(2, directory / 'two')


def test_importing_touches_no_device_so_that_hosts_can_be_joined_first():
  join = f'jax.distributed.initialize("127.0.0.1:{free_port()}", 1, 0)'
  done = subprocess.run(
    [sys.executable, '-c', f'from aloe_jax import train; import jax; {join}'],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


def test_updates_bank_and_episodes_are_those_of_one_host(results):
  one, two = results
  for found in two:
    for name, expected in one.items():
      if not name.endswith(('rows', 'policy')):
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_hosts_agree_on_what_policy_they_hold(results):
  one, two = results
  for mode in ('fsdp', 'pmap'):
    assert {str(found[f'{mode} policy']) for found in two} == {str(one[f'{mode} policy'])}


def test_the_rows_of_a_batch_are_dealt_out_to_the_hosts(results):
  one, two = results
  for mode in ('fsdp', 'pmap'):
    whole = one[f'{mode} rows'].reshape(3, 2, 16)
    shares = [found[f'{mode} rows'].reshape(3, 2, 8) for found in two]
    np.testing.assert_array_equal(np.concatenate(shares, axis=2), whole)
