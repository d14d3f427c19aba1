"""Run by parallel_test.py: the same updates on one device and on eight."""

import functools

import jax
import numpy as np
import tiny

from aloe_jax import optimizer
from aloe_jax import sharding

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


if __name__ == '__main__':
  assert len(jax.devices()) == 8
  sharding.MIN_SHARDED_SIZE = 32  # so that a tiny network has something to shard
  check_messages()
  aloe = tiny.make_learner('aloe', optimizer=ADAMW)
  check_agreement('aloe with a bank', aloe, make_batches(aloe, samples=1, weighted=True))
  check_agreement('aloe without', aloe, make_batches(aloe, samples=None, weighted=False))
  bc = tiny.make_learner('bc', optimizer=ADAMW)
  check_agreement('bc', bc, make_batches(bc, samples=None, weighted=False))
  attentive = tiny.make_learner('aloe', tiny.make_actor(), tiny.make_critic())
  batches = make_batches(attentive, samples=1, weighted=True)
  check_agreement('attention', attentive, batches, ('data 2 x fsdp 4',))
