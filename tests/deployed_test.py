"""Success of checkpoints on the robot, counted by hand from the ends of real episodes."""

import types as python_types

import numpy as np
import pytest

from aloe_jax import metrics
from aloe_jax import types
from aloe_jax.data import index as index_lib
from aloe_jax.reporting import deployed

SUCCESS, FAILURE, TIMEOUT, TAKEOVER, CUT = (
  types.EndReason[name] for name in ('SUCCESS', 'FAILURE', 'TIMEOUT', 'TAKEOVER', 'CUT')
)


def make_index(*episodes, hz=10.0):
  """Of (checkpoint's step or None, ends of its fragments), each fragment of 30 steps."""
  ends, entries = [], []
  for step, reasons in episodes:
    start = 30 * sum(len(r) for _, r in episodes[: len(entries)])
    metadata = {'fps': hz} | ({} if step is None else {'checkpoint_step': step})
    stop = start + 30 * len(reasons)
    entries.append(index_lib.Episode(start, stop, 'file', len(entries), metadata))
    for reason in reasons:
      ends += [0] * 29 + [int(reason)]
  return python_types.SimpleNamespace(
    episodes=lambda: iter(entries), end_reason=np.array(ends, np.int8)
  )


INDEX = make_index(
  (100, [SUCCESS]),
  (100, [FAILURE]),
  (100, [TAKEOVER, SUCCESS]),
  (100, [TAKEOVER, FAILURE]),
  (100, [CUT]),
  (200, [SUCCESS]),
  (200, [SUCCESS]),
  (200, [TIMEOUT]),
  (None, [SUCCESS]),
  (-1, [SUCCESS]),
)


def test_each_checkpoint_is_judged_by_what_it_did_by_itself():
  first, second = deployed.of([INDEX], 30.0)
  assert (first.step, first.alone.episodes, first.alone.successes) == (100, 4, 1)
  assert (first.taken_over, first.helped, first.cut) == (2, 1, 1)
  assert (second.step, second.alone.episodes, second.alone.successes) == (200, 3, 2)
  assert (second.taken_over, second.helped, second.cut) == (0, 0, 0)


def test_intervals_and_throughput_are_of_these_episodes():
  first, _ = deployed.of([INDEX], 30.0)
  assert first.alone.interval == metrics.wilson_interval(1, 4)
  # 6 fragments of 30 steps at 10 a second: 18 seconds for 4 episodes.
  assert first.alone.throughput == pytest.approx(4 / (18 / 3600))


def test_the_best_is_named_and_so_is_what_may_be_chance():
  found = deployed.of([INDEX], 30.0)
  assert deployed.best(found).step == 200
  assert 'chance may explain it' in deployed.advice(found)
  clear = deployed.of([make_index(*[(1, [FAILURE])] * 20, *[(2, [SUCCESS])] * 20)], 30.0)
  assert deployed.advice(clear) == 'The checkpoint of 2 updates did best by itself.'


def test_numbers_of_the_report_are_named_by_the_checkpoints_step():
  numbers = deployed.flat(deployed.of([INDEX], 30.0))
  assert numbers['deployed_best'] == 200
  assert numbers['deployed_100_success_rate'] == 0.25
  assert numbers['deployed_200_episodes'] == 3


def test_episodes_that_were_all_cut_have_no_rate():
  found = deployed.of([make_index((5, [CUT]))], 30.0)
  assert deployed.best(found) is None
  assert next(iter(deployed.rows(found))) == ['5', '-', '-', '-', '-', '0', '0', '1']
  assert deployed.advice(found) == 'No episode came to an end of its own.'
  assert 'deployed_5_success_rate' not in deployed.flat(found)
