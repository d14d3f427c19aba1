"""A run that an earlier version began: this one goes on with it, and ends where that one did."""

import json
import math
import pathlib
import re
import shutil

import command_line
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from aloe_jax import policy
from aloe_jax import renamed
from aloe_jax.run import state_items

# Orbax says so of every tree that is read without its shapes.
pytestmark = pytest.mark.filterwarnings('ignore:Sharding info not provided')

OLD = pathlib.Path(__file__).parent / 'golden' / 'old_run'


def parameters(checkpoint):
  """{leaf: its sum and that of its absolute values} of a train state, and a digest of all."""
  items = [name for name in state_items.names(checkpoint) if name != state_items.ENCODER]
  state = {}
  with ocp.PyTreeCheckpointer() as checkpointer:
    for item in items:
      state |= checkpointer.restore((checkpoint / item).absolute())
  sums = {
    jax.tree_util.keystr(path): [float(np.sum(x, dtype=float)), float(np.abs(np.float64(x)).sum())]
    for path, x in jax.tree_util.tree_leaves_with_path(state)
  }
  return sums, policy.fingerprint(jax.tree.map(np.asarray, state))


def processor():
  """Its name and make: others add in another order."""
  info = pathlib.Path('/proc/cpuinfo')
  text = info.read_text() if info.exists() else ''
  fields = dict(re.findall(r'^(model name|cpu family|model)\t+: (.*)$', text, re.MULTILINE))
  return fields | {'avx512': 'avx512f' in text}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The old run, gone on with and reported on."""
  workdir = tmp_path_factory.mktemp('old') / 'run'
  shutil.copytree(OLD / 'workdir', workdir, copy_function=shutil.copyfile)
  for command, *options in (('train',), ('report', '--count=4')):
    status, _, errors = command_line.run(command, f'--workdir={workdir}', *options)
    assert status == 0, errors
  return workdir


def test_it_ends_bit_for_bit_where_it_would_have(finished):
  expected = json.loads((OLD / 'parameters.json').read_text())
  sums, digest = parameters(finished / 'checkpoints' / '2')
  assert sums.keys() == expected['sums'].keys()
  for leaf, values in expected['sums'].items():
    np.testing.assert_allclose(sums[leaf], values, rtol=1e-4, atol=1e-4, err_msg=leaf)
  if processor() == expected['processor']:
    assert digest == expected['digest']
  found, wanted = (json.loads((x / 'evaluations.json').read_text()) for x in (finished, OLD))
  assert found == wanted


def test_its_report_says_what_it_said(finished):
  found, expected = (json.loads((x / 'report.json').read_text()) for x in (finished, OLD))
  expected = renamed.numbers(expected)
  assert expected.keys() <= found.keys()
  for name, value in expected.items():
    if isinstance(value, float) and not math.isnan(value):
      assert found[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name
    elif not isinstance(value, float):
      assert found[name] == value, name
