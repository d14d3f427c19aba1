"""What devices that share parameters send each other: weights, and never the rows of a batch."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import numpy as np
import pytest

from aloe_jax.parallel import activations

ROOT = pathlib.Path(__file__).parents[1]
NO_COMPILER = importlib.util.find_spec('libtpu') is None


@pytest.mark.parametrize(
  'shape',
  ['', pytest.param('v5e:2x4', marks=pytest.mark.skipif(NO_COMPILER, reason='needs libtpu'))],
  ids=['cpu', 'tpu'],
)
def test_no_program_gathers_activations_of_the_whole_batch_or_weights_in_every_step(shape):
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': 'true',
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
  }
  script = ROOT / 'tests' / 'activations_check.py'
  done = subprocess.run(
    [sys.executable, script, shape], cwd=ROOT, env=environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout + done.stderr[-5000:]


def test_without_a_mesh_nothing_is_said():
  x = jnp.ones((4, 2))
  assert activations.rows(x) is x
  assert activations.columns(x) is x
  assert activations.whole(x) is x
  assert not activations.splits_columns(8)
  assert 'sharding' not in str(jax.make_jaxpr(activations.rows)(x))


def test_on_a_mesh_of_one_device_nothing_is_said_either():
  mesh = jax.make_mesh((1, 1), activations.AXES, axis_types=(AxisType.Auto,) * 2)
  with activations.split_over(mesh):
    assert 'sharding' not in str(jax.make_jaxpr(activations.rows)(np.ones((4, 2))))


def test_rows_and_columns_are_split_where_the_devices_divide_them():
  mesh = jax.sharding.AbstractMesh((2, 4), activations.AXES)
  with jax.sharding.use_abstract_mesh(mesh):
    for function, shape, said in (
      (activations.rows, (16, 3), True),
      (activations.rows, (12, 3), False),
      (activations.columns, (3, 16), True),
      (activations.columns, (16, 3), False),
      (activations.whole, (16, 3), True),
    ):
      told = str(jax.make_jaxpr(function)(np.ones(shape, np.float32)))
      assert ('sharding_constraint' in told) == said, (function, shape)
    assert activations.splits_columns(16)
    assert not activations.splits_columns(12)
