"""The evaluate command: the same scenes for every checkpoint, and a JSON of what came out."""

import io
import json
import pathlib
import shutil

import command_line
import jax
import numpy as np
import pytest
import rich.console
import tiny

from aloe_jax import config as config_lib
from aloe_jax import evaluate
from aloe_jax.run import checkpoints
from aloe_jax.run import evaluation
from aloe_jax.run import experiment
from experiments import laundry

pytestmark = pytest.mark.usefixtures('quick_compilation')

DEBUG = '--config=experiments/laundry.py:sim_debug'


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run whose two checkpoints hold different random policies."""
  path = tmp_path_factory.mktemp('runs') / 'laundry'
  config_lib.keep(laundry.get_config('sim_debug'), path / 'config.json')
  built = experiment.Experiment(laundry.get_config('sim_debug'))
  kept = checkpoints.Checkpoints(path / 'checkpoints')
  for number in (0, 2):
    rng = np.random.default_rng(number)
    state = jax.tree.map(
      lambda leaf, rng=rng: (0.2 * tiny.normal(rng, *leaf.shape)).astype(leaf.dtype),
      built.abstract_state(),
    )
    kept.save(number, state, {}, {'architecture': built.architecture()})
  return path


@pytest.fixture
def run(workdir, capsys):
  """Runs the command in this process; returns what it kept and what it printed."""

  def command(*arguments):
    evaluate.main([f'--workdir={workdir}', *arguments])
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if line.startswith('Kept in '))
    with open(line.removeprefix('Kept in ')) as file:
      return json.load(file), printed

  return command


def test_the_command_keeps_the_numbers_that_a_second_call_finds_again(workdir, run):
  status, printed, errors = command_line.run(
    'evaluate', f'--workdir={workdir}', JAX_DISABLE_MOST_OPTIMIZATIONS='true'
  )
  assert status == 0, errors
  path = workdir / 'evaluations' / 'laundry-2,unseen=0,disturb=0,seed=1000000,episodes=16.json'
  kept = json.loads(path.read_text())
  assert [entry['checkpoint'] for entry in kept] == [str(workdir / 'checkpoints' / '2')]
  assert kept[0]['episodes'] == sum(kept[0]['ends'].values()) == 16
  assert f'{100 * kept[0]["success_rate"]:.1f} %' in printed
  assert run()[0] == kept


def test_two_checkpoints_meet_the_same_scenes(workdir, run):
  path = str(workdir / 'checkpoints' / '0')
  (newest, other), printed = run(f'--against={path}')
  assert (newest,) == tuple(run()[0])
  assert other == run(f'--checkpoint={path}')[0][0]
  assert newest['steps'] != other['steps']
  assert path in printed


def test_the_seed_chooses_the_scenes(run):
  found, other = run('--seed=1')[0][0], run()[0][0]
  assert (found['seed'], other['seed']) == (1, 1_000_000)
  assert found['steps'] != other['steps']


def test_a_run_is_evaluated_in_the_scenes_of_its_seed_and_against_another_in_the_same(
  workdir, tmp_path, capsys
):
  """A run of seed 3 against a checkpoint of one of seed 0, whose scenes are others."""
  config = laundry.get_config('sim_debug')
  config.seed = 3
  config_lib.keep(config, tmp_path / 'config.json')
  shutil.copytree(workdir / 'checkpoints' / '0', tmp_path / 'checkpoints' / '0')
  other = workdir / 'checkpoints' / '0'  # the same policy
  evaluate.main([f'--workdir={tmp_path}', f'--against={other}'])
  (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith('Kept in '))
  first, second = json.loads(pathlib.Path(line.removeprefix('Kept in ')).read_text())
  assert first['seed'] == second['seed'] == 1_000_003
  assert (first['ends'], first['steps']) == (second['ends'], second['steps'])


def test_unseen_objects_and_disturbances_are_other_episodes_and_kept_apart(workdir, run):
  found, printed = run('--unseen', '--disturb')
  assert (found[0]['unseen'], found[0]['disturb']) == (True, True)
  assert found[0]['steps'] != run()[0][0]['steps']
  assert 'unseen True, disturb True' in printed
  assert (
    workdir / 'evaluations' / 'laundry-2,unseen=1,disturb=1,seed=1000000,episodes=16.json'
  ).exists()


def test_a_directory_without_checkpoints_is_refused(tmp_path):
  result = command_line.run('evaluate', DEBUG, f'--workdir={tmp_path}')
  command_line.assert_refused(result, f'{tmp_path}/checkpoints holds no checkpoint; expected')
  assert not list(tmp_path.iterdir())


def test_without_a_simulator_there_is_nothing_to_evaluate_in(tmp_path):
  config_lib.keep(laundry.get_config(''), tmp_path / 'config.json')
  result = command_line.run('evaluate', f'--workdir={tmp_path}')
  command_line.assert_refused(result, 'there is no simulator in this config; expected a variant')


def test_a_checkpoint_of_another_size_is_refused(workdir):
  result = command_line.run(
    'evaluate', DEBUG, f'--workdir={workdir}', '--config.actor.small.depth=2'
  )
  command_line.assert_refused(result, f'{workdir} is of another config:')
  expected = '  the run has actor.small.depth = 1, the command line says 2'
  assert result[2].splitlines()[1] == expected


def test_a_policy_of_another_task_is_not_compared_on_these_scenes(workdir, tmp_path):
  other = tmp_path / 'other' / 'checkpoints' / '2'
  shutil.copytree(workdir / 'checkpoints' / '2', other)
  config = laundry.get_config('sim_debug')
  config.sim.task = 'pack_phone'
  meta = checkpoints.read_meta(other) | {'config': json.loads(config.to_json())}
  (other / 'meta' / 'metadata').write_text(json.dumps(meta))
  result = command_line.run('evaluate', f'--workdir={workdir}', f'--against={other}')
  command_line.assert_refused(result, f'{other} is of another task and cannot be compared')
  assert "sim.task: 'fold_laundry' in this run, 'pack_phone' there" in result[2]


def test_a_working_directory_that_is_a_file_is_refused_before_anything_is_played(workdir, tmp_path):
  (tmp_path / 'file').write_text('')
  newest = workdir / 'checkpoints' / '2'
  for name in ('file', 'file/run'):
    result = command_line.run(
      'evaluate', f'--workdir={tmp_path / name}', f'--checkpoint={newest}', DEBUG
    )
    command_line.assert_refused(result, f'--workdir names {tmp_path / name}, but')


@pytest.mark.parametrize('seed', ['-1', '-5', str(2**31), '99999999999999999999', '1.5'])
def test_seeds_that_a_config_would_refuse_are_refused(workdir, seed):
  status, _, errors = command_line.run('evaluate', f'--workdir={workdir}', f'--seed={seed}')
  assert status == 2
  assert f"found '{seed}', expected 0 to 2147483647" in errors


def test_paths_that_differ_at_their_ends_are_told_whole():
  found = evaluation.Evaluation(2, {'success': 1, 'timeout': 1}, steps=8, control_hz=30.0)
  paths = [pathlib.Path('/home/robot/runs' * 6, 'checkpoints', str(n)) for n in (4, 12)]
  console = rich.console.Console(width=80, file=io.StringIO())
  console.print(evaluate.table(dict.fromkeys(paths, found), {'seed': 0}))
  lines = console.file.getvalue().splitlines()
  first_column = ''.join(line.split('│')[1].strip() for line in lines if line.startswith('│'))
  assert first_column == ''.join(map(str, paths))
