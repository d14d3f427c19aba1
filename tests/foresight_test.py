"""What cards foretold against what was measured, by hand; and the script that asks for it all."""

import json
import re
import shutil

import numpy as np
import pytest

from aloe_jax.comparison import foresight
from aloe_jax.comparison import jobs
from aloe_jax.run import evaluation
from experiments import foretold
from experiments import laundry


def make_points(*runs):
  """A run is successes of the warm start and each iteration, their fqe_gains, their verdicts."""
  return [
    {
      'task': 'fold',
      'seed': seed,
      'method': 'aloe',
      'iteration': i,
      'before': success[i - 1],
      'after': success[i],
      'episodes': 100,
      'card': {'fqe_gain': gains[i - 1], 'foretold': said[i - 1], 'spearman': None},
    }
    for seed, (success, gains, said) in enumerate(runs)
    for i in range(1, len(success))
  ]


POINTS = make_points(
  ([40, 60, 50], [5.0, -1.0], ['better', 'worse']),
  ([50, 45, 80], [1.0, 2.0], ['worse', 'better']),
)


def test_ranks_of_what_was_foretold_are_held_against_those_of_the_change():
  found = foresight.correlations(POINTS)
  # Changes 20, -10, -5, 35 have ranks 3, 1, 2, 4; gains 5, -1, 1, 2 have 4, 1, 2, 3.
  assert found['fqe_gain']['value'] == pytest.approx(1 - 6 * 2 / (4 * 15))
  assert found['fqe_gain']['points'] == 4
  assert found.keys() == {'fqe_gain', '-iteration', '-before'}
  # Changes of iteration 1 have ranks 3 and 2, of iteration 2 ranks 1 and 4: the same sum.
  assert found['-iteration']['value'] == pytest.approx(0)
  assert found['-iteration']['within'] is None


def test_within_iterations_places_are_compared_with_those_of_the_same_iteration():
  points = make_points(
    ([10, 40, 41], [9.0, 2.0], ['better'] * 2),
    ([10, 30, 32], [8.0, 3.0], ['better'] * 2),
    ([10, 20, 23], [7.0, 1.0], ['better'] * 2),
  )
  found = foresight.correlations(points)['fqe_gain']
  # In iteration 1 gains rank as the changes 30, 20, 10 do: 3, 2, 1. In iteration 2 gains 2, 3, 1
  # rank 2, 3, 1 and changes rank 1, 2, 3: the sum of products of ranks less 2 is -1, of 2 at most.
  assert found['within']['value'] == pytest.approx((2 - 1) / 4)
  assert found['value'] > 0.7


def test_a_verdict_is_that_of_todays_rule_where_a_card_has_its_numbers():
  told = dict(foretold_gain=1.0, foretold_gain_low=0.5, foretold_gain_high=1.5, returns_std=10.0)
  told |= dict(advantage_slope=0.6, advantage_slope_low=0.4, advantage_slope_high=0.8)
  told |= dict(foretold='no difference', bias_v=9.0, bias_v_low=8.5, bias_v_high=9.5)
  assert foresight.expected({'card': told}) == 'cannot tell'
  assert foresight.expected({'card': told | {'bias_v': 0.1, 'bias_v_low': 0.0}}) == 'better'
  del told['bias_v']
  assert foresight.expected({'card': told}) == 'no difference'


def test_verdicts_are_counted_by_what_came_of_them_and_whether_chance_could_do_it():
  found = foresight.verdicts(POINTS)
  expected = dict(points=2, change=-7.5, worse=2, clearly_worse=0, better=0, clearly_better=0)
  assert found['worse'] == expected  # 60 to 50 and 50 to 45 of 100 may be chance
  assert found['better'] | {'change': 27.5} == found['better']
  assert (found['better']['better'], found['better']['clearly_better']) == (2, 2)
  assert found['no difference']['points'] == 0 and found['no difference']['change'] is None


def test_a_regret_is_what_the_chosen_checkpoint_lacks():
  found = {choice: x['value'] for choice, x in foresight.regrets(POINTS).items()}
  assert found == {
    'fqe_gain': 0,  # sums 0, 5, 4 and 0, 1, 3: the first and the second iteration
    'foretold': (0 + 30) / 2,  # the warm start of the second run
    'the newest': 10 / 2,
    'the warm start': (20 + 30) / 2,
  }
  assert 'fqe_gain' not in foresight.regrets(make_points(([1, 2], [None], ['better'])))


def make_evaluation(successes):
  """Of 100 episodes."""
  ends = {'failure': 100 - successes, 'success': successes}
  return evaluation.Evaluation(100, ends, steps=36_000, control_hz=10.0).summary()


def make_suite(workdir, agent='aloe'):
  """A finished run of two iterations as `experiments.paper` leaves it, without its weights."""
  run = workdir / 'fold_laundry' / 'seed_3' / agent
  config = laundry.get_config('sim_debug')
  config.agent = agent
  for number in (1, 2, 3, 4):
    (run / 'checkpoints' / str(number)).mkdir(parents=True)
  (run / 'config.json').write_text(config.to_json())
  entries = [{'iteration': i, **make_evaluation(x)} for i, x in enumerate((40, 60, 50))]
  (run / 'evaluations.json').write_text(json.dumps(entries))
  return run


def test_every_evaluated_iteration_with_a_critic_of_actions_is_asked_about(tmp_path):
  run = make_suite(tmp_path)
  make_suite(tmp_path, agent='awr')
  found = foretold.plan(tmp_path, count=6, level='quick')
  assert [job.name for job in found] == [f'fold_laundry/seed_3/aloe/foretold/{i}' for i in (1, 2)]
  assert found[1].commands == (
    ('-m', 'experiments.foretell', f'--workdir={run}', '--iteration=2', '--count=6',
     '--foretell=quick'),
  )  # fmt: skip
  (run / 'checkpoints' / '2').rmdir()
  assert len(foretold.plan(tmp_path, count=6, level='quick')) == 1


def test_what_is_named_like_no_run_or_was_not_evaluated_is_said_and_left_out(tmp_path, capsys):
  run = make_suite(tmp_path)
  others = ['seed_3_old/aloe', 'seed_x/aloe', 'seed_03/aloe', 'seed_3/aloe old']
  for other in others:
    shutil.copytree(run, tmp_path / 'fold_laundry' / other)
  unplayed = tmp_path / 'fold_laundry' / 'seed_4' / 'aloe'
  shutil.copytree(run, unplayed)
  (unplayed / 'evaluations.json').unlink()
  found = foretold.plan(tmp_path, count=6, level='quick')
  assert {job.directory.parents[1] for job in found} == {run}
  said = capsys.readouterr().out
  for other in others:
    assert f'{tmp_path / "fold_laundry" / other}: left out; expected TASK/seed_N/METHOD' in said
  assert f'{unplayed}: left out; found no evaluation in evaluations.json' in said
  assert said.count('left out') == 5


CARDS = {1: dict(foretold='better', fqe_gain=5.0), 2: dict(foretold='worse', fqe_gain=-1.0)}


@pytest.fixture
def asked(monkeypatch):
  """Names of the jobs that were run, each of which found its card."""
  names = []

  def run(planned, *, workers, compiled, ended):
    for job in planned:
      if not job.is_finished:
        names.append(job.name)
        job.directory.mkdir(parents=True, exist_ok=True)
        (job.directory / 'report.json').write_text(json.dumps(CARDS[int(job.directory.name)]))
        job.record.write_text(json.dumps({'commands': job.commands, 'commit': 'abc'}))
        ended(job)
    return []

  monkeypatch.setattr(jobs, 'run', run)
  return names


def collect(monkeypatch, workdir, *flags):
  """Asks about the runs of a directory, with a store beside it."""
  store = workdir.parent / 'kept' / 'points'
  monkeypatch.setattr('sys.argv', ['foretold', f'--workdir={workdir}', f'--store={store}', *flags])
  foretold.main()
  return store


def test_what_was_asked_is_collected_into_numbers_tables_and_a_figure(tmp_path, monkeypatch, asked):
  make_suite(tmp_path / 'runs')
  store = collect(monkeypatch, tmp_path / 'runs')
  assert [point['before'] for point in foretold.read(store)] == pytest.approx([40, 60])
  results = json.loads((store.parent / 'results.json').read_text())
  assert results['correlations']['fqe_gain']['value'] == 1
  text = (store.parent / 'results.md').read_text()
  assert '| `fqe_gain` | 1.00 |  | 2 |' in text
  assert '| worse | 1 | -10.0 | 1 (0) | 0 (0) |' in text
  assert (store.parent / 'foretold.png').read_bytes().startswith(b'\x89PNG')
  np.testing.assert_allclose(results['regrets']['the newest']['value'], 10)


def test_an_answer_outlives_its_run_and_is_asked_for_again_only_once_it_is_removed(
  tmp_path, monkeypatch, asked
):
  run = make_suite(tmp_path / 'runs')
  store = collect(monkeypatch, tmp_path / 'runs')
  assert len(asked) == 2
  shutil.move(tmp_path / 'runs', tmp_path / 'moved')
  shutil.rmtree(tmp_path / 'moved' / 'fold_laundry' / 'seed_3' / 'aloe' / 'foretold')
  collect(monkeypatch, tmp_path / 'moved')
  assert len(asked) == 2
  evaluations = tmp_path / 'moved' / run.relative_to(tmp_path / 'runs') / 'evaluations.json'
  entries = json.loads(evaluations.read_text())
  entries[2] |= make_evaluation(70)
  evaluations.write_text(json.dumps(entries))
  before = foretold.read(store)
  said = '2.json is of another run of this name: after 50.0 and here 70.0. Give another'
  with pytest.raises(SystemExit, match=said):
    collect(monkeypatch, tmp_path / 'moved')
  assert (len(asked), foretold.read(store)) == (2, before)
  (store / 'fold_laundry' / 'seed_3' / 'aloe' / '2.json').unlink()
  collect(monkeypatch, tmp_path / 'moved')
  assert asked[2:] == ['fold_laundry/seed_3/aloe/foretold/2']
  assert [point['after'] for point in foretold.read(store)] == pytest.approx([60, 70])


def test_a_full_answer_serves_a_quick_question_and_no_other(tmp_path, monkeypatch, asked, capsys):
  run = make_suite(tmp_path / 'runs')
  for flags, ran in (('full', 2), ('quick', 2), ('full --count=6', 4), ('quick --count=7', 6)):
    store = collect(monkeypatch, tmp_path / 'runs', *f'--foretell={flags}'.split())
    assert len(asked) == ran, flags
    shutil.rmtree(run / 'foretold', ignore_errors=True)
    capsys.readouterr()
  collect(monkeypatch, tmp_path / 'runs', '--foretell=full', '--count=7')
  assert '0 of 2 answers are in' in (told := capsys.readouterr().out)
  assert '; 2 that were asked otherwise are replaced.' in told
  assert (
    'asked by `--count=7 --foretell=full` (2), at commit `abc`.'
    in (store.parent / 'results.md').read_text()
  )


@pytest.mark.parametrize(
  'text, found',
  [
    ('{"task": "fold_la', 'no whole JSON'),
    ('{"task": "fold_laundry"}', 'no seed, method'),
    ('[]', 'no task, seed'),
    (None, 'the point of .*/4.json'),
  ],
)
def test_a_damaged_answer_is_named(tmp_path, monkeypatch, asked, text, found):
  make_suite(tmp_path / 'runs')
  store = collect(monkeypatch, tmp_path / 'runs')
  path = store / 'fold_laundry' / 'seed_3' / 'aloe' / '2.json'
  path.write_text(text or path.read_text().replace('"iteration": 2', '"iteration": 4'))
  with pytest.raises(ValueError, match=f'{path}: (found )?{found}.*remove it'):
    foretold.read(store)


@pytest.mark.parametrize(
  'change, found',
  [
    ({'after': 170}, 'after: found 170, expected percent'),
    ({'before': float('nan')}, 'before: found nan'),
    ({'seed': '3'}, "seed: found '3', expected a whole number"),
    ({'task': None}, 'task: found None, expected a text'),
    ({'card': None}, 'card: found null'),
    ({'card': []}, r'card: found \[\], expected an object'),
    ({'card': {'fqe_gain': 'much'}}, "card.fqe_gain: found 'much', expected a number or null"),
    ({'card': {'fqe_gain_low': True}}, 'card.fqe_gain_low: found True, expected a number or null'),
    ({'card': {'bias_v_low': 3, 'bias_v_high': 2}}, 'card.bias_v_low: found 3, expected 2 at most'),
    ({'card': {'bias_v': 10**400}}, 'card.bias_v: found 10000.*, expected a number or null'),
    ({'before': 61.0}, 'found success before iteration 2 of 61, and after the one before of 60'),
    ({'card': {'foretold': 'great'}}, "card.foretold: found 'great', expected one of better, no"),
    ({'card': {'iteration': 1}}, 'card.iteration: found 1, expected 2'),
  ],
)
def test_an_answer_of_what_cannot_be_is_named(tmp_path, monkeypatch, asked, change, found):
  make_suite(tmp_path / 'runs')
  store = collect(monkeypatch, tmp_path / 'runs')
  path = store / 'fold_laundry' / 'seed_3' / 'aloe' / '2.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(ValueError, match=f'{path}: {found}.*; remove it'):
    foretold.read(store)


def test_a_card_that_cannot_be_is_refused_before_the_store_has_it(tmp_path, monkeypatch, asked):
  run = make_suite(tmp_path / 'runs')
  monkeypatch.setitem(CARDS, 2, {'fqe_gain': float('nan')})
  told = f'{run}/foretold/2/report.json: card.fqe_gain: found nan, expected .*; remove it with the'
  with pytest.raises(SystemExit, match=told):
    collect(monkeypatch, tmp_path / 'runs')
  assert len(foretold.read(tmp_path / 'kept' / 'points')) == 1


@pytest.mark.parametrize(
  'option, found',
  [
    ('--count=0', "argument --count: found '0', expected a whole number of 1 or more."),
    ('--workers=-1', "argument --workers: found '-1', expected a whole number of 1 or more."),
    (f'--store={__file__}', 'argument --store: found a file at .*expected a directory or nothing.'),
  ],
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_asked(
  option, found, tmp_path, monkeypatch, asked, capsys
):
  make_suite(tmp_path)
  monkeypatch.setattr('sys.argv', ['foretold', f'--workdir={tmp_path}', option])
  with pytest.raises(SystemExit):
    foretold.main()
  assert re.search(found, capsys.readouterr().err)
  assert not asked
