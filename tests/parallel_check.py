"""Run by parallel_test.py: the same updates on one device and on eight."""

import jax
import numpy as np
import tiny

from aloe_jax import optimizer
from aloe_jax import sharding

UPDATES, BATCH = 3, 16
sharding.MIN_SHARDED_SIZE = 32  # so that a tiny network has something to shard

CASES = {
  'aloe with a bank': dict(name='aloe', samples=1, weighted=True),
  'aloe without': dict(name='aloe', samples=None, weighted=False),
  'bc': dict(name='bc', samples=None, weighted=False),
  'the networks of the simulator': dict(
    name='aloe',
    samples=1,
    weighted=True,
    networks=dict(actor=tiny.make_actor(), critic_module=tiny.make_critic()),
  ),
}


def make_case(name, samples, weighted, networks=None):
  # Parameters move by a few thousandths. Where a gradient is zero but for rounding, as that of a
  # bias of attention keys is, Adam makes a step of rounding too, a hundredth of that.
  adamw = optimizer.adamw(peak=2e-4, warmup=2, total=10)
  learner = tiny.make_learner(name, optimizer=adamw, **networks or {})
  rng = np.random.default_rng(0)
  critic_batches = None
  if learner.agent.critic:
    critic_batches = tiny.make_critic_batches(rng, UPDATES, BATCH, samples)
  return learner, critic_batches, tiny.make_actor_batches(rng, UPDATES, BATCH, weighted)


def run(learner, layout, *batches):
  """The state and metrics after the updates, and the specs of the state while it was there."""
  state = layout.place_state(tiny.make_state(learner))
  batches = [None if b is None else layout.place_batches(b) for b in batches]
  state, metrics = layout.compile(learner.train_step)(state, *batches)
  sharded = sum(
    not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves((state.actor, state.critic))
  )
  return jax.device_get(layout.fetch((state, metrics))), sharded


def check_agreement(name):
  learner, *batches = make_case(**CASES[name])
  devices = jax.devices()
  (expected, numbers), _ = run(learner, sharding.Fsdp(devices=devices[:1]), *batches)
  assert expected.step == UPDATES * sum(b is not None for b in batches)
  layouts = {
    'pmap': sharding.Pmap(),
    'fsdp 8': sharding.Fsdp(),
    'data 2 x fsdp 4': sharding.Fsdp(fsdp=4),
  }
  for mode, layout in layouts.items():
    (state, metrics), sharded = run(learner, layout, *batches)
    if mode != 'pmap':
      assert sharded >= 2, f'{name}, {mode}: {sharded} arrays are sharded'
    for what, found, wanted in (('metrics', metrics, numbers), ('state', state, expected)):
      jax.tree.map(
        lambda a, b, what=what, mode=mode: np.testing.assert_allclose(
          a, b, rtol=1e-5, atol=1e-5, err_msg=f'{name}, {mode}, {what}'
        ),
        found,
        wanted,
      )


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
  check_messages()
  for case in CASES:
    check_agreement(case)
