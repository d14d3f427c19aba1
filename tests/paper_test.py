"""The harness of the comparisons: what is planned, what the store has, and what is told."""

import importlib
import re
import sys
from unittest import mock

import ml_collections
import pytest

from aloe_jax import config as config_lib
from aloe_jax.comparison import tables
from experiments import laundry
from experiments import paper
from experiments import suites

ALL = suites.SUITES | suites.PARTS


def test_the_plan_shares_warm_starts_among_methods_of_a_seed(tmp_path):
  suite = suites.SUITES['methods']
  planned = suites.plan(suite, tmp_path, {'iterations': 1}).values()
  by_name = {job.name: job for job in planned}
  assert len(planned) == len(by_name) == len(suite.tasks) * 5 * (1 + len(suite.methods))
  job = by_name['fold_laundry/seed_12/aloe']
  assert job.needs == ('fold_laundry/seed_12/warm_start',)
  train, *evaluations = job.commands
  warm_start = tmp_path / 'fold_laundry' / 'seed_12' / 'warm_start'
  assert f'--config.actor.checkpoint={warm_start}/checkpoints/0' in train
  assert '--config.agent=aloe' in train
  *evaluations, judged = evaluations
  assert [command[-1] for command in evaluations] == ['--unseen', '--disturb']
  assert judged[1] == 'aloe_jax.report'
  assert all('aloe_jax.report' not in c for c in by_name['fold_laundry/seed_12/dagger'].commands)
  assert '--config.iterations=0' in by_name[job.needs[0]].commands[0]


def test_backups_are_compared_on_fresh_seeds_with_old_and_new_filling_at_two_betas():
  suite = suites.SUITES['backups']
  seeds = {seed for _, seed in suite.pairs}
  others = [other for name, other in suites.SUITES.items() if name != 'backups']
  assert all(seeds.isdisjoint(seed for _, seed in other.pairs) for other in others)
  name = tables.REFERENCES[1]
  assert suite.methods[name] == suites.METHODS[name]
  fields = ('critic.horizon', 'task.execute', 'critic.past_end', 'actor.beta')
  found = {tuple(method.get(field) for field in fields) for method in suite.methods.values()}
  spans = [(None, None), (2, None), (None, 8)]
  filled = [(*span, filling) for span in spans for filling in (None, 'policy')]
  assert found == {(*kind, beta) for kind in [*filled, (1, None, None)] for beta in (0.5, 0.25)}
  assert len(found) == len(suite.methods)


@pytest.mark.parametrize('name', ALL)
def test_every_run_of_every_suite_sets_fields_that_its_experiment_has(name, tmp_path):
  for job in suites.plan(ALL[name], tmp_path, paper.QUICK).values():
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


def test_away_is_all_of_its_parts_by_the_same_commands(tmp_path):
  parts = {}
  for name in suites.PARTS:
    parts |= suites.plan(suites.PARTS[name], tmp_path, {})
  assert parts == suites.plan(suites.SUITES['away'], tmp_path, {})
  pairs = suites.SUITES['away'].pairs
  assert pairs[:2] == [('cube_double', 10), ('cube_single', 10)]
  assert pairs[-1] == ('scene', 14)
  assert len(pairs) == 3 * 5 + 5 * 3


def test_no_two_suites_train_a_run_of_one_name_by_different_commands(tmp_path):
  seen = {}
  for name in suites.SUITES:
    for key, job in suites.plan(suites.SUITES[name], tmp_path, {}).items():
      assert seen.setdefault(key, job.commands[0]) == job.commands[0], (name, key)


def test_of_a_suite_some_tasks_methods_and_seeds_can_be_run():
  part = suites.SUITES['away'].part(['scene', 'push'], ['AWR'], 1)
  assert part.pairs == [('scene', 10), ('push', 10)]
  assert list(part.methods) == ['AWR']
  assert suites.SUITES['away'].part((), (), None) == suites.SUITES['away']
  with pytest.raises(ValueError, match=r"--tasks: found \['scenes'\], expected some of \['cube_d"):
    suites.SUITES['away'].part(['scenes'], (), None)


def test_seeds_that_settings_were_tuned_on_are_not_reported():
  methods = suites.SUITES['methods']
  assert methods.part((), (), 90).pairs[-1][1] == 99
  told = '--seeds: found 91, which are seeds 10 to 100; expected 90 at most: seeds 100 to 199 are'
  with pytest.raises(ValueError, match=told):
    methods.part((), (), 91)
  tuning = suites.SUITES['tuning']
  assert tuning.part((), (), 100).pairs[-1][1] == 199
  with pytest.raises(ValueError, match='--seeds: found 101, which are seeds 100 to 200'):
    tuning.part((), (), 101)


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


@pytest.mark.parametrize(
  'workdir, told',
  [
    ('', "found '', expected the name of a directory"),
    ('/tmp/a\nb', "found '/tmp/a\\nb', expected the name of a directory"),
    ('gs://bucket/x', 'found gs://bucket/x, in a bucket; expected a directory here'),
  ],
)
def test_a_workdir_that_is_no_directory_here_is_refused(workdir, told, capsys):
  arguments = ['paper', f'--workdir={workdir}']
  with mock.patch.object(sys, 'argv', arguments), pytest.raises(SystemExit):
    paper.main()
  assert told in capsys.readouterr().err


def test_quick_runs_never_reach_a_store_of_results(tmp_path, capsys):
  arguments = ['paper', f'--workdir={tmp_path}', '--quick', f'--store={tmp_path / "store"}']
  with mock.patch.object(sys, 'argv', arguments), pytest.raises(SystemExit):
    paper.main()
  assert 'argument --store: not allowed with argument --quick' in capsys.readouterr().err
