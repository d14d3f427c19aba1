"""Replicas and a sharded mesh against one device, on eight faked devices in a process apart."""

import os
import pathlib
import subprocess
import sys

import jax
from jax.sharding import PartitionSpec
import numpy as np
import pytest

from aloe_jax.parallel import sharding

ROOT = pathlib.Path(__file__).parents[1]


def test_eight_devices_agree_with_one():
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '8',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
  }
  script = ROOT / 'tests' / 'parallel_check.py'
  done = subprocess.run(
    [sys.executable, '-W', 'error', script], env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
  'shape, count, expected',
  [
    ((1024, 2048), 8, PartitionSpec(None, 'fsdp')),  # the largest axis
    ((4096, 2048), 8, PartitionSpec('fsdp', None)),
    ((2048, 2048), 8, PartitionSpec('fsdp', None)),  # the first of equals
    ((16, 1000, 1001), 8, PartitionSpec(None, 'fsdp', None)),  # 1001 is odd
    ((1001, 1001, 3), 8, PartitionSpec()),  # nothing divides
    ((257_152, 2048), 8, PartitionSpec(None, 'fsdp')),  # the columns of a table
    ((257_152, 2047), 8, PartitionSpec('fsdp', None)),  # which do not divide
    ((1024, 1023), 8, PartitionSpec()),  # below 2^20 numbers
    ((1024, 1024), 8, PartitionSpec('fsdp', None)),  # exactly 2^20
    ((4096, 4096), 1, PartitionSpec()),  # nobody to share with
    ((), 8, PartitionSpec()),
  ],
)
def test_the_largest_axis_that_divides_is_split(shape, count, expected):
  assert sharding.shard_rule(shape, count) == expected


def test_an_unknown_mode_is_refused_by_name():
  with pytest.raises(ValueError, match="parallel.mode is 'tensor'; expected 'pmap' or 'fsdp'"):
    sharding.make_layout('tensor')


def test_replicas_compile_a_step_once():
  traced, layout = [], sharding.Pmap()

  def step(state, batch, axis_name):
    traced.append(axis_name)
    return state + batch.mean(), batch.sum()

  compiled = layout.compile(step)
  state = layout.place_state(np.float32([1, 2]))
  for _ in range(3):
    state, total = compiled(state, layout.place_batches(np.ones((1, 4), np.float32)))
  assert traced == ['replica']
  np.testing.assert_array_equal(layout.fetch(state), [4, 5])
  assert layout.fetch(total) == 4


@pytest.mark.parametrize('layout', [sharding.Pmap(), sharding.Fsdp()], ids=['pmap', 'fsdp'])
def test_a_step_refuses_what_was_not_placed_on_its_devices(layout):
  def step(state, batch, axis_name=None):
    return state + batch.mean(), batch.sum()

  compiled, batch = layout.compile(step), np.ones((1, 4), np.float32)
  state = layout.place_state(np.float32([1, 2]))
  shaped = batch[None] if isinstance(layout, sharding.Pmap) else batch
  with pytest.raises(jax.errors.JaxRuntimeError, match='Disallowed host-to-device transfer'):
    compiled(state, shaped)
  state, _ = compiled(layout.place_state(np.float32([1, 2])), layout.place_batches(batch))
  np.testing.assert_array_equal(layout.fetch(state), [2, 3])
