"""Actions of another scale than a policy begins from are said where nothing normalises them."""

import dataclasses
import logging

import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.run import unscaled


def warnings(action, caplog):
  """What is said of actions [T, 2]."""
  rng = np.random.default_rng(0)
  end_reason = np.zeros(len(action), np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  episode = tiny.make_episode(rng, end_reason)
  episode = dataclasses.replace(episode, action=np.float32(action))
  with caplog.at_level(logging.WARNING):
    unscaled.say(tiny.make_steps([episode]))
  return caplog.messages


def test_numbers_beyond_ten_are_told_with_what_99_in_100_of_them_keep_within(caplog):
  # -100 to 100 in steps of 1: of the magnitudes 0, 1, 1, ... 100, 100 that at 0.99 * 200 is 99.
  action = np.stack([np.linspace(-1, 1, 201), np.arange(-100.0, 101.0)], axis=1)
  (said,) = warnings(action, caplog)
  assert "config.data.normalization is 'none': number 1 reaches 99; expected up to 10" in said
  assert '--config.data.normalization=zscore' in said


def test_actions_near_unit_scale_are_not_spoken_of_nor_is_one_step_of_many(caplog):
  action = np.stack([np.linspace(-10, 10, 201), np.zeros(201)], axis=1)
  action[100, 1] = 1e4
  assert not warnings(action, caplog)
