"""The threshold of Q below which a person is warned, on fragments worked out by hand."""

import json

import numpy as np
import pytest
from report_numbers_test import CUT
from report_numbers_test import FAILURE
from report_numbers_test import HUMAN
from report_numbers_test import POLICY
from report_numbers_test import SUCCESS
from report_numbers_test import TAKEOVER
from report_numbers_test import TIMEOUT
from report_numbers_test import make_judgement

from aloe_jax.reporting import alarm


def measure(*fragments):
  return alarm.measure(*make_judgement(*fragments))


def successes(count, first=0):
  """Whose least Q are -first, -first - 1, and so on; it is not the last chunk's."""
  return [([-1, -i, 0], SUCCESS, POLICY) for i in range(first, first + count)]


def test_the_threshold_is_the_highest_that_announces_one_new_success_in_ten():
  # Of 19 successes one lies below the second lowest: a new one does with chance 2 / 20.
  assert alarm.threshold(-np.arange(19.0)) == -17
  assert alarm.threshold(-np.arange(18.0)) == -17  # 2 / 19 would be more than a tenth
  assert alarm.threshold(-np.arange(9.0)) == -8
  assert np.isnan(alarm.threshold(-np.arange(8.0)))


def test_a_threshold_keeps_its_promise_on_successes_that_it_has_not_seen():
  rng = np.random.default_rng(0)
  for count in (10, 25, 64):
    least = rng.gumbel(size=(2000, count))
    levels = np.array([alarm.threshold(row) for row in least])
    rate = np.mean(rng.gumbel(size=2000) < levels)
    assert rate == pytest.approx(int((count + 1) / 10) / (count + 1), abs=0.02)


def test_failures_are_announced_before_their_last_step_by_any_chunk():
  numbers = measure(
    *successes(20),  # the threshold is -18: that of the last but one
    ([-1, -30, -1, -1], FAILURE, POLICY),  # the running minimum counts
    ([-1, -30, -1], TAKEOVER, POLICY),
    ([-1, -1, -30], FAILURE, POLICY),  # too late
    ([-1, -18, -1], FAILURE, POLICY),  # not below
    ([-99, -99], FAILURE, HUMAN),
    ([-99, -99], TIMEOUT, POLICY),  # neither a success nor a failure
    ([-99, -99], CUT, POLICY),
  )
  assert numbers['q_threshold'].value == -18
  assert numbers['alarms'].value == 2 / 4
  assert 0 <= numbers['alarms'].low < 0.5 < numbers['alarms'].high <= 1
  # Without itself -19 or -18 finds -17 to be the last but one, and lies below it.
  assert numbers['false_alarms'].value == 2 / 20


def test_of_too_few_successes_no_threshold_is_told():
  for count in (0, 9):
    numbers = measure(*successes(count), ([-30, -1], FAILURE, POLICY))
    assert np.isnan([x.value for x in numbers.values()]).all()
    assert 'no threshold of Q can be told; it takes 10 successes' in alarm.sentence(numbers)
  assert measure(*successes(10))['q_threshold'].value == -9


def test_the_page_says_it_in_one_line():
  numbers = measure(*successes(20), ([-30, -1], FAILURE, POLICY), ([-3, -1], FAILURE, POLICY))
  assert alarm.sentence(numbers) == (
    'A warning while a robot acts: below a Q of -18.0 steps 50 % (0 to 100) of the failures are '
    'announced before they happen, and 10 % (0 to 25) of the successes falsely.'
  )
  assert 'no failure was there to be announced' in alarm.sentence(measure(*successes(20)))


def test_a_threshold_is_read_of_the_report_on_that_critic_alone(tmp_path):
  told = {'iteration': 3, 'held_out': True, 'q_threshold': -41.5, 'false_alarms': 0.08}

  def read(**changes):
    (tmp_path / 'report.json').write_text(json.dumps(told | changes))
    return alarm.read(tmp_path, 3)

  assert alarm.read(tmp_path, 3) is None  # there is none
  assert read() == (-41.5, 0.08)
  assert read(iteration=2) is None
  assert read(held_out=False) is None  # better than the truth
  assert read(q_threshold=None, false_alarms=None) is None
  (tmp_path / 'report.json').write_text('{"iteration": 3,')
  assert alarm.read(tmp_path, 3) is None
