"""A simulated robot taken step by step: it plays as rollouts do, with the human beside it."""

import jax
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.envs import stage as stage_lib
from aloe_jax.envs import tabletop
from aloe_jax.envs import tabletop_rollout
from aloe_jax.envs import tabletop_sight
from aloe_jax.envs import tasks

pytestmark = pytest.mark.usefixtures('quick_compilation')


@pytest.fixture(scope='module')
def stage():
  sim = tabletop.Simulator(tasks.TASKS['sort_products'])
  who = dict(style='careful', mode='good')
  return stage_lib.make(tabletop_rollout.Setup(sim, tabletop_sight.see, execute=5, **who))


def play(stage, seed, act):
  """Sights, actions and the end of an episode."""
  sight, end = stage.begin(seed), types.EndReason.NONE
  states, actions = [], []
  while end == types.EndReason.NONE:
    states.append(sight.state)
    actions.append(stage.executed(act(sight)))
    sight, end = stage.step(actions[-1])
  return np.stack(states), np.stack(actions), end


def test_the_human_finishes_the_task_most_of_the_time(stage):
  ends = [play(stage, seed, lambda sight: stage.human_action())[2] for seed in range(10)]
  assert ends.count(types.EndReason.SUCCESS) >= 6


def test_the_same_seed_is_the_same_episode(stage):
  first, again = (play(stage, 3, lambda sight: stage.human_action()) for _ in range(2))
  np.testing.assert_array_equal(first[0], again[0])
  np.testing.assert_array_equal(first[1], again[1])


def test_what_is_done_is_what_the_robot_can_do(stage):
  wanted = np.full(tabletop.ACTION_SIZE, 3.0, np.float32)
  expected = np.asarray(tabletop.executed(jax.numpy.asarray(wanted)))
  np.testing.assert_array_equal(stage.executed(wanted), expected)
  assert np.abs(expected).max() <= 1


def test_time_runs_out_and_begins_anew_for_the_human(stage):
  still = np.zeros(tabletop.ACTION_SIZE, np.float32)
  _, actions, end = play(stage, 0, lambda sight: still)
  assert end == types.EndReason.TIMEOUT and len(actions) == stage.limit
  stage.begin(0)
  for _ in range(stage.limit - 1):
    stage.step(still)
  stage.take_over()
  assert stage.step(still)[1] == types.EndReason.NONE


def test_a_request_has_what_is_seen(stage):
  sight = stage.begin(0)
  shown = stage_lib.request(sight)
  np.testing.assert_array_equal(shown['state'], sight.state)
  assert shown['features'].shape == tabletop_sight.FEATURE_SHAPE
