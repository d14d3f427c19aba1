"""The store of finished runs: what is in it is not run again, and tables are made from it."""

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import sys
from unittest import mock

import pytest
import stored_runs

from aloe_jax import config as config_lib
from aloe_jax.comparison import jobs
from aloe_jax.comparison import provenance
from aloe_jax.comparison import store
from aloe_jax.comparison import tables
from experiments import ogbench
from experiments import paper
from experiments import results
from experiments import suites

SUITE = suites.Suite({'fold': ''}, 3, 1, {'A, b': {'agent': 'bc'}, 'ALOE': {}})
# A run that leaves what a run leaves; the first argument is its directory.
RUN = """
import json, pathlib, sys
directory, successes = pathlib.Path(sys.argv[1]), int(sys.argv[2])
entry = {'iteration': 0, 'episodes': 100, 'successes': 20, 'success_rate': 0.2, 'steps': 1,
         'low': 0.1, 'high': 0.3, 'successes_per_hour': 20, 'throughput': 100}
last = entry | {'iteration': 1, 'successes': successes, 'success_rate': successes / 100}
last['successes_per_hour'] = successes
(directory / 'evaluations.json').write_text(json.dumps([entry, last]))
(directory / 'config.json').write_text(json.dumps({'seed': 3, 'actor': {'beta': successes}}))
print('ran')
"""


def plan(workdir, **successes):
  """The jobs of `SUITE`, of a program that trains nothing."""
  planned = {}
  for method, rate in {'warm_start': 20, 'A, b': 30, 'ALOE': 50, **successes}.items():
    key = store.Key('fold', 3, method)
    directory = key.below(workdir)
    needs = () if method == 'warm_start' else ('fold/seed_3/warm_start',)
    command = ('-c', RUN, str(directory), str(rate))
    planned[key] = jobs.Job('/'.join(directory.parts[-3:]), directory, (command,), needs)
  return planned


def run(planned, kept, workdir):
  return paper.run(SUITE, planned, kept, workdir, workers=2)


def ran(workdir):
  return sorted(path.parent.name for path in workdir.glob('fold/seed_3/*/log.txt'))


@pytest.fixture
def kept(tmp_path):
  return store.Store(tmp_path / 'runs')


def test_a_record_has_what_was_found_and_how_it_is_made_again(kept, tmp_path):
  workdir = tmp_path / 'Wäsche'
  assert run(plan(workdir), kept, workdir) == []
  record = json.loads((tmp_path / 'runs' / 'fold' / 'seed_3' / 'a_b.json').read_text())
  assert (record['task'], record['seed'], record['method']) == ('fold', 3, 'A, b')
  assert record['changes'] == {'agent': 'bc'}
  assert [entry['successes'] for entry in record['iterations']] == [20, 30]
  assert record['commands'] == [['-c', RUN, '$WORKDIR/fold/seed_3/a_b', '30']]
  assert (record['commit'], record['report']) == (jobs.commit(), None)
  assert record['settings'] == {'seed': 3, 'actor': {'beta': 30}}
  assert 0 <= record['seconds'] < 60  # to a tenth, of a job of a few milliseconds
  assert record['machine']['packages']['jax']
  assert record['machine']['cores'] >= 1
  assert str(workdir) not in json.dumps(record, ensure_ascii=False)


def test_what_the_store_has_is_not_run_again_in_another_directory(kept, tmp_path, capsys):
  run(plan(tmp_path / 'one'), kept, tmp_path / 'one')
  assert run(plan(tmp_path / 'two'), kept, tmp_path / 'two') == []
  assert not (tmp_path / 'two').exists()
  assert '3 of 3 runs are in' in capsys.readouterr().out


def test_a_warm_start_is_run_again_only_for_a_method_that_needs_it(kept, tmp_path, capsys):
  run(plan(tmp_path / 'one'), kept, tmp_path / 'one')
  aloe, warm_start = (kept.path(store.Key('fold', 3, name)) for name in ('ALOE', 'warm_start'))
  aloe.unlink()
  before = warm_start.read_bytes()
  run(plan(tmp_path / 'two'), kept, tmp_path / 'two')
  assert ran(tmp_path / 'two') == ['aloe', 'warm_start']
  assert warm_start.read_bytes() == before
  assert aloe.exists()
  told = f'2 of 3 runs are in {kept.directory}; 2 are to run; 1 of them warm starts that are needed'
  assert told in capsys.readouterr().out


def test_runs_of_other_commands_are_made_anew_and_replaced(kept, tmp_path, capsys):
  run(plan(tmp_path / 'one'), kept, tmp_path / 'one')
  run(plan(tmp_path / 'two', ALOE=60), kept, tmp_path / 'two')
  assert ran(tmp_path / 'two') == ['aloe', 'warm_start']
  assert kept.read(store.Key('fold', 3, 'ALOE'))['iterations'][-1]['successes'] == 60
  assert '; 1 records of something else are replaced.' in capsys.readouterr().out


def test_finished_runs_of_a_directory_are_taken_also_those_that_told_no_machine(kept, tmp_path):
  planned = plan(tmp_path / 'one')
  jobs.run(list(planned.values()), workers=1, compiled=tmp_path / 'compiled')
  told = json.loads((job := planned[store.Key('fold', 3, 'ALOE')]).record.read_text())
  del told['machine']
  job.record.write_text(json.dumps(told))
  for planned_job in planned.values():
    planned_job.log.unlink()
  assert run(planned, kept, tmp_path / 'one') == []
  assert ran(tmp_path / 'one') == []
  found = results.read(planned, kept, tmp_path / 'one')
  assert [record['machine'] is None for record in found['runs']] == [False, False, True]


def test_what_had_ended_before_a_failure_is_in_the_store(kept, tmp_path):
  planned = plan(tmp_path, ALOE='none')
  assert run(planned, kept, tmp_path) == ['fold/seed_3/aloe']
  assert [key.method for key in results.read(planned, kept, tmp_path)['missing']] == ['ALOE']


def test_the_command_writes_tables_beside_the_store_and_ends_as_a_failure_where_one_was(
  kept, tmp_path, capsys
):
  workdir = tmp_path / 'work'
  arguments = ['paper', f'--workdir={workdir}', '--suite=away', f'--store={kept.directory}']
  for rate in ('none', 40):
    with (
      mock.patch.object(sys, 'argv', [*arguments, '--workers=1']),
      mock.patch.object(suites, 'plan', lambda *_, rate=rate: plan(workdir, ALOE=rate)),
      pytest.raises(SystemExit, match='error: 1 of 3 jobs failed: fold/seed_3/aloe')
      if rate == 'none'
      else contextlib.nullcontext(),
    ):
      paper.main()
    text = (tmp_path / 'away' / 'results.md').read_text()
    assert text in capsys.readouterr().out
    assert ('1 of 3 runs are missing' in text) == (rate == 'none')
  assert '| ALOE | 40.0 [1] |' in text


def test_a_damaged_record_and_one_of_another_run_are_named(kept, tmp_path):
  run(planned := plan(tmp_path), kept, tmp_path)
  aloe, other = (kept.path(store.Key('fold', 3, name)) for name in ('ALOE', 'A, b'))
  aloe.write_bytes(other.read_bytes())
  with pytest.raises(ValueError, match=r"aloe.json: found the run \('fold', 3, 'A, b'\), expected"):
    results.read(planned, kept, tmp_path)
  aloe.write_text('{"task": "fold"}')
  with pytest.raises(ValueError, match=r'aloe.json: found no seed, method, .* a whole record'):
    results.read(planned, kept, tmp_path)


def test_tables_of_the_store_say_what_is_missing_and_where_runs_were_made(kept, tmp_path):
  run(planned := plan(tmp_path), kept, tmp_path)
  target = tmp_path / 'tables'
  text = results.write('some', planned, kept, tmp_path, target)
  assert 'missing' not in text
  assert '| A, b | +20.0 [1] | +20.0 [1] |  |' in text
  machine = jobs.machine()
  assert re.search(
    rf'\| `{jobs.commit()}` \| .*jax {machine["packages"]["jax"]}.* \| 3 \| 0.0 \|', text
  )
  assert (target / 'results.md').read_text() == text
  assert (target / 'differences.png').exists()
  kept.path(store.Key('fold', 3, 'A, b')).unlink()
  text = results.write('some', plan(tmp_path, ALOE=60), kept, tmp_path, target)
  assert text.startswith('# some\n\nRuns of `python -m experiments.paper --suite=some`')
  assert '\n\n**2 of 3 runs are missing yet:**\n\n* all of `A, b`, `ALOE`\n' in text
  assert '* 1 of `ALOE`: other commands' in text


def test_missing_runs_are_told_by_method_by_task_and_by_seed():
  methods = ('warm_start', 'A, b', 'ALOE')
  planned = [store.Key(t, s, m) for t in ('fold', 'push') for s in (3, 4) for m in methods]
  there = [store.Key('fold', 3, 'warm_start'), store.Key('fold', 3, 'A, b')]
  results_ = {
    'tasks': ['fold'],
    'runs': [key._asdict() for key in there],
    'missing': [key for key in planned if key not in there],
    'outdated': {},
  }
  assert provenance.missing(results_).splitlines()[2:] == [
    '* all of `ALOE`',
    '* all of the tasks `push`',
    '* `fold`: seeds 4 of `BC warm start`, `A, b`',
  ]
  assert provenance.missing(results_ | {'missing': []}) == ''


def test_a_warm_start_that_was_made_anew_and_differs_is_told(kept, tmp_path):
  run(planned := plan(tmp_path), kept, tmp_path)
  found = results.read(planned, kept, tmp_path)
  assert provenance.starts(found) == []
  found['runs'][2]['iterations'][0]['steps'] = 2
  assert provenance.starts(found) == ['`fold`, seed 3: ALOE']
  assert 'made twice:\n\n* `fold`, seed 3: ALOE' in provenance.markdown(found)
  found['runs'][2]['changes'] = {'task.execute': 8}
  assert provenance.starts(found) == []


@pytest.mark.parametrize(
  'changes, reason',
  [
    ({}, None),
    ({'critic.pessimism': 'mean'}, None),  # nothing of a critic of states
    ({'sim.processes': 2}, None),  # changes no result
    ({'actor.clip': 7.0}, 'actor.clip was 7.0 and is 3.0'),
    ({'critic.updates': 3}, 'critic.updates was 3 and is'),
  ],
)
def test_a_command_that_means_something_else_by_now_is_run_again(changes, reason, kept, tmp_path):
  _, planned, key, config = stored_runs.suite_run(tmp_path, **changes)
  stored_runs.keep(kept, key, planned[key], config, tmp_path)
  found = results.read(planned, kept, tmp_path)
  assert (key in found['missing']) == bool(reason)
  if reason:
    assert found['outdated'][key].startswith(reason)
    assert f'* 1 of `AWR`: {reason}' in provenance.missing(found)
  else:
    assert found['outdated'] == {}


def test_a_warm_start_stands_whatever_comes_after_it_has_for_settings(kept, tmp_path):
  _, planned, _, config = stored_runs.suite_run(tmp_path)
  key = store.Key('fold', 3, tables.WARM_START)
  config.update(agent='bc', iterations=0)
  config.task.demonstrations = 50
  config.actor.update(lr=7.0, rule='paper', updates=3)
  stored_runs.keep(kept, key, planned[key], config, tmp_path)
  assert results.read(planned, kept, tmp_path)['outdated'] == {}
  config.actor.warm_start_lr = 7.0
  stored_runs.keep(kept, key, planned[key], config, tmp_path)
  told = results.read(planned, kept, tmp_path)['outdated']
  assert told == {key: 'actor.warm_start_lr was 7.0 and is 0.001'}


def test_directories_of_other_settings_are_refused_before_anything_runs(kept, tmp_path):
  suite, planned, key, config = stored_runs.suite_run(tmp_path, **{'actor.clip': 7.0})
  config_lib.keep(config, planned[key].directory / 'config.json')
  with pytest.raises(ValueError, match=r'awr: actor.clip was 7.0 and is 3.0'):
    paper.run(suite, planned, kept, tmp_path, workers=1)
  assert not list(tmp_path.glob('**/log.txt'))


def test_settings_newer_than_a_record_mean_what_was_done_then(kept, tmp_path):
  run(plan(tmp_path), kept, tmp_path)
  assert kept.read(store.Key('fold', 3, 'ALOE'))['settings']['critic.backup'] == 'td'


def keep_of_scene(kept, method, workdir):
  """A record of one of the runs that are made away."""
  key = store.Key('scene', 12, method)
  planned = suites.plan(suites.SUITES['away'], workdir, {})
  config = ogbench.get_config('scene')
  config.update_from_flattened_dict({'seed': 12, 'task.demonstrations': 0})
  config.update_from_flattened_dict(suites.METHODS[method])
  stored_runs.keep(kept, key, planned[key], config, workdir)
  return len(planned)


def test_suites_with_runs_of_their_own_are_written_from_the_store_alone(kept, tmp_path, capsys):
  number = keep_of_scene(kept, 'AWR', tmp_path / 'gone')
  with mock.patch.object(sys, 'argv', ['results', f'--store={kept.directory}']):
    results.main()
    # One method is as well that of another suite.
    assert f'away: 1 of {number} runs are there' in capsys.readouterr().out
    assert list(tmp_path.glob('*/results.md')) == []
    keep_of_scene(kept, 'DAgger', tmp_path / 'gone')
    results.main()
  assert f'away: 2 of {number} runs are there' in capsys.readouterr().out
  assert [path.parent.name for path in tmp_path.glob('*/results.md')] == ['away']
  assert '| AWR | 50.0 [1] |' in (tmp_path / 'away' / 'results.md').read_text()
  kept.path(store.Key('scene', 12, 'AWR')).unlink()
  with mock.patch.object(sys, 'argv', ['results', f'--store={kept.directory}']):
    results.main()
  printed = capsys.readouterr().out
  assert f'DAgger alone; {tmp_path / "away"} is of runs that were there before.' in printed


def test_files_of_no_run_and_a_method_alone_are_told(kept, tmp_path, capsys):
  keep_of_scene(kept, 'AWR', tmp_path / 'gone')
  shutil.copy(kept.path(store.Key('scene', 12, 'AWR')), kept.directory / 'scene/seed_12/magic.json')
  with mock.patch.object(sys, 'argv', ['results', f'--store={kept.directory}']):
    results.main()
  printed = capsys.readouterr().out
  assert 'runs are there; no tables, as they are of AWR alone.' in printed
  assert 'Of no run of any suite: scene/seed_12/magic.json.' in printed


@pytest.mark.parametrize('flag', ['--help', '--workdir=runs'])
def test_tables_are_not_made_by_a_command_that_asks_for_something_else(flag, capsys):
  with mock.patch.object(sys, 'argv', ['results', flag]), pytest.raises(SystemExit):
    results.main()
  printed = capsys.readouterr()
  assert 'usage: python -m experiments.results' in printed.out + printed.err
  assert 'runs are there' not in printed.out


@pytest.mark.parametrize(
  'place, told', [('none', 'there is no directory .*/none.'), ('', '.* holds no record of a run')]
)
def test_a_store_without_records_is_refused(place, told, tmp_path):
  arguments = ['results', f'--store={tmp_path / place}']
  with mock.patch.object(sys, 'argv', arguments), pytest.raises(SystemExit, match=told):
    results.main()


def test_a_run_that_left_too_few_evaluations_has_failed_and_is_not_kept(kept, tmp_path, capsys):
  planned = plan(tmp_path)
  (aloe,) = (key for key in planned if key.method == 'ALOE')
  broken = RUN.replace('[entry, last]', '[last]')
  planned[aloe] = dataclasses.replace(
    planned[aloe], commands=(('-c', broken, str(planned[aloe].directory), '50'),)
  )
  assert run(planned, kept, tmp_path) == ['fold/seed_3/aloe']
  assert 'iterations[0].iteration: found 1, expected 0' in capsys.readouterr().out
  assert kept.read(aloe) is None
  told = rf'{planned[aloe].directory}: what it left is no record. .* Remove that directory, and the'
  with pytest.raises(ValueError, match=told):  # the same command finds it again
    run(planned, kept, tmp_path)


def test_a_warm_start_of_other_settings_is_refused_where_a_method_needs_it(kept, tmp_path):
  suite, planned, _, config = stored_runs.suite_run(tmp_path)
  start = store.Key('fold', 3, tables.WARM_START)
  config.update(agent='bc', iterations=0)
  config.task.demonstrations = 50
  stored_runs.keep(kept, start, planned[start], config, tmp_path)
  config.actor.warm_start_updates = 400
  config_lib.keep(config, planned[start].directory / 'config.json')
  with pytest.raises(ValueError, match=r'warm_start: actor.warm_start_updates was 400 and is 3500'):
    paper.run(suite, planned, kept, tmp_path, workers=1)
  assert not list(tmp_path.glob('**/log.txt'))


def write(directory: pathlib.Path, name, content):
  path = directory / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def test_evaluations_under_conditions_and_the_report_are_taken_from_what_a_run_leaves(tmp_path):
  suite = suites.Suite(suites.LAUNDRY, 3, 1, {'A, b': {'agent': 'bc'}}, ('unseen', 'disturb'))
  key = store.Key('fold_laundry', 3, 'A, b')
  directory = key.below(tmp_path)
  write(directory, 'evaluations.json', [])
  write(directory, 'config.json', {'seed': 3})
  write(directory, 'job.json', {'commands': [], 'commit': 'c', 'seconds': 1.0})
  for unseen in (0, 1):
    kept = f'run-1+unseen={unseen},disturb={1 - unseen},seed=1,episodes=2.json'
    checkpoint = {'checkpoint': str(directory / 'checkpoints' / '6')}
    write(directory / 'evaluations', kept, [{'success_rate': 0.5 + unseen / 100} | checkpoint])
  assert paper.record(suite, key, tmp_path)['report'] is None
  write(directory, 'report.json', {'spearman_own': 0.5})
  record = paper.record(suite, key, tmp_path)
  assert record['report']['spearman_own'] == 0.5
  checkpoint = record['conditions']['unseen']['checkpoint']
  assert checkpoint == '$WORKDIR/fold_laundry/seed_3/a_b/checkpoints/6'
  assert record['conditions']['unseen']['success_rate'] == 0.51
  assert record['conditions']['disturb']['success_rate'] == 0.5


def test_a_directory_of_runs_is_told_from_parts_of_other_paths():
  command = ['--config=experiments/laundry.py:sim', '--workdir=/laundry/fold/warm_start', '/w/fold']
  at = "('/laundry/data', '/laundry')"
  for workdir, expected in (
    ('/laundry', [command[0], '--workdir=$WORKDIR/fold/warm_start', command[2]]),
    ('/w', [*command[:2], '$WORKDIR/fold']),
    ('/warm_start', command),
    ('/fold', command),
  ):
    assert store.portable([command], pathlib.Path(workdir)) == [expected]
  assert store.made_portable({'a': at}, pathlib.Path('/laundry')) == {
    'a': "('$WORKDIR/data', '$WORKDIR')"
  }
