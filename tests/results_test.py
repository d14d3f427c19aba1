"""Evaluations of a run: kept as they come in, and what the last lines say of them."""

import json

import pytest

from aloe_jax.run import appended
from aloe_jax.run import evaluation
from aloe_jax.run import results


def make_evaluation(successes, episodes=100):
  ends = {'failure': episodes - successes, 'success': successes}
  return evaluation.Evaluation(episodes, ends, steps=36_000, control_hz=10.0)


def test_what_was_added_is_there_after_a_restart(tmp_path):
  path = tmp_path / 'evaluations.json'
  kept = results.Results(path)
  kept.add(1, make_evaluation(60))
  kept.add(0, make_evaluation(50))
  assert [entry['iteration'] for entry in json.loads(path.read_text())] == [0, 1]
  again = results.Results(path)
  assert (0 in again, 1 in again, 2 in again) == (True, True, False)
  again.add(2, make_evaluation(70))
  found = json.loads(path.read_text())
  assert [entry['success_rate'] for entry in found] == [0.5, 0.6, 0.7]
  assert [entry['throughput'] for entry in found] == [100.0] * 3


@pytest.mark.parametrize(
  'last, words',
  [
    (55, '+5.0 points from its BC warm start over 100 episodes; the 95 % intervals overlap.'),
    (80, '+30.0 points from its BC warm start over 100 episodes; the 95 % intervals do not'),
    (20, '-30.0 points from its BC warm start over 100 episodes; the 95 % intervals do not'),
  ],
)
def test_the_gain_is_said_with_whether_chance_could_have_made_it(last, words, tmp_path, capsys):
  kept = results.Results(tmp_path / 'evaluations.json')
  for iteration, successes in enumerate((50, 10, last)):
    kept.add(iteration, make_evaluation(successes))
  kept.report(tmp_path / 'curves.png', 'awr', 'Fold the t-shirt')
  printed = capsys.readouterr().out
  assert f'AWR ends {words}' in printed
  assert (tmp_path / 'curves.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
  'text, found',
  [
    ('[{"iteration": 0, "epis', 'no whole JSON'),
    ('', 'an empty file, expected JSON'),
    ('{}', 'dict, expected a list of entries'),
    ('[3]', 'entry 0: found 3, expected an object with iteration'),
    ('[{"iteration": 0}]', 'entry 0: found .*, expected an object with .*episodes'),
  ],
)
@pytest.mark.parametrize('read', [results.Results, results.read])
def test_a_damaged_file_is_named_with_what_to_do(read, text, found, tmp_path):
  path = tmp_path / 'evaluations.json'
  path.write_text(text)
  with pytest.raises(ValueError, match=rf'{path}: (found )?{found}.*; put back the file'):
    read(path)


@pytest.mark.parametrize(
  'change, found',
  [
    ({'success_rate': 1.5}, 'entry 1.success_rate: found 1.5, expected 0.5, which is 50 of 100'),
    ({'success_rate': float('nan')}, 'entry 1.success_rate: found nan, expected 0.5'),
    ({'success_rate': None}, 'entry 1.success_rate: found None, expected 0.5'),
    ({'episodes': 0}, 'entry 1.episodes: found 0, expected a whole number of 1 or more'),
    ({'successes': 150}, 'entry 1.successes: found 150, expected 100 at most'),
    ({'high': 1.5}, 'entry 1.high: found 1.5, expected a number from 0 to 1'),
    ({'low': 'much'}, "entry 1.low: found 'much', expected a number from 0 to 1"),
    ({'throughput': -1}, 'entry 1.throughput: found -1, expected a number of 0 or more'),
    ({'control_hz': 0}, 'entry 1.control_hz: found 0, expected a number of more than 0'),
    ({'throughput': 7}, 'entry 1.throughput: found 7, expected 100, which is 100 episodes in'),
    ({'successes_per_hour': 7}, 'entry 1.successes_per_hour: found 7, expected 50, which is succ'),
    ({'steps': 0}, 'entry 1.steps: found 0, expected a whole number of 1 or more'),
    ({'ends': {'success': 150}}, 'entry 1.ends: found .*150.*, expected 100 episodes, 50 of them'),
    ({'ends': [50]}, r'entry 1.ends: found \[50\], expected how many episodes ended by each'),
    ({'iteration': -1}, 'entry 1.iteration: found -1, expected a whole number of 0 or more'),
    ({'iteration': 0}, 'found 2 evaluations of iteration 0, expected one'),
  ],
)
@pytest.mark.parametrize('read', [results.Results, results.read])
def test_a_number_that_cannot_be_is_named_with_what_to_do(read, change, found, tmp_path):
  path = tmp_path / 'evaluations.json'
  kept = results.Results(path)
  for iteration in range(2):
    kept.add(iteration, make_evaluation(50))
  entries = json.loads(path.read_text())
  path.write_text(json.dumps([entries[0], entries[1] | change]))
  with pytest.raises(ValueError, match=f'{path}: {found}.*; put back the file'):
    read(path)


def test_an_evaluation_that_is_missing_is_not_made_of_a_later_policy(tmp_path):
  path = tmp_path / 'evaluations.json'
  for done in (None, 0):
    results.check(path, done)
  with pytest.raises(ValueError, match=f'{path} is missing, and with it .* iteration 0.* put back'):
    results.check(path, 1)
  kept = results.Results(path)
  kept.add(0, make_evaluation(50))
  for done in (0, 1, 2):  # the newest policy is evaluated next
    results.check(path, done)
  with pytest.raises(ValueError, match=f'{path} lacks the evaluation of iteration 1.* put back'):
    results.check(path, 3)


def test_what_was_measured_of_a_policy_that_is_gone_is_forgotten(tmp_path):
  path = tmp_path / 'evaluations.json'
  kept = results.Results(path)
  for iteration in range(3):
    kept.add(iteration, make_evaluation(50))
  assert not kept.forget(4, warms_up=True)
  assert kept.forget(3, warms_up=True) == [2]
  assert [entry['iteration'] for entry in results.read(path)] == [0, 1]
  assert kept.forget(None, warms_up=False) == [1]  # it starts from a policy that is elsewhere
  assert kept.forget(None, warms_up=True) == [0]
  assert not results.read(path)


def test_the_table_says_what_an_appended_iteration_learnt(tmp_path, capsys):
  kept = results.Results(tmp_path / 'evaluations.json')
  asked = {2: 'redo=actor', 3: 'redo=critic', 4: 'more=critic', 5: 'more=critic,actor'}
  entries = [appended.Appended(i, x, i - 1, 2 * i - 2, i) for i, x in asked.items()]
  for iteration in range(6):
    kept.add(iteration, make_evaluation(50))
  kept.report(tmp_path / 'curves.png', 'aloe', 'Fold the t-shirt', entries)
  printed = ' '.join(capsys.readouterr().out.split())
  for name in (
    'BC warm start │',
    'iteration 1 │',
    'iteration 2: actor of 1 again │',
    'iteration 3: critic, actor of 2 again │',
    'iteration 4: critic on from 3 │',
    'iteration 5: critic, actor on from 4 │',
  ):
    assert f'│ {name}' in printed
