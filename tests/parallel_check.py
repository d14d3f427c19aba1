"""Run by parallel_test.py: the same updates on one device and on eight."""

import functools

import jax
import numpy as np
import tiny

from aloe_jax.learning import optimizer
from aloe_jax.parallel import sharding

UPDATES, BATCH = 3, 16

# Parameters move by some ten thousandths. Where a gradient is zero but for rounding, as that of a
# bias of attention keys is, Adam makes a step of rounding too, a hundredth of that.
ADAMW = optimizer.adamw(peak=2e-4, warmup=2, total=10)
MODES = {
  'pmap': sharding.Pmap,
  'fsdp 8': sharding.Fsdp,
  'data 2 x fsdp 4': functools.partial(sharding.Fsdp, fsdp=4),
}


def make_batches(learner, samples, weighted):
  rng = np.random.default_rng(0)
  critic_batches = None
  if learner.agent.critic:
    critic_batches = tiny.make_critic_batches(rng, UPDATES, BATCH, samples)
  return critic_batches, tiny.make_actor_batches(rng, UPDATES, BATCH, weighted)


def run(learner, layout, *batches):
  """State and metrics after the updates, and how many of the state's arrays were split."""
  state = layout.place_state(tiny.make_state(learner))
  batches = [None if b is None else layout.place_batches(b) for b in batches]
  state, metrics = layout.compile(learner.train_step)(state, *batches)
  sharded = sum(
    not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves((state.actor, state.critic))
  )
  return jax.device_get(layout.fetch((state, metrics))), sharded


def check_agreement(name, learner, batches, modes=tuple(MODES)):
  one = sharding.Fsdp(devices=jax.devices()[:1])
  (expected, numbers), _ = run(learner, one, *batches)
  assert expected.step == UPDATES * sum(b is not None for b in batches)
  for mode in modes:
    (state, metrics), sharded = run(learner, MODES[mode](), *batches)
    if mode != 'pmap':
      assert sharded >= 2, f'{name}, {mode}: {sharded} arrays are sharded'
    close = functools.partial(
      np.testing.assert_allclose, rtol=1e-5, atol=1e-5, err_msg=f'{name}, {mode}'
    )
    jax.tree.map(close, (metrics, state), (numbers, expected))


def check_messages():
  batches = tiny.make_actor_batches(np.random.default_rng(0), 1, 12)
  wanted = '12 rows of a batch do not divide by the number of devices (8); choose a multiple of 8.'
  for layout in (sharding.Pmap(), sharding.Fsdp()):
    try:
      layout.place_batches(batches)
    except ValueError as error:
      assert str(error) == wanted, error
    else:
      raise AssertionError(f'{layout} took 12 rows')
  try:
    sharding.Fsdp(fsdp=3)
  except ValueError as error:
    assert str(error).startswith('8 devices do not divide by parallel.fsdp (3)'), error
  else:
    raise AssertionError('a mesh of 8 / 3 was made')


def check_creation(learner):
  """States are made where they are to lie, out of parameters that are used up, by every mode."""
  example = jax.tree.map(lambda x: x[0], tiny.make_actor_batches(np.random.default_rng(0), 1, 1))
  expected = jax.jit(lambda: learner.init(3, example))()
  for mode, make in MODES.items():
    layout = make()

    def create(actor):
      return learner.init(3, example, actor)

    actor = layout.create(lambda: learner.init_actor(3, example))
    shapes = layout.shapes(create, actor)
    state = layout.create(create, actor)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(actor)), mode
    count = {'pmap': 1, 'fsdp 8': 8, 'data 2 x fsdp 4': 4}[mode]
    split = 0
    for leaf, like, value in zip(*map(jax.tree.leaves, (state, shapes, expected)), strict=True):
      assert (leaf.shape, leaf.dtype, leaf.sharding) == (like.shape, like.dtype, like.sharding)
      assert len(leaf.sharding.device_set) == (1 if mode == 'pmap' else 8)
      rule = sharding.shard_rule(leaf.shape, count)
      share = leaf.size // (count if any(rule) else 1)
      assert {shard.data.size for shard in leaf.addressable_shards} == {share}, (mode, leaf.shape)
      split += any(rule)
      np.testing.assert_allclose(leaf, value, rtol=1e-5, atol=1e-6)
    assert split == 0 if mode == 'pmap' else split >= 2, mode


def check_rows():
  """Rows that a policy samples for are split over all devices of a mesh, in their order."""
  rows = np.arange(48.0).reshape(16, 3)
  for fsdp in (4, 8):
    placed = sharding.Fsdp(fsdp).place_rows({'x': rows})['x']
    found = sorted((shard.index[0].start, shard.data) for shard in placed.addressable_shards)
    assert [start for start, _ in found] == list(range(0, 16, 2))
    np.testing.assert_array_equal(np.concatenate([data for _, data in found]), rows)
  placed = sharding.Pmap().place_rows(rows)
  assert placed.devices() == {jax.devices()[0]}  # parameters from `fetch` are on one device


if __name__ == '__main__':
  assert len(jax.devices()) == 8
  sharding.MIN_SHARDED_SIZE = 32  # so that a tiny network has something to shard
  check_messages()
  check_rows()
  aloe = tiny.make_learner('aloe', optimizer=ADAMW)
  check_creation(aloe)
  check_agreement('aloe with a bank', aloe, make_batches(aloe, samples=1, weighted=True))
  check_agreement('aloe without', aloe, make_batches(aloe, samples=None, weighted=False))
  bc = tiny.make_learner('bc', optimizer=ADAMW)
  check_agreement('bc', bc, make_batches(bc, samples=None, weighted=False))
  attentive = tiny.make_learner('aloe', tiny.make_actor(), tiny.make_critic())
  batches = make_batches(attentive, samples=1, weighted=True)
  check_agreement('attention', attentive, batches, ('data 2 x fsdp 4',))
