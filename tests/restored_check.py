"""Run by many_hosts_test.py: a checkpoint read onto some of eight devices, and as NumPy."""

import json
import pathlib
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax import config as config_lib
from aloe_jax import policy
from aloe_jax.parallel import sharding
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from aloe_jax.run import state_items

workdir = pathlib.Path(sys.argv[1])
made = experiment.Experiment(config_lib.read(workdir / 'config.json'))
path = checkpoints.Checkpoints(workdir / 'checkpoints').newest()
found = {}
for count in (1, 2, 4, 8):
  made.layout = sharding.Fsdp(devices=jax.devices()[:count])
  state = checkpoints.restore(path, made.abstract_state(), made.architecture())
  shards = {len({str(s.index) for s in x.addressable_shards}) for x in jax.tree.leaves(state)}
  found[str(count)] = policy.fingerprint(state), max(shards)
shapes = made.abstract_state()
read = {}
with ocp.PyTreeCheckpointer() as checkpointer:
  for name in state_items.of_fields({name: getattr(shapes, name) for name in state_items.FIELDS}):
    like = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), {name: getattr(shapes, name)})
    arguments = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), like)
    read |= checkpointer.restore(path / name, item=like, restore_args=arguments)
numbers = shapes.replace(**read)
assert all(isinstance(x, np.ndarray | np.number) for x in jax.tree.leaves(numbers))
found['numpy'] = policy.fingerprint(numbers), 1
print(json.dumps(found))
