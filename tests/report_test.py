"""The report command: a page that needs nothing else, and numbers that are found again."""

import html.parser
import json
import pathlib
import re
import shutil

import command_line
import jax
import numpy as np
import pytest
import tiny

from aloe_jax import config as config_lib
from aloe_jax import report
from aloe_jax import types
from aloe_jax.reporting import examination
from aloe_jax.reporting import sections
from aloe_jax.reporting import traces
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from experiments import ended_chunks
from experiments import foretell
from experiments import grasps
from experiments import laundry

pytestmark = pytest.mark.usefixtures('compiled_once')

EVALUATION = dict(
  episodes=16, ends={'failure': 12, 'success': 4}, steps=900, control_hz=30.0, successes=4,
  success_rate=0.25, low=0.1, high=0.5, throughput=1920.0, successes_per_hour=480.0,
)  # fmt: skip
VOID = {'meta', 'link', 'br', 'img', 'path', 'use', 'image', 'rect'}


class Page(html.parser.HTMLParser):
  """Tags that are open, and all that the page refers to."""

  def __init__(self, text):
    super().__init__()
    self.open, self.ids, self.references, self.headings = [], [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    if tag not in VOID:
      self.open.append(tag)
    for name, value in attributes:
      if name == 'id':
        self.ids.append(value)
      if name in ('href', 'src', 'srcset', 'xlink:href', 'action'):
        self.references.append(value)
      self.references += re.findall(r'url\(([^)]*)\)', value or '')

  def handle_startendtag(self, tag, attributes):
    self.handle_starttag(tag, attributes)
    if tag not in VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    if tag not in VOID:
      assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] == 'h2':
      self.headings.append(data)


def make_run(workdir, agent, number, **told):
  """A run of which the checkpoint of that number holds random parameters."""
  config = laundry.get_config('sim_debug')
  config.agent = agent
  built = experiment.Experiment(config)
  rng = np.random.default_rng(0)
  state = jax.tree.map(
    lambda leaf: (0.2 * tiny.normal(rng, *leaf.shape)).astype(leaf.dtype), built.abstract_state()
  )
  trained_on = [{'path': 'episodes/iteration_0', 'content': 'another', 'iteration': 0}]
  workdir.mkdir(parents=True, exist_ok=True)
  (workdir / 'manifest.json').write_text(json.dumps(trained_on))
  meta = {'architecture': built.architecture(), 'fail_cost': 60.0, 'iteration': 1} | told
  checkpoints.Checkpoints(workdir / 'checkpoints').save(number, state, {}, meta)
  config_lib.keep(config, workdir / 'config.json')
  evaluations = [{'iteration': i} | EVALUATION for i in (0, 1)]
  (workdir / 'evaluations.json').write_text(json.dumps(evaluations))
  records = [{'step': i, 'phase': p, 'loss': 1 / i} for p in ('critic', 'actor') for i in (1, 2, 3)]
  records.append({'step': int(state.step) + 1, 'time': 0, 'phase': 'weights', 'clipped_high': 0.5})
  (workdir / 'metrics').mkdir()
  (workdir / 'metrics' / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, records)))
  return workdir


@pytest.fixture(scope='module')
def reported(compiled_once, tmp_path_factory):
  """A run that the command has reported on."""
  workdir = make_run(tmp_path_factory.mktemp('runs') / 'laundry', 'aloe', 1)
  status, printed, errors = command_line.run(
    'report',
    f'--workdir={workdir}',
    '--count=6',
  )
  assert (status, errors) == (0, '')
  assert f'Report: {workdir}/report.html' in printed
  return workdir


@pytest.fixture
def run():
  """Runs the command in this process; returns its numbers and its page."""

  def command(workdir, *arguments, main=report.main):
    main([f'--workdir={workdir}', *arguments])
    return json.loads((workdir / 'report.json').read_text()), (workdir / 'report.html').read_text()

  return command


def test_the_page_is_whole_and_refers_to_nothing_else(reported):
  page = Page((reported / 'report.html').read_text())
  assert page.open == []
  assert page.headings == [
    "The critic's report card", 'Along episodes', 'Behind the card', 'Training', 'Data',
  ]  # fmt: skip
  assert len(page.ids) == len(set(page.ids))
  inside = [reference for reference in page.references if reference.startswith('#')]
  assert {reference[1:] for reference in inside} <= set(page.ids)
  others = [reference for reference in page.references if not reference.startswith('#')]
  assert others
  assert all(reference.startswith('data:image/png;base64,') for reference in others)


def test_numbers_are_flat_and_of_fresh_episodes(reported):
  numbers = json.loads((reported / 'report.json').read_text())
  assert all(x is None or isinstance(x, str | int | float | bool) for x in numbers.values())
  assert numbers['held_out'] is True
  assert (numbers['agent'], numbers['iteration'], numbers['episodes']) == ('aloe', 1, 6)
  assert numbers['success_rate_1'] == 0.25
  assert numbers['training_clipped_high'] == 0.5
  assert numbers['spearman_low'] <= numbers['spearman'] <= numbers['spearman_high']
  assert numbers['effective_horizon'] == pytest.approx(100)
  assert (
    0 <= numbers['ended_auroc_low'] <= numbers['ended_auroc'] <= numbers['ended_auroc_high'] <= 1
  )
  assert numbers['bias_v'] < numbers['bias_v_high']
  # A policy of random numbers never succeeds.
  assert numbers['falls_success'] is numbers['q_threshold'] is numbers['false_alarms'] is None
  page = (reported / 'report.html').read_text()
  assert 'no threshold of Q can be told' in page
  assert not {'foretold', 'foretold_gain'} & numbers.keys()
  assert 'its actor, checkpoint 2, has not been trained yet.' in page
  low, slope, high = (numbers[f'advantage_slope{bound}'] for bound in ('_low', '', '_high'))
  assert low < slope < high


def test_an_episode_is_kept_to_be_drawn_again(reported):
  trace = traces.Trace.load(reported / 'report' / 'failure.npz')
  assert types.EndReason(trace.end_reason) in (types.EndReason.FAILURE, types.EndReason.TAKEOVER)
  np.testing.assert_array_equal(trace.score, trace.q.min(axis=0))
  assert trace.end in trace.frame_steps
  assert trace.frames.shape == (len(trace.frame_steps), 32, 32, 3)
  assert (
    trace.human[trace.step > trace.end].all() and not trace.human[trace.step <= trace.end].any()
  )
  assert sorted(path.name for path in (reported / 'report').iterdir()) == ['failure.npz']


def test_episodes_that_are_given_are_judged_alike_and_known_when_trained_on(
  reported, run, tmp_path, capsys
):
  expected = json.loads((reported / 'report.json').read_text())
  workdir = tmp_path / 'laundry'
  shutil.copytree(reported, workdir)
  shutil.rmtree(workdir / 'held_out')
  (given,) = map(str, (reported / 'held_out').glob('iteration_*'))
  warned = expected | {'q_threshold': -86.4, 'false_alarms': 0.1}
  (workdir / 'report.json').write_text(json.dumps(warned))
  found, page = run(workdir, f'--episodes={given}')
  assert found == expected
  assert 'The critic was not trained on any of them' in page
  built = experiment.Experiment(laundry.get_config('sim_debug'))
  content = report.datasets_lib.Datasets(built, {}).content(pathlib.Path(given))
  listed = [{'path': given, 'content': content, 'iteration': 1}]
  (workdir / 'manifest.json').write_text(json.dumps(listed))
  found, page = run(workdir, f'--episodes={given}', '--count=4')
  assert (found['held_out'], found['episodes']) == (False, 4)
  assert 'these numbers are better than the truth' in page
  assert capsys.readouterr().out.count('told a threshold of Q, -86.4 steps, below which') == 1
  (workdir / 'manifest.json').write_text(json.dumps([listed[0] | {'content': 'another'}]))
  with pytest.raises(SystemExit, match=f'{given} holds other episodes than {given} did, on which'):
    run(workdir)
  for damage in (lambda path: path.write_text('[]'), pathlib.Path.unlink):
    damage(workdir / 'manifest.json')
    with pytest.raises(SystemExit, match='manifest.json: found no .*, expected those of the run;'):
      run(workdir, f'--episodes={given}')


def test_fresh_episodes_are_played_anew_for_a_policy_that_came_in_anothers_place(
  reported, run, tmp_path, monkeypatch
):
  workdir = tmp_path / 'laundry'
  shutil.copytree(reported, workdir)
  monkeypatch.setattr(examination.policy_lib, 'fingerprint', lambda params: 'another')
  for _ in range(2):
    numbers, _ = run(workdir, '--count=6')
  assert numbers['held_out'] is True
  before, now = (
    {path.name for path in (x / 'held_out').glob('iteration_*')} for x in (reported, workdir)
  )
  assert before < now and len(now) == 2


def test_grasps_are_compared_on_the_episodes_that_were_judged(
  reported, run, tmp_path, capsys, monkeypatch
):
  workdir = tmp_path / 'laundry'
  shutil.copytree(reported, workdir)
  examined = []
  measure = grasps.measure
  monkeypatch.setattr(grasps, 'measure', lambda *given: examined.append(given) or measure(*given))
  run(workdir, '--count=6', main=grasps.main)
  ((judged, features, episode),) = examined
  card = json.loads((reported / 'report.json').read_text())
  assert (len(judged.row), len(set(episode))) == (card['chunks'], card['episodes'])
  assert features.shape == (card['chunks'], 3, 16)
  numbers = json.loads((workdir / 'grasps.json').read_text())
  assert 0 < numbers['failures'] <= 6  # of the policy's own: in the others a human took over
  assert f'\nfailures: {numbers["failures"]:.2f}\n' in capsys.readouterr().out
  with pytest.raises(SystemExit, match="found config.sim.task='fold_laundry', .*'pixels'"):
    config_lib.keep(laundry.get_config('pixels'), workdir / 'config.json')
    run(workdir, main=grasps.main)


def test_imitation_has_a_page_without_a_card(run, tmp_path):
  workdir = make_run(tmp_path / 'laundry', 'bc', 4)
  again = {'iteration': 2, 'asked': 'redo=actor', 'of': 1, 'begins': 0, 'bank': 1}
  (workdir / 'appended.json').write_text(json.dumps([again]))
  evaluations = [{'iteration': i} | EVALUATION for i in (0, 1, 2)]
  (workdir / 'evaluations.json').write_text(json.dumps(evaluations))
  numbers, page = run(workdir)
  assert set(numbers) == {'agent', 'task', 'iteration', 'appended_2'} | {
    f'success_rate_{i}{bound}' for i in (0, 1, 2) for bound in ('', '_low', '_high')
  }
  assert numbers['appended_2'] == 'redo=actor'
  assert 'iteration 2: actor of 1 again' in page
  assert 'BC learns no critic: there is nothing to judge.' in page
  assert Page(page).headings == ["The critic's report card", 'Training', 'Data']
  assert not (workdir / 'held_out').exists()


def test_a_critic_whose_phase_was_skipped_is_not_judged(run, tmp_path):
  workdir = make_run(tmp_path / 'laundry', 'aloe', 1, critic_learnt=False)
  _, page = run(workdir)
  assert 'ALOE has not learnt a critic yet: there is nothing to judge.' in page
  assert not (workdir / 'held_out').exists()


def test_an_iteration_that_was_not_run_is_refused(reported):
  result = command_line.run('report', f'--workdir={reported}', '--iteration=3')
  command_line.assert_refused(result, f'--iteration is 3, but {reported} has come to iteration')


@pytest.fixture
def warmed_up(tmp_path):
  """A run that has its warm start only, whose evaluation was broken off."""
  workdir = make_run(tmp_path / 'laundry', 'aloe', 0, iteration=0)
  (workdir / 'evaluations.json').unlink()
  return workdir


def test_a_simulator_run_that_nobody_has_evaluated_says_so(run, warmed_up, capsys):
  _, page = run(warmed_up, '--foretell=full')
  assert 'No policy has been evaluated to the end yet. The command that trains goes on' in page
  assert 'There is no simulator' not in page
  said = ' '.join(capsys.readouterr().out.split())
  assert (
    '--foretell=full: nothing is foretold of the policy of iteration 0: ALOE has not learnt a '
    'critic yet.'
  ) in said
  run(warmed_up)
  assert 'nothing is foretold' not in capsys.readouterr().out


def test_a_run_without_a_simulator_says_that_there_is_none():
  told = sections.success('ALOE', [], [], [], is_played=False)
  assert 'There is no simulator to evaluate in, and no episode says which checkpoint' in told


@pytest.mark.parametrize('main', [report.main, foretell.main, grasps.main, ended_chunks.main])
def test_what_a_run_lacks_is_one_message(main, warmed_up):
  nowhere = [f'--workdir={warmed_up}', '--episodes=/nope']
  with pytest.raises(SystemExit) as stopped:
    main(nowhere if main is report.main else nowhere[:1])
  if main is report.main:
    assert stopped.value.code.startswith('error: /nope')
  else:
    assert stopped.value.code == (
      f'error: {warmed_up}: found no critic of aloe at iteration 0; expected a run of aloe or awr '
      'or recap that has finished its first iteration.'
    )
