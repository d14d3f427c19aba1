"""What updates alone need waits in the host's memory while a bank is drawn, and comes back."""

import types

import jax
import numpy as np
import pytest
import tiny
import updates

from aloe_jax.parallel import host_memory
from aloe_jax.parallel import sharding
from aloe_jax.run import updates as updates_lib


@pytest.fixture(scope='module', params=['fsdp', 'pmap'])
def moving(request):
  """Updates of a state that has moved a little."""
  learner = updates.LEARNER
  experiment = types.SimpleNamespace(layout=sharding.make_layout(request.param))
  made = updates_lib.Updates(experiment, learner, tiny.make_state(learner), None, None)
  step(made)
  return made


@pytest.fixture(autouse=True)
def apart(monkeypatch):
  """Says that devices have memory of their own."""
  monkeypatch.setattr(host_memory, 'is_apart', lambda: True)


def step(made):
  batches = updates.critic_batches(), updates.actor_batches()
  placed = [made._layout.place_batches(batch) for batch in batches]
  made._placed, _ = made._step(made._placed, *placed)


def kinds(made, fields):
  leaves = jax.tree.leaves([getattr(made._placed, field) for field in fields])
  return {leaf.sharding.memory_kind for leaf in leaves}


def test_only_what_is_asked_and_the_critic_stay_on_the_devices(moving):
  with moving.aside(None):
    assert kinds(moving, updates_lib.IDLE) == {'pinned_host'}
    assert kinds(moving, ['critic', 'step', 'seed']) == {'device'}
  assert kinds(moving, updates_lib.IDLE) == {'device'}


def test_parameters_that_are_asked_are_not_moved(moving):
  """Where they are the state's own: a replica that was fetched is a copy."""
  acting = moving.state.acting
  own = {id(x) for x in jax.tree.leaves(moving._placed.actor_ema)}
  is_own = id(jax.tree.leaves(acting)[0]) in own
  with moving.aside(acting):
    assert kinds(moving, ['actor_ema']) == {'device' if is_own else 'pinned_host'}
    assert kinds(moving, ['actor', 'actor_optimizer']) == {'pinned_host'}
    jax.tree.map(np.asarray, acting)
  assert kinds(moving, updates_lib.IDLE) == {'device'}


def test_what_comes_back_has_its_bits_and_the_next_update_is_the_same(moving):
  before = jax.tree.map(lambda x: np.array(x, copy=True), moving.state)
  with moving.aside(moving.state.acting):
    pass
  jax.tree.map(np.testing.assert_array_equal, moving.state, before)
  step(moving)
  after = jax.tree.map(lambda x: np.array(x, copy=True), moving.state)
  moving._placed = moving._layout.place_state(before)
  step(moving)
  jax.tree.map(np.testing.assert_array_equal, after, moving.state)


def test_it_comes_back_where_the_sweep_is_stopped(moving):
  with pytest.raises(SystemExit), moving.aside(moving.state.acting):
    raise SystemExit(1)
  assert kinds(moving, updates_lib.IDLE) == {'device'}


def test_a_host_without_room_leaves_all_where_it_is(moving, monkeypatch, capsys):
  def full(arrays, stay):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: no room\nmore')

  monkeypatch.setattr(host_memory, 'Lent', full)
  with moving.aside(moving.state.acting):
    assert kinds(moving, updates_lib.IDLE) == {'device'}
  assert 'the host has no room for it: RESOURCE_EXHAUSTED: no room' in capsys.readouterr().out
