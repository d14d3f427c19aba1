"""Comparisons of methods: intervals by hand and by SciPy, and all that is made of them."""

import importlib
import json
import pathlib
import re
import sys
from unittest import mock

import ml_collections
import numpy as np
from PIL import Image
import pytest
import scipy.stats

from aloe_jax import config as config_lib
from aloe_jax.comparison import figures
from aloe_jax.comparison import paired
from aloe_jax.comparison import tables
from experiments import laundry
from experiments import paper
from experiments import suites

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


def test_one_seed_has_a_mean_and_no_interval():
  found = paired.mean({('a', 0): 1.0, ('b', 0): 2.0})
  assert found.mean == 1.5
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
    }
    for task in ('pack', 'fold')
    for seed in range(2)
    for method, numbers in successes.items()
  ]
  return {'methods': ['DAgger', 'ALOE'], 'tasks': ['pack', 'fold'], 'runs': runs}


def test_tables_hold_means_intervals_and_differences(results):
  final, iterations, speed, conditions, critics = tables.markdown(results).split('\n\n| ')[1:]
  by_method = {line.split(' | ')[0].strip('| '): line for line in final.splitlines()}
  # Seeds 30 and 32, 60 and 62: half an interval of two seeds is 12.706 * 1.
  assert '| 31.0 (18.3 to 43.7) | 31.0 (18.3 to 43.7) |' in by_method['DAgger']
  assert '+30.0 (+30.0 to +30.0)' in by_method['DAgger']
  assert '+41.0' in by_method['BC warm start']
  assert by_method['ALOE'].endswith('|  |  |')
  assert '| ALOE | 20.0 | 41.0 | 61.0 | +20.0 (+20.0 to +20.0) |' in iterations
  assert '| ALOE | 610 (' in speed
  assert '| 1000 (1000 to 1000) |' in speed
  assert '| ALOE | 0.55 (0.40 to 0.70) |' in critics
  assert 'DAgger' not in critics
  for run in results['runs']:
    if run['report']:
      del run['report']['advantage_failure']  # as where the critic is of states
  assert '(0.40 to 0.70) |  | 0.55 (0.40' in tables.markdown(results)
  assert '| BC warm start | 20.0 (20.0 to 20.0) | 10.0 (10.0 to 10.0) |' in conditions


def test_a_report_on_some_runs_of_a_method_alone_makes_no_table(results):
  reported = [run for run in results['runs'] if run['report']]
  for run in reported[1:]:
    run['report'] = None
  assert 'Critics' not in tables.markdown(results)


def test_figures_are_drawn_for_every_measure(results, tmp_path):
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
    results['runs'] += [run | {'method': f'variant {number}'} for run in runs]
  figures.draw(results, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['differences.png']


def test_the_plan_shares_warm_starts_among_methods_of_a_seed(tmp_path):
  suite = suites.SUITES['methods']
  jobs = {job.name: job for job in paper.plan(suite, tmp_path, {'iterations': 1})}
  assert len(jobs) == len(suite.tasks) * suite.seeds * (1 + len(suite.methods))
  job = jobs['fold_laundry/seed_12/aloe']
  assert job.needs == ('fold_laundry/seed_12/warm_start',)
  train, *evaluations = job.commands
  warm_start = tmp_path / 'fold_laundry' / 'seed_12' / 'warm_start'
  assert f'--config.actor.checkpoint={warm_start}/checkpoints/0' in train
  assert '--config.agent=aloe' in train
  *evaluations, judged = evaluations
  assert [command[-1] for command in evaluations] == ['--unseen', '--disturb']
  assert judged[1] == 'aloe_jax.report'
  assert all('aloe_jax.report' not in c for c in jobs['fold_laundry/seed_12/dagger'].commands)
  assert '--config.iterations=0' in jobs[job.needs[0]].commands[0]


def test_backups_are_compared_on_fresh_seeds_with_old_and_new_filling_at_two_betas():
  suite = suites.SUITES['backups']
  seeds = range(suite.first_seed, suite.first_seed + suite.seeds)
  others = [suites.SUITES[name] for name in suites.SUITES if name != 'backups']
  assert all(
    set(seeds).isdisjoint(range(other.first_seed, other.first_seed + other.seeds))
    for other in others
  )
  assert suite.methods['ALOE'] == suites.METHODS['ALOE']
  fields = ('critic.horizon', 'task.execute', 'critic.past_end', 'actor.beta')
  found = {tuple(method.get(field) for field in fields) for method in suite.methods.values()}
  spans = [(None, None), (2, None), (None, 8)]
  filled = [(*span, filling) for span in spans for filling in (None, 'policy')]
  assert found == {(*kind, beta) for kind in [*filled, (1, None, None)] for beta in (0.5, 0.25)}
  assert len(found) == len(suite.methods)


@pytest.mark.parametrize('name', suites.SUITES)
def test_every_run_of_every_suite_sets_fields_that_its_experiment_has(name, tmp_path):
  for job in paper.plan(suites.SUITES[name], tmp_path, paper.QUICK):
    _, _, experiment, *flags = job.commands[0]
    module, _, variant = experiment.removeprefix('--config=').partition('.py:')
    config = importlib.import_module(module.replace('/', '.')).get_config(variant)
    settings = [flag.removeprefix('--config.') for flag in flags if flag.startswith('--config.')]
    fields = {setting.partition('=')[0] for setting in settings}
    assert fields <= set(_leaves(config)), job.name
    assert 'seed' in fields


def _leaves(config, prefix=''):
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from _leaves(value, f'{prefix}{key}.')
    else:
      yield prefix + key


def write(directory: pathlib.Path, name, content):
  path = directory / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def test_results_are_collected_from_what_runs_leave(tmp_path):
  tmp_path /= 'Wäsche'
  suite = suites.Suite(suites.LAUNDRY, 3, 1, {'A, b': {'agent': 'bc'}}, ('unseen', 'disturb'))
  for number, method in enumerate(('warm_start', 'a_b')):
    directory = tmp_path / 'fold_laundry' / 'seed_3' / method
    write(directory, 'evaluations.json', [evaluation(number)])
    command = ['-m', 'train', f'--workdir={directory}']
    write(directory, 'job.json', {'commands': [command], 'commit': 'c', 'seconds': 1.0})
    for unseen in (0, 1):
      kept = f'run-1+unseen={unseen},disturb={1 - unseen},seed=1,episodes=2.json'
      checkpoint = {'checkpoint': str(directory / 'checkpoints' / '6')}
      write(directory / 'evaluations', kept, [evaluation(50 + unseen) | checkpoint])
  write(tmp_path / 'fold_laundry' / 'seed_3' / 'a_b', 'report.json', report(0.5))
  first, second = paper.collect(suite, tmp_path)['runs']
  assert (first['method'], first['seed'], first['changes']) == ('warm_start', 3, {})
  assert (second['method'], second['changes']) == ('A, b', {'agent': 'bc'})
  assert (first['report'], second['report']['spearman_own']) == (None, 0.5)
  assert second['commands'] == [['-m', 'train', '--workdir=$WORKDIR/fold_laundry/seed_3/a_b']]
  assert str(tmp_path) not in json.dumps([first, second], ensure_ascii=False)
  checkpoint = second['conditions']['unseen']['checkpoint']
  assert checkpoint == '$WORKDIR/fold_laundry/seed_3/a_b/checkpoints/6'
  assert second['iterations'][0]['success_rate'] == 0.01
  assert second['conditions']['unseen']['success_rate'] == 0.51
  assert second['conditions']['disturb']['success_rate'] == 0.5


def test_a_file_instead_of_a_directory_is_refused(tmp_path, capsys):
  path = tmp_path / 'notes.txt'
  path.write_text('mine')
  with (
    mock.patch.object(sys, 'argv', ['paper', f'--workdir={path}']),
    pytest.raises(SystemExit),
  ):
    paper.main()
  assert f'found a file at {path}, expected a directory' in capsys.readouterr().err
  assert path.read_text() == 'mine'


@pytest.mark.parametrize('option', ['--seeds=-1', '--seeds=0', '--workers=0', '--workers=two'])
def test_counts_that_are_none_are_refused_before_anything_runs(option, tmp_path, capsys):
  workdir = tmp_path / 'paper'
  arguments = ['paper', f'--workdir={workdir}', option]
  with mock.patch.object(sys, 'argv', arguments), pytest.raises(SystemExit):
    paper.main()
  name, _, value = option.partition('=')
  assert f"argument {name}: found '{value}', expected a whole number" in capsys.readouterr().err
  assert not workdir.exists()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
  (tmp_path / 'file').touch()
  target = tmp_path / 'file' / 'runs'
  message = re.escape(f"error: --workdir: [Errno 20] Not a directory: '{target}'; choose a place")
  with (
    mock.patch.object(sys, 'argv', ['paper', f'--workdir={target}']),
    pytest.raises(SystemExit, match=message),
  ):
    paper.main()


def test_runs_of_an_earlier_version_are_not_compared_with_those_to_come(tmp_path):
  """It called filtered_bc what is filtered_policy_bc, and all seeds had the same scenes."""
  methods = {name: suites.METHODS[name] for name in ('filtered BC', 'filtered policy BC')}
  suite = suites.Suite(suites.LAUNDRY, 3, 1, methods)
  directory = tmp_path / 'fold_laundry' / 'seed_3' / 'filtered_bc'
  config = laundry.get_config('sim_debug')
  config.update(agent='filtered_bc', seed=3)
  config_lib.keep(config, directory / 'config.json')
  paper.check_runs(suite, tmp_path)
  config.evaluation.seed = 1_000_000
  (directory / 'config.json').write_text(config.to_json())
  with pytest.raises(ValueError, match=f'{tmp_path} has runs of an earlier version') as told:
    paper.check_runs(suite, tmp_path)
  start = directory.parent / 'warm_start'
  assert str(told.value).splitlines()[1:] == [
    f"  {directory}: found agent 'filtered_policy_bc', expected 'filtered_bc'",
    '  fold_laundry, seed 3: found runs of different evaluation scenes: '
    f'1000003 ({start}), 1000000 ({directory})',
  ]
