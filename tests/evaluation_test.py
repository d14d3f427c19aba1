"""Success rate, throughput and interval of Appendix E, by hand."""

from unittest import mock

import numpy as np
import pytest

from aloe_jax import types
from aloe_jax.envs import simulation
from aloe_jax.run import evaluation
from experiments import laundry

SUCCESS, FAILURE, TIMEOUT = (
  types.EndReason.SUCCESS,
  types.EndReason.FAILURE,
  types.EndReason.TIMEOUT,
)


def test_throughput_counts_completed_episodes_per_hour_of_robot_time():
  found = evaluation.Evaluation(
    episodes=4, ends={'success': 3, 'failure': 1}, steps=600, control_hz=10.0
  )  # 60 seconds
  assert found.throughput == pytest.approx(240)
  assert found.successes_per_hour == pytest.approx(180)
  assert found.success_rate == 0.75


def test_the_interval_is_wilsons():
  found = evaluation.Evaluation(episodes=4, ends={'success': 3}, steps=1, control_hz=1.0)
  # (0.75 + 1.96^2/8 -+ 1.96 sqrt(0.75 * 0.25 / 4 + 1.96^2/64)) / (1 + 1.96^2/4)
  assert found.interval == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_a_policy_that_never_succeeds_still_has_a_throughput():
  found = evaluation.Evaluation(episodes=2, ends={'timeout': 2}, steps=7200, control_hz=1.0)
  assert (found.success_rate, found.throughput, found.successes_per_hour) == (0.0, 1.0, 0.0)
  assert found.interval[0] == 0.0
  assert found.interval[1] > 0.5


def test_the_row_of_a_table_reads_like_the_numbers():
  found = evaluation.Evaluation(
    episodes=4, ends={'success': 3, 'failure': 1}, steps=600, control_hz=10.0
  )
  cells = ['75.0 %', '30.1-95.4 %', '240', '180', 'failure 1, success 3']
  assert found.cells() == cells
  assert len(cells) == len(evaluation.COLUMNS) - 1


def test_the_summary_holds_what_the_evaluation_can_be_made_of_again():
  found = evaluation.Evaluation(episodes=4, ends={'success': 3}, steps=600, control_hz=10.0)
  summary = found.summary()
  fields = evaluation.Evaluation.__dataclass_fields__
  assert evaluation.Evaluation(**{name: summary[name] for name in fields}) == found
  assert (summary['success_rate'], summary['throughput']) == (0.75, pytest.approx(240))


def test_steps_of_failures_count_and_steps_after_an_end_do_not():
  lengths, ends = [3, 2, 5, 1], [SUCCESS, FAILURE, TIMEOUT, SUCCESS]
  end_reason, active = np.zeros((4, 6), np.int8), np.zeros((4, 6), bool)
  for index, (length, end) in enumerate(zip(lengths, ends, strict=True)):
    active[index, :length], end_reason[index, length - 1] = True, end
  nothing = np.zeros((4, 6))
  trajectories = simulation.Trajectories(
    nothing, nothing, nothing, nothing, end_reason, active, nothing
  )
  unwatched = mock.Mock(run=lambda *args, **kwargs: trajectories)
  found = evaluation.evaluate(
    unwatched, None, episodes=4, seed=0, control_hz=2.0, progress=lambda *args: None
  )
  assert found == evaluation.Evaluation(
    episodes=4, ends={'success': 2, 'failure': 1, 'timeout': 1}, steps=11, control_hz=2.0
  )


def test_scenes_are_those_of_the_seed_whatever_the_method_unless_a_number_is_given():
  config = laundry.get_config('sim')
  found = []
  for seed in (0, 1, 10, 2**31 - 1):
    of_methods = set()
    for agent in ('aloe', 'bc'):
      config.update(seed=seed, agent=agent, iterations=2)
      of_methods.add(evaluation.scenes(config))
    (scenes,) = of_methods
    found.append(scenes)
  assert found == [1_000_000, 1_000_001, 1_000_010, 999_999]
  config.evaluation.seed = 7
  assert evaluation.scenes(config) == 7
