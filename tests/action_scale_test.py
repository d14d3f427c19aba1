"""Actions of another scale than a policy begins from are said where nothing normalises them."""

import dataclasses
import types as python_types

import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.run import action_scale


def steps_of(action):
  """Of one episode with actions [T, 2]."""
  rng = np.random.default_rng(0)
  end_reason = np.zeros(len(action), np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  episode = tiny.make_episode(rng, end_reason)
  return tiny.make_steps([dataclasses.replace(episode, action=np.float32(action))])


def test_numbers_beyond_ten_are_told_with_what_99_in_100_of_them_keep_within(caplog):
  # -100 to 100 in steps of 1: of the magnitudes 0, 1, 1, ... 100, 100 that at 0.99 * 200 is 99.
  action = np.stack([np.linspace(-1, 1, 201), np.arange(-100.0, 101.0)], axis=1)
  action_scale.say_unscaled(steps_of(action))
  (said,) = caplog.messages
  assert "config.data.normalization is 'none': number 1 reaches 99; expected up to 10" in said
  assert '--config.data.normalization=zscore' in said


def test_actions_near_unit_scale_are_not_spoken_of_nor_is_one_step_of_many(caplog):
  action = np.stack([np.linspace(-10, 10, 201), np.zeros(201)], axis=1)
  action[100, 1] = 1e4
  action_scale.say_unscaled(steps_of(action))
  assert not caplog.messages


def test_recorded_actions_that_a_world_does_not_carry_out_are_told_with_its_limits(caplog):
  limits = np.float32([-1, 0]), np.float32([1, np.inf])
  world = python_types.SimpleNamespace(name='line', action_limits=limits)
  action_scale.say_outside(steps_of([[1.001, 1e9], [-1.001, 0.0]]), world)
  assert not caplog.messages
  action_scale.say_outside(steps_of([[0.5, 7.0], [-3.0, 0.0]]), world)
  (said,) = caplog.messages
  assert 'of what line carries out: number 0 reaches from -3 to 0.5, expected -1 to 1. ' in said
