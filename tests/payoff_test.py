"""What first cards are held against in the end, by hand."""

import numpy as np
import pytest

from aloe_jax.comparison import payoff


def make_run(task, seed, method, *successes):
  iterations = [{'success_rate': success} for success in successes]
  return {'task': task, 'seed': seed, 'method': method, 'iterations': iterations}


def make_point(task, seed, bias, **others):
  card = {'bias_v': bias, 'returns_std': 10.0, 'foretold': 'better'} | others
  return {'task': task, 'seed': seed, 'method': 'aloe', 'iteration': 1, 'before': 5.0, 'card': card}


RESULTS = {
  'tasks': ['push', 'fold'],
  'runs': [
    make_run('push', 1, 'ALOE', 0.1, 0.5, 0.8),
    make_run('push', 1, 'filtered BC', 0.1, 0.6, 0.7),
    make_run('push', 2, 'ALOE', 0.1, 0.4, 0.4),
    make_run('push', 2, 'filtered BC', 0.1, 0.5, 0.6),
    make_run('fold', 1, 'ALOE', 0.2, 0.9),
    make_run('fold', 1, 'filtered BC', 0.2, 0.6),
    make_run('fold', 2, 'ALOE', 0.2, 0.9),  # which has no filtered BC beside it
    make_run('fold', 3, 'filtered BC', 0.2, 0.6),
  ],
}
POINTS = [
  make_point('push', 1, 4.0),
  make_point('push', 2, 9.0, foretold='cannot tell'),
  make_point('fold', 1, -1.0),
  make_point('fold', 2, 3.0),
  make_point('fold', 1, 7.0) | {'iteration': 2},
  make_point('fold', 1, 7.0) | {'method': 'aloe_the_paper_s_weights'},
]


@pytest.fixture
def told():
  return payoff.match(POINTS, {'methods': payoff.gains(RESULTS)})


def test_a_gain_is_of_the_last_iteration_and_of_runs_that_have_both(told):
  gains = payoff.gains(RESULTS)
  assert gains == pytest.approx({('push', 1): 10, ('push', 2): -20, ('fold', 1): 30})
  assert [(one.point['task'], one.point['seed']) for one in told] == [
    ('push', 1),
    ('push', 2),
    ('fold', 1),
  ]


def test_numbers_of_the_first_card_are_ranked_against_the_gain(told):
  found = payoff.correlations(told)
  assert found['bias_v']['value'] == pytest.approx(-1)  # 4, 9, -1 and 10, -20, 30
  assert found[payoff.BIAS]['value'] == pytest.approx(-1)
  assert found['bias_v']['runs'] == 3
  assert found.keys() == {'bias_v', payoff.BIAS}  # success before does not vary


def test_gains_are_counted_by_what_the_card_expected(told):
  found = payoff.by_verdict(told)
  assert found == {
    'better': pytest.approx([10, 30]),
    'no difference': [],
    'cannot tell': pytest.approx([-20]),
    'worse': [],
  }
  page = payoff.markdown(told)
  assert '3 runs of ALOE on 2 tasks' in page
  assert '| better | 2 | +20.0 | 0 |\n| no difference | 0 |  | 0 |' in page
  assert '| cannot tell | 1 | -20.0 | 1 |' in page
  rows = [line for line in page.splitlines() if line.startswith(('| push |', '| fold |'))]
  assert rows[0] == '| push | 2 | cannot tell | 0.90 |  | -20.0 |'


def test_where_the_card_could_not_tell_its_advice_is_the_baseline(told):
  assert [one.gain for one in payoff.followed(told)] == pytest.approx([10, 0, 30])
  # Tasks count the same: (-5 + 30) / 2, and (5 + 30) / 2. One seed of most tasks is no interval.
  assert '| methods | +12.5 [3] | +17.5 [3] |' in payoff.markdown(told)
  push = [one for one in told if one.point['task'] == 'push']
  more = payoff.Told('away', make_point('push', 3, 5.0), 40.0)
  # 10, -20, 40: mean 10, standard error 30 / sqrt(3), t of 2 degrees 4.303. And 10, 0, 40.
  page = payoff.markdown([one._replace(suite='away') for one in push] + [more])
  assert '| away | +10.0 (-64.5 to +84.5) [3] | +16.7 (-35.0 to +68.4) [3] |' in page


def test_a_point_of_the_figure_is_a_run(told):
  panels = payoff.draw(told).axes
  drawn = np.concatenate([line.get_xydata() for line in panels[0].lines if len(line.get_xdata())])
  at_runs = {tuple(np.round(xy, 9)) for xy in drawn}
  assert {(0.4, 10.0), (0.9, -20.0), (-0.1, 30.0)} <= at_runs
