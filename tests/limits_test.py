"""Plans are asked about as the simulator carries them out: clipped to the robot's limits."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny

from aloe_jax import types
from aloe_jax.envs import tabletop
from aloe_jax.preprocessing import normalize

LOW, HIGH = np.float32([-0.5, 0.1]), np.float32([0.25, 0.75])


def stats(*names):
  """Of numbers whose middle and width differ, as many for each name."""
  rng = np.random.default_rng(5)
  return {
    name: normalize.Stats(
      mean=np.array(center), std=np.array(width), q01=np.array(center) - width, q99=center + width
    )
    for name, center, width in (
      (name, rng.normal(size=2), rng.uniform(0.3, 2, size=2)) for name in names
    )
  }


def make_inputs(kind, delta, limits):
  maps = {'state': normalize.Identity(), 'action': normalize.Identity()}
  if kind is not None:
    found = stats('state', 'action')
    maps = {name: kind(found[name], name) for name in maps}
  changed = dataclasses.replace(tiny.INPUTS, state_size=2, delta=delta, limits=limits)
  return dataclasses.replace(changed, **maps)


@pytest.mark.parametrize('delta', [(), (1, -1), (2,)])
@pytest.mark.parametrize('kind', [None, normalize.Quantile, normalize.ZScore])
def test_what_is_carried_out_is_the_command_clipped_in_the_robots_units(kind, delta):
  rng = np.random.default_rng(0)
  inputs = make_inputs(kind, delta, (LOW, HIGH))
  raw = tiny.normal(rng, 4, 2)
  chunks = 2 * tiny.normal(rng, 4, 3, tiny.HORIZON, 2)
  found = inputs.carried_out(jax.numpy.asarray(chunks), inputs.proprio(raw))
  for sample in range(3):
    sent = inputs.undo_chunk(chunks[:, sample], raw)
    done = inputs.undo_chunk(np.asarray(found[:, sample]), raw)
    np.testing.assert_allclose(done, np.clip(sent, LOW, HIGH), atol=2e-5)
    assert not np.allclose(sent, done)


def test_a_robot_without_known_limits_has_its_plans_as_they_are():
  inputs = make_inputs(None, (), None)
  chunks = 9 * np.ones((2, 1, tiny.HORIZON, 2), np.float32)
  assert inputs.carried_out(chunks, np.zeros((2, types.PROPRIO_SIZE))) is chunks


def test_limits_without_an_end_clip_nothing():
  inputs = make_inputs(normalize.Quantile, (), (np.full(2, -np.inf), np.full(2, np.inf)))
  chunks = 9 * tiny.normal(np.random.default_rng(0), 2, 1, tiny.HORIZON, 2)
  proprio = np.zeros((2, types.PROPRIO_SIZE), np.float32)
  np.testing.assert_array_equal(inputs.carried_out(jax.numpy.asarray(chunks), proprio), chunks)


def test_the_policy_and_the_update_without_a_bank_draw_what_is_carried_out():
  rng = np.random.default_rng(1)
  limited = dataclasses.replace(tiny.INPUTS, limits=(LOW, HIGH))
  observation = tiny.make_observation(rng, 5)
  free, held = tiny.make_policy(), tiny.make_policy(inputs=limited)
  noise = free.noise(jax.random.key(0), np.arange(5), 4)
  sampled = free.sample(observation, noise)
  np.testing.assert_allclose(
    held.sample(observation, noise), np.clip(sampled, LOW, HIGH), atol=1e-6
  )
  assert (np.asarray(sampled) < LOW).any() and (np.asarray(sampled) > HIGH).any()

  learner = tiny.make_learner(actor=tiny.make_actor())
  state = tiny.make_state(learner)
  drawn = learner.sample(state, observation, np.arange(5), 3)
  own = dataclasses.replace(learner, inputs=limited).sample(state, observation, np.arange(5), 3)
  np.testing.assert_allclose(own, np.clip(drawn, LOW, HIGH), atol=1e-6)


def test_the_table_tops_limits_are_what_it_clips_to():
  sent = 3 * tiny.normal(np.random.default_rng(2), tabletop.ACTION_SIZE)
  np.testing.assert_array_equal(tabletop.executed(sent), np.clip(sent, -1, 1))
