"""The action bank: a function of its key alone, and refused where the key is another."""

import dataclasses
import pathlib
import tempfile

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.learning import action_bank
from aloe_jax.models import flow
from aloe_jax.parallel import sharding

pytestmark = pytest.mark.usefixtures('quick_compilation')

ROWS, SAMPLES, SEED = 7, 3, 11


@pytest.fixture(scope='module')
def policy():
  return tiny.make_policy()


def seen():
  return tiny.make_observation(np.random.default_rng(1), ROWS)


def make_observation(rows: np.ndarray) -> types.Observation:
  return jax.tree.map(lambda leaf: leaf[rows], seen())


def draw(policy, seed=SEED, batch_size=ROWS, rows=ROWS):
  key = action_bank.make_key(policy, seed=seed, samples=SAMPLES, rows=rows, data='d')
  done = []
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory)
    bank = action_bank.draw(
      policy,
      make_observation,
      key,
      path,
      layout=sharding.Pmap(),
      batch_size=batch_size,
      progress=done.append,
    )
  return bank, done


def test_it_holds_the_policys_actions_from_each_rows_own_noise(policy):
  bank, _ = draw(policy)
  chunk = (tiny.HORIZON, tiny.ACTION)
  noise = flow.chunk_noise(jax.random.key(SEED), np.arange(ROWS), SAMPLES, chunk)
  assert bank.action.shape == (ROWS, SAMPLES, *chunk)
  sample = jax.jit(policy.sample)
  for m in range(SAMPLES):
    alone = sample(seen(), noise[:, m : m + 1])[:, 0]
    np.testing.assert_allclose(bank.action[:, m], alone, atol=1e-5)
  assert len(np.unique(bank.action[..., 0, 0])) == ROWS * SAMPLES


@pytest.mark.parametrize('batch_size, progress', [(3, [3, 6, 7]), (1, list(range(1, 8))), (9, [7])])
def test_it_does_not_depend_on_the_batch_size(policy, batch_size, progress):
  bank, done = draw(policy, batch_size=batch_size)
  np.testing.assert_allclose(bank.action, draw(policy)[0].action, atol=1e-5)
  assert done == progress


def test_rows_that_join_the_buffer_leave_the_actions_of_the_others_as_they_were(policy):
  np.testing.assert_allclose(draw(policy, rows=4)[0].action, draw(policy)[0].action[:4], atol=1e-5)


def test_another_seed_draws_other_actions(policy):
  assert np.abs(draw(policy, seed=1)[0].action - draw(policy)[0].action).min() > 1e-6


def test_the_bank_of_the_policy_in_use_passes(policy):
  bank, _ = draw(policy)
  bank.check(action_bank.make_key(policy, seed=SEED, samples=SAMPLES, rows=ROWS, data='d'))


@pytest.mark.parametrize(
  'what, changes',
  [
    ('policy', dict(policy='0123456789abcdef')),
    ('seed 11, but seed 12', dict(seed=12)),
    ('flow_steps 2, but flow_steps 10', dict(flow_steps=10)),
    ('samples 3, but samples 8', dict(samples=8)),
    ('rows 7, but rows 9', dict(rows=9)),
    ('data d, but data e', dict(data='e')),
  ],
)
def test_a_stale_bank_is_refused_and_what_differs_is_named(policy, what, changes):
  bank, _ = draw(policy)
  with pytest.raises(action_bank.StaleBankError, match=f'drawn with {what}'):
    bank.check(dataclasses.replace(bank.key, **changes))


def test_one_changed_parameter_makes_another_key(policy):
  leaves, structure = jax.tree.flatten(policy.params)
  leaves[-1] = leaves[-1] + 1e-3
  other = dataclasses.replace(policy, params=jax.tree.unflatten(structure, leaves))
  keys = [action_bank.make_key(p, seed=0, samples=1, rows=1, data='d') for p in (policy, other)]
  assert keys[0] != keys[1]
