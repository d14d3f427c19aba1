"""Run by hosts_test.py, once per host: the same features, bank, updates and episodes on all."""

import contextlib
import pathlib
import sys
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.data import row_cache
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_rollout
from aloe_jax.envs import tabletop_sight
from aloe_jax.envs import tasks
from aloe_jax.learning import action_bank
from aloe_jax.learning import optimizer
from aloe_jax.models import encoder
from aloe_jax.parallel import hosts
from aloe_jax.parallel import sharding
from aloe_jax.run import experiment
from aloe_jax.run import starting_point as start
from experiments import laundry

BATCH, UPDATES, SEED = 16, 3, 5
ADAMW = optimizer.adamw(peak=2e-4, warmup=2, total=10)
FEATURES = np.arange(50 * 6, dtype=np.float32).reshape(50, 2, 3)


def make_buffer():
  rng = np.random.default_rng(0)
  ends = [types.EndReason.NONE] * 9 + [types.EndReason.SUCCESS]
  steps = tiny.make_steps([tiny.make_episode(rng, ends) for _ in range(5)])
  chunking = replay.Chunking(tiny.HORIZON, tiny.HORIZON, discount=0.9, fail_cost=10.0)
  host = jax.process_index(), jax.process_count()
  buffer = replay.Replay(steps, tiny.INPUTS, chunking, host=host)
  buffer.continue_ended()
  return buffer


def check_rows(directory, count, *, shared=True):
  """Every host computes its share; a stop leaves what all had done. All have all, on any disks."""
  asked = []

  def compute(rows, fails_at=None):
    if fails_at is not None and len(asked) == fails_at:
      raise KeyboardInterrupt
    asked.append(rows)
    return FEATURES[rows]

  def build(name, compute):
    return row_cache.build(
      directory / name, FEATURES.shape, np.float32, compute, batch_size=4, progress=lambda n: None
    )

  np.testing.assert_array_equal(build('features.npy', compute), FEATURES)
  assert len(asked) == -(-50 // (4 * count))
  if not shared:
    return
  asked.clear()
  stop = 2 + jax.process_index()  # one host is a batch ahead of the other
  with contextlib.suppress(KeyboardInterrupt):
    build('stopped.npy', lambda rows: compute(rows, stop))
  asked.clear()
  np.testing.assert_array_equal(build('stopped.npy', compute), FEATURES)
  assert len(asked) == -(-50 // (4 * count)) - 2
  hosts.wait('the rows are checked')
  assert sorted(path.name for path in directory.iterdir()) == ['features.npy', 'stopped.npy']


def learn(directory, layout):
  """The state after updates from a bank, all on every host, and the bank."""
  buffer = make_buffer()
  learner = tiny.make_learner('aloe', tiny.make_actor(), optimizer=ADAMW)
  start = layout.fetch(layout.place_state(tiny.make_state(learner)))
  policy = tiny.make_policy(params=start.actor_ema)
  key = action_bank.make_key(policy, seed=SEED, samples=2, rows=len(buffer), data='')
  bank = action_bank.draw(
    policy,
    buffer.observation,
    key,
    directory,
    layout=layout,
    batch_size=8,
    progress=lambda done: None,
  )
  ones = np.ones(len(buffer), np.float32)
  batches = (
    buffer.critic_batches(SEED, 0, UPDATES, BATCH, bank.action),
    buffer.actor_batches(SEED, 0, UPDATES, BATCH, buffer.starts, ones),
  )
  placed = [layout.place_batches(batch) for batch in batches]
  state = layout.place_state(tiny.make_state(learner))
  state, metrics = layout.compile(learner.train_step)(state, *placed)
  rows = [batch.position for batch in batches]
  found = jax.tree.map(hosts.whole, layout.fetch((state, metrics)))
  return jax.tree.leaves((found, np.asarray(bank.action))), key, rows


def check_encoder(mode):
  """Every host's images have the features that they have alone, on one device."""
  config = laundry.get_config('pixels')
  config.parallel.mode = mode
  pixels = experiment.Experiment(config)
  rng = np.random.default_rng(jax.process_index())
  images = {
    camera: rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8) for camera in types.CAMERAS
  }
  masks = {camera: np.ones(4, bool) for camera in types.CAMERAS}
  config.actor.warm_start_updates = 0  # so that there is an encoder from the beginning
  params = start.encoder_params(start.find(''), pixels, None)
  found = pixels.encode(params, images, masks)
  alone = encoder.encode_cameras(pixels.encoder, jax.tree.map(hosts.whole, params), images)
  np.testing.assert_allclose(found, alone, atol=1e-4)


@flax.struct.dataclass
class Restless:
  """A policy of which all hosts hold parameters, and whose noise is that of an episode's number."""

  scale: Any

  def act(self, sight, key, index=None):
    index = jnp.arange(len(sight.state)) if index is None else index
    shape = 2, tabletop.ACTION_SIZE
    noise = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), shape))(index)
    return self.scale * noise


def play(layout):
  """Three episodes, which two hosts of two devices do not share evenly."""
  sim = tabletop.Simulator(tasks.TASKS['fold_laundry'])
  setup = tabletop_rollout.Setup(sim, tabletop_sight.see, 2, layout=layout)
  policy = layout.fetch(layout.place_state(Restless(np.float32(0.5))))
  told = []
  played = setup.run(
    policy, key=jax.random.key(3), episodes=3, progress=lambda *numbers: told.append(numbers)
  )
  assert told[-1] == (3, 3, played.active.sum())
  return {
    'played actions': np.where(played.active[..., None], played.action, 0),
    'played ends': np.where(played.active, played.end_reason, 0),
    'played steps': played.lengths,
  }


def main(rank, count, port, directory):
  if count > 1:
    jax.distributed.initialize(f'127.0.0.1:{port}', count, rank)
  assert jax.process_count() == count
  assert len(jax.devices()) == 2 * count
  sharding.MIN_SHARDED_SIZE = 32  # so that a tiny network has something to shard
  assert hosts.lowest(7 - rank) == 7 - (count - 1)
  check_rows(directory / 'rows', count)
  check_rows(directory / f'rows_of_{rank}', count, shared=False)
  for mode in ('fsdp', 'pmap'):
    check_encoder(mode)
  results = {}
  for mode, layout in (('fsdp', sharding.Fsdp()), ('pmap', sharding.Pmap())):
    leaves, key, rows = learn(directory / mode, layout)
    results |= {f'{mode} {number:03}': leaf for number, leaf in enumerate(leaves)}
    results[f'{mode} policy'] = np.array(key.policy)
    results[f'{mode} rows'] = np.concatenate([row.reshape(UPDATES, -1) for row in rows], 1)
  results |= play(sharding.Fsdp())
  np.savez(directory / f'{rank}.npz', **results)


if __name__ == '__main__':
  rank, count, port = map(int, sys.argv[1:4])
  main(rank, count, port, pathlib.Path(sys.argv[4]))
