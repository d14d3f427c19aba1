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


POLICY, HUMAN = types.Source.POLICY, types.Source.HUMAN


def make_index(*episodes, hz=10.0):
  """Of (checkpoint's step or metadata, ends of its fragments, who began it), 30 steps a fragment.

  After a take-over the human acts.
  """
  ends, sources, entries = [], [], []
  for told, reasons, *begun in episodes:
    metadata = {'fps': hz} | (told if isinstance(told, dict) else {'checkpoint_step': told})
    who = begun[0] if begun else POLICY
    start = len(ends)
    for reason in reasons:
      ends += [0] * 29 + [int(reason)]
      sources += [int(who)] * 10 + [int(POLICY if begun[1:] else who)] * 20
      who = HUMAN if reason == TAKEOVER else POLICY
    entries.append(index_lib.Episode(start, len(ends), 'file', len(entries), metadata))
  return python_types.SimpleNamespace(
    episodes=lambda: iter(entries),
    end_reason=np.array(ends, np.int8),
    source=np.array(sources, np.int8),
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
  ({}, [SUCCESS]),
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


def test_what_a_person_began_is_no_success_of_the_policy_and_what_one_did_alone_is_nobodys():
  released = (100, [SUCCESS], HUMAN, 'then the policy')
  (found,) = deployed.of([make_index(released, (100, [SUCCESS]))], 30.0)
  assert (found.alone.episodes, found.alone.successes) == (2, 1)
  assert (found.taken_over, found.helped) == (1, 1)
  assert deployed.of([make_index((100, [SUCCESS], HUMAN))], 30.0) == []
  assert deployed.of([make_index((100, [SUCCESS], types.Source.DEMO))], 30.0) == []


def test_checkpoints_of_two_runs_with_as_many_updates_stay_apart():
  of_a, of_b = (
    {'checkpoint_step': 3500, 'checkpoint': f'runs/{run}/checkpoints/0'} for run in 'ab'
  )
  found = deployed.of([make_index(*[(of_a, [SUCCESS])] * 20), make_index((of_b, [FAILURE]))], 30.0)
  assert [(one.checkpoint, one.alone.successes) for one in found] == [
    ('runs/a/checkpoints/0', 20),
    ('runs/b/checkpoints/0', 0),
  ]
  assert [row[0] for row in deployed.rows(found)] == [
    '3500 (runs/a/checkpoints/0)',
    '3500 (runs/b/checkpoints/0)',
  ]
  assert deployed.advice(found).startswith(
    'The checkpoint of 3500 updates (runs/a/checkpoints/0) did best by itself'
  )
  numbers = deployed.flat(found)
  assert numbers['deployed_3500_1_success_rate'] == 1 and numbers['deployed_3500_2_episodes'] == 1
  assert numbers['deployed_best_checkpoint'] == 'runs/a/checkpoints/0'


def test_an_episode_in_which_two_checkpoints_acted_counts_for_neither():
  both = {'checkpoint_step': -1, 'checkpoint': '', 'checkpoints': 2}
  found = deployed.of([make_index((both, [SUCCESS]), (both, [CUT]), (7, [FAILURE]))], 30.0)
  assert [one.step for one in found if one.is_one] == [7]
  assert deployed.best(found).step == 7
  assert [row[:2] for row in deployed.rows(found)] == [['7', '0 of 1'], ['more than one', '1 of 1']]
  assert deployed.advice(found) == (
    'The checkpoint of 7 updates did best by itself. 2 episodes in which more than one checkpoint '
    'acted count for none of them.'
  )
  assert deployed.flat(found)['deployed_several_episodes'] == 1
