"""Records of what cannot be: refused where they are read, and where they are written."""

import json
import re

import pytest
import stored_runs

from aloe_jax.comparison import store


@pytest.fixture
def kept(tmp_path):
  return store.Store(tmp_path / 'runs')


FAULTS = {
  'iterations.1.success_rate': (1.7, 'iterations[1].success_rate: found 1.7, expected 0.5, which '),
  'iterations.0.success_rate': (True, 'iterations[0].success_rate: found True'),
  'iterations.1.successes': (3, 'iterations[1].success_rate: found 0.5, expected 0.03, which is 3'),
  'iterations.0.episodes': (0, 'iterations[0].episodes: found 0, expected a whole number of 1'),
  'iterations.1.iteration': (77, 'iterations[1].iteration: found 77, expected 1'),
  'iterations.1.successes_per_hour': (float('nan'), 'successes_per_hour: found nan, expected a nu'),
  'iterations.0.successes_per_hour': (2, 'per_hour: found 2, expected 0.5, which is success_rate'),
  'iterations.0.control_hz': (
    2,
    'throughput: found 1.0, expected 720000, which is 100 episodes in',
  ),
  'iterations': ([], 'iterations: found [], expected a list of evaluations'),
  'settings.iterations': (3, 'found evaluations of 1 iterations, expected 3'),
  'settings.iterations ': ('3', "settings.iterations: found '3', expected a whole number of 0"),
  'settings.evaluation': ({'episodes': 9}, 'iterations[0].episodes: found 100, expected 9'),
  'settings.seed': (4, 'settings.seed: found 4, expected 3, as in seed'),
  'settings': (None, 'settings: found None, expected an object'),
  'conditions': ({'unseen': {}}, 'conditions.unseen.episodes: found None'),
  'report': (
    {'spearman_own': 9.0},
    'report.spearman_own: found 9.0, expected a number from -1 to 1 or',
  ),
  'report ': (
    {'advantage_failure': '1.5'},
    "report.advantage_failure: found '1.5', expected a number",
  ),
  'report  ': (
    {'success_rate_1': 0.25},
    'report.success_rate_1: found 0.25, expected 0.5, as in iterations[1]',
  ),
  'iterations.0.throughput': (10**400, 'iterations[0].throughput: found 1000'),
  'machine ': (
    {'processor': 'x', 'cores': 1, 'accelerators': [1], 'packages': {}},
    "machine: found {'processor'",
  ),
  'commands': (None, 'commands: found None, expected lists of texts'),
  'seconds': (-5, 'seconds: found -5, expected a number of 0 or more, or null'),
  'machine': ({}, 'machine: found {}, expected null or an object with processor'),
  'commit': ({}, 'commit: found {}, expected a text or null'),
  'seed': (True, 'seed: found True, expected a whole number'),
}


@pytest.mark.parametrize('field', FAULTS)
def test_a_record_of_what_cannot_be_is_refused_where_it_is_read_and_written(field, kept, tmp_path):
  value, message = FAULTS[field]
  _, planned, key, config = stored_runs.suite_run(tmp_path)
  config.update(iterations=1)
  config.evaluation.episodes = 100
  stored_runs.keep(kept, key, planned[key], config, tmp_path, successes=50)
  path = kept.path(key)
  record = json.loads(path.read_text())
  *parents, last = field.strip().split('.')
  target = record
  for name in parents:
    target = target[int(name) if name.isdecimal() else name]
  target[last] = value
  path.write_text(json.dumps(record))
  with pytest.raises(ValueError, match=f'{path}: .*{re.escape(message)}.*; remove it, and its run'):
    kept.read(key)
  path.unlink()
  with pytest.raises(ValueError, match=re.escape(message)):
    kept.add(record)
  assert not path.exists()


def test_a_name_that_a_record_tells_twice_is_refused(kept, tmp_path):
  _, planned, key, config = stored_runs.suite_run(tmp_path)
  stored_runs.keep(kept, key, planned[key], config, tmp_path)
  path = kept.path(key)
  path.write_text(path.read_text().replace('{', '{"seed": 4,', 1))
  with pytest.raises(ValueError, match="'seed' is told twice"):
    kept.read(key)
