"""Comparisons of methods: intervals by hand and by SciPy, and all that is made of them."""

import numpy as np
from PIL import Image
import pytest
import scipy.stats

from aloe_jax.comparison import figures
from aloe_jax.comparison import paired
from aloe_jax.comparison import tables

FIRST = {('a', 0): 60.0, ('a', 1): 70.0, ('b', 0): 30.0, ('b', 1): 34.0}
SECOND = {('a', 0): 50.0, ('a', 1): 54.0, ('b', 0): 28.0, ('b', 1): 30.0}


def test_paired_differences_are_those_worked_out_by_hand():
  # Differences 10, 16 and 2, 4; means 13 and 3; squares 9 + 9 + 1 + 1 over 2 degrees: variance 10.
  found = paired.paired(FIRST, SECOND)
  assert found.mean == 8
  assert found.pairs == 4
  error = np.sqrt(10 * (1 / 2 + 1 / 2)) / 2
  assert found.high - found.mean == pytest.approx(4.302653 * error, rel=1e-6)
  assert found.mean - found.low == pytest.approx(4.302653 * error, rel=1e-6)
  assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(8 / error, 2))


def test_with_one_task_it_is_students_paired_test():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 6))
  first, second = ({('a', seed): v for seed, v in enumerate(values)} for values in (x, y))
  found, expected = paired.paired(first, second), scipy.stats.ttest_rel(x, y)
  assert found.p_value == pytest.approx(expected.pvalue)
  np.testing.assert_allclose((found.low, found.high), expected.confidence_interval(0.95))


def test_other_runs_of_the_one_than_of_the_other_are_refused():
  with pytest.raises(ValueError, match=r"other runs .* \[\('b', 1\)\]"):
    paired.paired(FIRST, {key: x for key, x in SECOND.items() if key != ('b', 1)})


@pytest.mark.parametrize(
  'values, mean',
  [
    ({('a', 0): 1.0, ('b', 0): 2.0}, 1.5),
    ({('a', 0): 1.0, ('a', 1): 2.0}, 1.5),
    ({('a', 0): 1.0, ('a', 1): 2.0, ('b', 0): 2.5}, 2.0),
    ({('a', 0): 1.0, ('a', 1): 2.0, ('a', 2): 3.0, ('b', 0): 4.0}, 3.0),  # of one of two tasks
    ({('a', 0): 0.1 + 0.2, ('a', 1): 0.3, ('a', 2): 0.3}, 0.3),  # which do not differ
  ],
)
def test_where_seeds_do_not_tell_how_far_they_differ_there_is_a_mean_and_no_interval(values, mean):
  found = paired.mean(values)
  assert found.mean == pytest.approx(mean)
  assert np.isnan([found.low, found.high, found.p_value]).all()


def evaluation(successes, episodes=100):
  """One entry of `evaluations.json`, as far as it is read."""
  rate = successes / episodes
  return {
    'success_rate': rate,
    'episodes': episodes,
    'successes_per_hour': 10.0 * successes,
    'throughput': 1000.0,
  }


def report(number):
  return dict.fromkeys(tables.CRITIC, number)


@pytest.fixture
def results():
  successes = {'warm_start': [20], 'DAgger': [20, 25, 30], 'ALOE': [20, 40, 60]}
  runs = [
    {
      'task': task,
      'seed': seed,
      'method': method,
      'iterations': [evaluation(n + 2 * seed * (i > 0)) for i, n in enumerate(numbers)],
      'conditions': {'unseen': evaluation(numbers[-1] // 2)},
      'report': report(0.5 + 0.1 * seed) if method == 'ALOE' else None,
      'changes': {},
    }
    for task in ('pack', 'fold')
    for seed in range(2)
    for method, numbers in successes.items()
  ]
  return {
    'methods': ['DAgger', 'ALOE'],
    'tasks': ['pack', 'fold'],
    'runs': runs,
    'colours': {'DAgger': 4, 'ALOE': 6},
    'missing': [],
    'outdated': [],
  }


def name_of(run):
  return run['task'], run['seed'], run['method']


def test_tables_hold_means_intervals_and_differences(results):
  parts = tables.markdown(results).split('\n\n| ')[1:]
  final, first, last, iterations, speed, conditions, critics = parts
  by_method = {line.split(' | ')[0].strip('| '): line for line in final.splitlines()}
  # Seeds 30 and 32, 60 and 62: two seeds have no interval; half that of two tasks of two seeds
  # each, with a variance of 2 within each: 4.303 * sqrt(2 * (1/2 + 1/2)) / 2.
  one, both = '31.0 [2]', '31.0 (28.0 to 34.0) [4]'
  assert by_method['DAgger'] == f'| DAgger | {one} | {one} | {both} |'
  same = '+30.0 [2]'
  assert f'| DAgger | {same} | {same} | +30.0 [4] |  |' in last  # which does not differ by seed
  assert '| BC warm start | +41.0 [2] | +41.0 [2] | +41.0 (+38.0 to +44.0) [4] |' in last
  assert '\n| ALOE |' not in last
  assert '| DAgger | +15.0 [2] |' in first
  assert '| BC warm start | +21.0 [2] |' in first
  assert '| ALOE | 20.0 [4] | 41.0 [4] | 61.0 [4] | +20.0 [4] |' in iterations
  assert '| ALOE | 610 [4] |' in speed  # tasks have no common scale
  assert '| 1000 [4] |' in speed
  assert '| ALOE | 0.55 (0.40 to 0.70) [4] |' in critics
  assert 'DAgger' not in critics
  for run in results['runs']:
    if run['report']:
      del run['report']['advantage_failure']  # as where the critic is of states
  assert '(0.40 to 0.70) [4] |  | 0.55 (0.40' in tables.markdown(results)
  assert '| BC warm start | 20.0 [4] | 10.0 [4] |' in conditions


def test_where_runs_are_missing_pairs_are_compared_and_means_are_of_what_is_common(results):
  lost = {('fold', 0, 'DAgger'), ('fold', 1, 'DAgger'), ('pack', 1, 'ALOE')}
  results['runs'] = [
    run for run in results['runs'] if (run['task'], run['seed'], run['method']) not in lost
  ]
  final, _, last, *_ = tables.markdown(results).split('\n\n| ')[1:]
  said = 'over the tasks and seeds that have runs of every method: `pack` 0.'
  assert said in tables.markdown(results)
  assert '| DAgger | 31.0 [2] |  | 30.0 [1] |' in final
  assert '| ALOE | 60.0 [1] | 61.0 [2] | 60.0 [1] |' in final
  assert '| DAgger | +30.0 [1] |  | +30.0 [1 of 1 tasks] |  |' in last
  # Seed 0 of pack: 40; of fold: 40 and 42. Means 40 and 41; one degree of freedom is too few.
  assert '| BC warm start | +40.0 [1] | +41.0 [2] | +40.5 [3] |  |' in last


def test_a_method_that_has_few_runs_leaves_means_and_figures_to_the_others(results, tmp_path):
  few = [run | {'method': 'BC'} for run in results['runs'] if run['method'] == 'ALOE'][:1]
  results['runs'] += few
  results['methods'].append('BC')
  results['colours']['BC'] = 1
  final, _, last, iterations, speed, *_ = tables.markdown(results).split('\n\n| ')[1:]
  said = 'that have runs of every method but "BC", of which there are few: `fold` 0, 1;'
  assert said in tables.markdown(results)
  assert '| BC | 60.0 [1] |  |  |' in final
  assert '| BC | +0.0 [1] |' in last
  assert 'BC |' not in (iterations + speed).replace('BC warm start', '')
  figures.draw(results, tmp_path)
  assert tables.common(results) == [('fold', 0), ('fold', 1), ('pack', 0), ('pack', 1)]


def test_an_interval_of_a_success_rate_ends_at_a_hundred(results):
  for run in results['runs']:
    if run['method'] == 'ALOE':
      run['iterations'][-1] = evaluation(99 - 4 * run['seed'])
  final = tables.markdown(results).split('\n\n| ')[1]
  # 99 and 95: variance 8 in each task, 4.303 * sqrt(8 * (1/2 + 1/2)) / 2 = 6.1.
  assert '| ALOE | 97.0 [2] | 97.0 [2] | 97.0 (90.9 to 100.0) [4] |' in final


def test_the_papers_weights_are_held_against_the_others_too(results):
  name = tables.REFERENCES[1]
  runs = [run | {'method': name} for run in results['runs'] if run['method'] == 'DAgger']
  results['runs'] += runs
  results['methods'].append(name)
  text = tables.markdown(results)
  assert f'{name} minus the method after the last iteration' in text
  assert '| ALOE | -30.0 [2] | -30.0 [2] | -30.0 [4] |' in text
  results['runs'] = [run for run in results['runs'] if run['method'] != 'ALOE']
  results['methods'].remove('ALOE')
  assert '\nALOE minus' not in tables.markdown(results)


def test_a_report_on_some_runs_of_a_method_alone_makes_no_table_and_is_said(results):
  reported = [run for run in results['runs'] if run['report']]
  for run in reported[1:]:
    run['report'] = None
  text = tables.markdown(results)
  assert 'Critics' not in text
  assert (
    'No numbers of critics of ALOE are shown: 3 of 4 runs lack them: `pack/seed_1/ALOE`' in text
  )


def test_a_condition_that_some_runs_lack_makes_no_table_and_is_said(results, tmp_path):
  figures.draw(results, tmp_path)
  assert 'lack them' not in tables.markdown(results)
  assert (tmp_path / 'conditions.png').exists()
  (one,) = (run for run in results['runs'] if name_of(run) == ('pack', 1, 'DAgger'))
  del one['conditions']['unseen']
  text = tables.markdown(results)
  assert 'in scenes like those' not in text
  assert (
    'No numbers under unseen objects are shown: 1 of 12 runs lack them: `pack/seed_1/DAgger`.'
  ) in text
  figures.draw(results, tmp_path)
  assert not (tmp_path / 'conditions.png').exists()


@pytest.mark.parametrize('lost', [None, 'pack'])
def test_figures_are_drawn_for_every_measure(lost, results, tmp_path):
  results['runs'] = [r for r in results['runs'] if (r['task'], r['method']) != (lost, 'DAgger')]
  figures.draw(results, tmp_path)
  names = ['conditions', 'differences', 'success_by_iteration', 'success_by_method', 'throughput']
  assert sorted(path.name for path in tmp_path.iterdir()) == [f'{name}.png' for name in names]
  for name in names:
    with Image.open(tmp_path / f'{name}.png') as image:
      assert np.asarray(image.convert('L')).std() > 10


def test_of_more_methods_than_colours_only_the_differences_are_drawn(results, tmp_path):
  (dagger,) = {run['method'] for run in results['runs']} - {'ALOE', 'warm_start'}
  runs = [run for run in results['runs'] if run['method'] == dagger]
  for number in range(8):
    results['methods'].append(f'variant {number}')
    results['colours'][f'variant {number}'] = number
    results['runs'] += [run | {'method': f'variant {number}'} for run in runs]
  figures.draw(results, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['differences.png']


def test_differences_are_drawn_from_what_has_runs(results, tmp_path, monkeypatch):
  drawn = {}
  monkeypatch.setattr(
    figures.plots, 'save', lambda drawing, path: drawn.update({path.name: drawing})
  )
  results['runs'] = [run for run in results['runs'] if run['method'] != 'warm_start']
  figures.draw(results, tmp_path)
  (axes,) = drawn.pop('differences.png').axes
  assert [label.get_text() for label in axes.get_yticklabels()] == ['DAgger']
  results['runs'] = [run for run in results['runs'] if run['method'] == 'ALOE']
  figures.draw(results, tmp_path)
  assert 'differences.png' not in drawn


def test_a_task_of_warm_starts_alone_is_drawn_without_lines(results, tmp_path):
  results['runs'] = [
    run for run in results['runs'] if run['task'] == 'pack' or run['method'] == 'warm_start'
  ]
  figures.draw(results, tmp_path)
  assert (tmp_path / 'success_by_iteration.png').exists()
  assert '| ALOE | 61.0 [2] |  |' in tables.markdown(results)


def test_lines_of_a_panel_are_of_the_same_seeds_and_nothing_is_cut_off(
  results, tmp_path, monkeypatch
):
  drawn = {}
  monkeypatch.setattr(
    figures.plots, 'save', lambda drawing, path: drawn.update({path.name: drawing})
  )
  results['runs'] = [
    run
    for run in results['runs']
    if (run['task'], run['method'], run['seed']) != ('pack', 'DAgger', 1)
  ]
  for run in results['runs']:
    if (run['task'], run['method']) == ('fold', 'ALOE'):
      run['iterations'][-1] = evaluation(99)
  figures.draw(results, tmp_path)
  pack, fold, _ = drawn['success_by_iteration.png'].axes
  assert pack.get_ylim() == fold.get_ylim() == (0, 102)
  assert (pack.get_title(), fold.get_title()) == ('pack [1]', 'fold [2]')
  lines = [list(line.get_ydata()) for line in pack.get_lines() if len(line.get_ydata()) == 3]
  assert [20, 25, 30] in lines and [20, 40, 60] in lines  # of seed 0, whose numbers have no 2 more
  spans = [
    [[round(y) for _, y in ends] for ends in bars.lines[2][0].get_segments()]
    for bars in fold.containers
  ]
  # From the lowest run to the highest; the warm start, which all share, has one bar.
  assert spans == [[[20, 20], [25, 27], [30, 32]], [[], [40, 42], [99, 99]]]
