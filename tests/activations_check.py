"""Run by activations_test.py: what the programs of a run gather, on eight described devices."""

import contextlib
import sys

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax.dry_run import costs
from aloe_jax.dry_run import hlo
from aloe_jax.dry_run import programs
from aloe_jax.dry_run import robot
from aloe_jax.dry_run import topologies
from aloe_jax.parallel import activations
from aloe_jax.parallel import sharding
from aloe_jax.run import datasets
from aloe_jax.run import experiment as experiment_lib

BATCH, PIECE = 16 * 13, 8 * 13  # rows; no axis of the networks is as long
SAMPLES, CAMERAS = 2, 3
FLOW_STEPS = 11  # no loop of the networks is as long
ROWS = {PIECE, BATCH, BATCH * SAMPLES, BATCH * CAMERAS}
FLOATS = {'bf16', 'f16', 'f32'}


def make_config(**changes):
  """A π0.5 of the smallest size on a robot, whose batch has a size that nothing else has."""
  config = command_line.load('experiments/laundry.py:debug')
  config.sim.task = ''
  config.task.delta = ()
  config.actor.update(samples=SAMPLES, batch_size=BATCH, tokenizer='words', dtype='bfloat16')
  config.actor.flow_steps = FLOW_STEPS
  config.critic.batch_size = BATCH
  config.train.update(critic_updates_per_call=2)
  for field, value in changes.items():
    section, _, name = field.partition('__')
    config[section][name] = value
  robot.fill_in(config)
  config_lib.validate(config)
  return config


def gathered(program):
  """What a device gets from others and should not, as text.

  Arrays of numbers of all rows, but for tokens; and weights anew in every step of the sampler.
  """
  found = []
  for collective in costs.collectives(hlo.parse(program.lower().compile().as_text())):
    if collective.times % FLOW_STEPS == 0:
      told = ' '.join(map(str, collective.results))
      found.append(f'{collective.times:.0f} times {collective.kind} {told}')
    kept = collective.kind in ('reduce-scatter', 'all-to-all')
    for shape in collective.operands if kept else collective.results:
      whole = collective.kind != 'all-to-all' and ROWS & set(shape.sizes)
      if whole and shape.kind in FLOATS:
        found.append(f'{collective.kind} {shape}')
  return found


def check(devices, **changes):
  experiment = experiment_lib.Experiment(make_config(**changes), devices)
  for program in programs.of(experiment, devices):
    found = gathered(program)
    print(program.name, found[:5], flush=True)
    assert not found, (
      f'{program.name}: {len(found)} collectives of the whole batch or of every step: {found}'
    )


if __name__ == '__main__':
  shape = sys.argv[1]
  devices = topologies.devices(topologies.Topology(shape or 'cpu:8', 8, shape=shape))
  sharding.MIN_SHARDED_SIZE = 256  # so that a tiny network has something to shard
  datasets.STEPS = BATCH // len({device.process_index for device in devices})
  check(devices, actor__augment=True)
  check(
    devices,
    actor__augment=False,
    actor__bank=False,
    actor__rule='paper',
    actor__weights='per_step',
    actor__microbatch=PIECE,
  )
  if not shape:
    check(devices, actor__augment=False, parallel__fsdp=4)
    # Where models say nothing, the partitioner gathers rows.
    activations.split_over = lambda mesh: contextlib.nullcontext()
    experiment = experiment_lib.Experiment(make_config(actor__augment=False), devices)
    actor = next(p for p in programs.of(experiment, devices) if p.name == 'actor update')
    found = gathered(actor)
    assert len(found) > 20, found
