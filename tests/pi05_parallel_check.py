"""Run by pi05_train_test.py: the warm start on eight devices, sharded and replicated."""

import json
import pathlib
import sys

import jax
import robot

from aloe_jax import train
from aloe_jax.parallel import sharding
from aloe_jax.run import experiment

if __name__ == '__main__':
  assert len(jax.devices()) == 8
  sharding.MIN_SHARDED_SIZE = 256  # so that a tiny network has something to shard
  given, place = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
  given['data__episodes'] = tuple(given['data__episodes'])
  for mode in ('fsdp', 'pmap'):
    config = robot.make_config(
      **given, agent='bc', iterations=0, critic__batch_size=8, parallel__mode=mode
    )
    train.run(experiment.Experiment(config), place / mode)
