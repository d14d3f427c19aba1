"""Grasps are found where an arm begins to hold, and compared where as much is done."""

import dataclasses

import jax
import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.envs import tabletop
from aloe_jax.envs import tasks
from aloe_jax.reporting import judgement
from experiments import grasps

SUCCESS, FAILURE = types.EndReason.SUCCESS, types.EndReason.FAILURE
CARELESS, DOUBTFUL, SAFE = -0.4, 0.2, 0.6


def make(*fragments):
  """Chunks of fragments (end, scores, tilts held by the left arm, items in place), one a row.

  What is held is always (0.3, 0.4) m from its target, unless an item is in place: then it is there.
  """
  columns = {name: [] for name in ('first', 'left', 'end', 'score', 'episode')}
  features = []
  for number, (end, scores, tilts, placed) in enumerate(fragments):
    first, length = len(features), len(scores)
    columns['first'] += [first] * length
    columns['left'] += list(range(length))[::-1]
    columns['end'] += [end] * length
    columns['score'] += scores
    columns['episode'] += [number] * length
    for tilt, done in zip(tilts, placed, strict=True):
      feature = np.zeros((3, 16))
      if tilt is not None:
        feature[0, [grasps.HOLDING, grasps.TILT]] = 1, tilt
        feature[0, :2] = np.array([0.3, 0.4]) * (not done) / grasps.AWAY_UNIT
      feature[2, 0] = done
      features.append(feature)
  found = {name: np.array(x) for name, x in columns.items()}
  episode, score = found.pop('episode'), found['score'].astype(float)
  count = len(features)
  judged = judgement.Judgement(
    row=np.arange(count),
    source=np.full(count, types.Source.POLICY),
    terminal=np.ones(count, bool),
    returns=2 * score,
    advantage=score,
    v=score,
    **found,
  )
  return judged, np.array(features), episode


def test_features_are_those_of_the_simulator():
  sim = tabletop.Simulator(tasks.TASKS['sort_products'])
  state = sim.reset(jax.random.key(0))
  state = dataclasses.replace(
    state, held=state.held.at[0].set(0), grasp_tilt=state.grasp_tilt.at[0].set(CARELESS)
  )
  features = np.asarray(sim.see(state).features)
  assert features[0, grasps.HOLDING] == 1
  assert features[0, grasps.TILT] == np.float32(CARELESS)
  assert features[1, grasps.HOLDING] == 0
  way = np.asarray(state.target[0, :2] - state.position[0, :2])  # held at its middle
  np.testing.assert_allclose(features[0, :2] * grasps.AWAY_UNIT, way, rtol=1e-5)


def test_failures_are_told_apart_by_the_worst_grasp_in_hand():
  judged, features, episode = make(
    (FAILURE, [-9, -9], [None, CARELESS], [0, 0]),
    (FAILURE, [-9, -9], [None, DOUBTFUL], [0, 1]),
    (FAILURE, [-9, -9], [None, SAFE], [0, 0]),
    (FAILURE, [-9, -9], [SAFE, SAFE], [1, 1]),
    (FAILURE, [-9, -9], [SAFE, None], [0, 0]),
    (SUCCESS, [-9, -9], [SAFE, CARELESS], [0, 0]),
  )
  features[0, 1, [grasps.HOLDING, grasps.TILT]] = 1, CARELESS  # not the last chunk
  features[3, 1, [grasps.HOLDING, grasps.TILT]] = 1, SAFE  # the other arm holds a worse one
  numbers = grasps.measure(judged, features, episode)
  assert {name: x.value for name, x in numbers.items() if name.endswith('_failures')} == {
    'careless_failures': pytest.approx(1 / 5),
    'doubtful_failures': pytest.approx(1 / 5),
    'safe_failures': pytest.approx(2 / 5),
    'placing_failures': pytest.approx(2 / 5),
  }


def test_careless_grasps_are_compared_with_safe_ones_at_the_same_stage():
  judged, features, episode = make(
    (FAILURE, [-9, -20, -9], [None, CARELESS, CARELESS], [0, 0, 0]),
    (SUCCESS, [-9, -12, -9], [None, SAFE, SAFE], [0, 0, 0]),
    (SUCCESS, [-9, -14, -9], [None, SAFE, SAFE], [0, 0, 0]),
    (SUCCESS, [-9, -1, -9], [None, SAFE, SAFE], [0, 1, 1]),  # later: there is no careless one
    (FAILURE, [-9, -99, -9], [SAFE, SAFE, SAFE], [0, 0, 0]),  # held from its start
  )
  rows, stage, tilt = grasps.find(judged, features)
  assert rows.tolist() == [1, 4, 7, 10]
  assert (stage == stage[0]).tolist() == [True, True, True, False]
  np.testing.assert_array_equal(tilt, [CARELESS, SAFE, SAFE, SAFE])
  numbers = grasps.measure(judged, features, episode)
  assert numbers['score_gap'].value == pytest.approx(-20 + 13)
  assert numbers['return_gap'].value == pytest.approx(2 * (-20 + 13))
  assert numbers['careless_failures'].value == 0.5
  assert [numbers[name].value for name in ('careless', 'safe', 'failures')] == [1, 3, 2]


def test_stages_count_by_how_well_they_tell_the_two_apart():
  judged, features, episode = make(
    (FAILURE, [-9, -20], [None, CARELESS], [0, 0]),
    (SUCCESS, [-9, -10], [None, SAFE], [0, 0]),  # 10 apart, weight 1/2
    (FAILURE, [-9, -30], [None, CARELESS], [0, 1]),
    (SUCCESS, [-9, -10], [None, SAFE], [0, 1]),
    (SUCCESS, [-9, -10], [None, SAFE], [0, 1]),  # 20 apart, weight 2/3
  )
  numbers = grasps.measure(judged, features, episode)
  assert numbers['score_gap'].value == pytest.approx(-(10 / 2 + 20 * 2 / 3) / (1 / 2 + 2 / 3))


def test_where_nothing_was_grasped_the_differences_are_not_defined():
  judged, features, episode = make((FAILURE, [-9, -20], [None, None], [0, 0]))
  numbers = grasps.measure(judged, features, episode)
  assert np.isnan([numbers[name].value for name in ('score_gap', 'return_gap')]).all()
  assert [numbers[name].value for name in ('careless_failures', 'careless', 'failures')] == [
    0,
    0,
    1,
  ]


def test_where_nothing_failed_there_are_no_shares_of_failures():
  judged, features, episode = make((SUCCESS, [-9, -20], [None, SAFE], [0, 0]))
  numbers = grasps.measure(judged, features, episode)
  assert [numbers[name].value for name in ('safe', 'failures')] == [1, 0]
  shares = [x.value for name, x in numbers.items() if name.endswith('_failures')]
  assert np.isnan(shares).all()
