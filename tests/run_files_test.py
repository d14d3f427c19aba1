"""Files of a run that a crash damaged, or that moved: told in one message, or gone on with."""

import json
import os
import pathlib
import re
import shutil

import full_disk
import jax
import numpy as np
import pytest

from aloe_jax import disk
from aloe_jax import train
from aloe_jax.run import checkpoints
from aloe_jax.run import collection
from aloe_jax.run import experiment
from experiments import laundry

pytestmark = pytest.mark.usefixtures('compiled_once')

QUICK = {
  'actor.updates': 10,
  'critic.first_updates': 10,
  'evaluation.episodes': 2,
  'sim.attempts': 16,
  'sim.rollouts': 4,
  'task.demonstrations': 2,
  'train.actor_updates_per_call': 10,
  'train.critic_updates_per_call': 10,
}


def go_on(workdir, *arguments):
  """What the command ends with: None, or its one message."""
  try:
    train.main([f'--workdir={workdir}', *arguments])
  except SystemExit as stopped:
    return stopped.code
  except disk.FullError as error:  # as `command_line.run` tells it
    return f'error: {error}'
  return None


def first(workdir, **changes):
  flags = [f'--config.{field}={x}' for field, x in (QUICK | changes).items()]
  assert go_on(workdir, '--config=experiments/laundry.py:sim_debug', *flags) is None


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A run in the simulator."""
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  first(workdir)
  return workdir


@pytest.fixture
def copy(finished, tmp_path):
  return pathlib.Path(shutil.copytree(finished, tmp_path / 'run'))


def largest(directory):
  files = [path for path in directory.rglob('*') if path.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


def cut(path, size=None):
  os.truncate(path, path.stat().st_size // 2 if size is None else size)


def state(workdir, number=2):
  config = laundry.get_config('sim_debug')
  config.update_from_flattened_dict(QUICK)
  built = experiment.Experiment(config)
  path = workdir / 'checkpoints' / str(number)
  return checkpoints.restore(path, built.abstract_state(), built.architecture())


def assert_same_bits(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


REMOVE = 'or remove RUN/checkpoints/2: its run then goes on from checkpoint 1.'
DAMAGES = {
  'array cut': (
    lambda run: cut(largest(run / 'checkpoints/2/actor/ocdbt.process_0')),
    r'RUN/checkpoints/2 is damaged: in actor, .* has \d+ bytes, expected \d+ or more; .*' + REMOVE,
  ),
  'array empty': (
    lambda run: cut(largest(run / 'checkpoints/2/actor/d'), 0),
    f'RUN/checkpoints/2 is damaged: in actor, .*{REMOVE}',
  ),
  'array gone': (
    lambda run: largest(run / 'checkpoints/2/actor/ocdbt.process_0').unlink(),
    f'RUN/checkpoints/2 is damaged: in actor, .*{REMOVE}',
  ),
  'arrays without a list': (
    lambda run: cut(run / 'checkpoints/2/actor/_METADATA'),
    f'RUN/checkpoints/2 is damaged: in actor, _METADATA: .* cut off in line 1; .*{REMOVE}',
  ),
  'description gone': (
    lambda run: (run / 'checkpoints/2/meta/metadata').unlink(),
    f'RUN/checkpoints/2/meta/metadata is missing; put back a copy of it, {REMOVE}',
  ),
  'description empty': (
    lambda run: cut(run / 'checkpoints/2/meta/metadata', 0),
    f'RUN/checkpoints/2/meta/metadata: found an empty file, expected JSON; put .*{REMOVE}',
  ),
  'manifest empty': (
    lambda run: cut(run / 'manifest.json', 0),
    'RUN/manifest.json: found an empty file, expected JSON; put back the file as the run wrote it',
  ),
  'manifest gone': (
    lambda run: (run / 'manifest.json').unlink(),
    'RUN/manifest.json is missing or empty, but there are checkpoints; put it back',
  ),
  'config cut': (
    lambda run: cut(run / 'config.json'),
    'RUN/config.json: found no whole JSON: it is cut off in line .*; move it away, and the config',
  ),
  'evaluations empty': (
    lambda run: cut(run / 'evaluations.json', 0),
    'RUN/evaluations.json: found an empty file, expected JSON; put back the file',
  ),
  'evaluations gone': (
    lambda run: (run / 'evaluations.json').unlink(),
    'RUN/evaluations.json is missing, and with it the evaluation of iteration 0, whose policy has '
    'learnt further since, up to checkpoint 2; put back the file',
  ),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_file_is_named_with_what_to_do(damage, copy):
  spoil, message = DAMAGES[damage]
  spoil(copy)
  told = go_on(copy)
  assert re.match(f'error: {message}'.replace('RUN', re.escape(str(copy))), told), told
  assert 'Expecting' not in told
  assert not (copy / 'train.lock').exists()


def test_a_run_goes_on_from_the_checkpoint_before_and_ends_where_it_did(copy, finished):
  shutil.rmtree(copy / 'checkpoints' / '2')
  assert go_on(copy) is None
  assert_same_bits(state(copy), state(finished))


def test_what_is_learnt_once_more_is_evaluated_once_more(copy, capsys):
  shutil.rmtree(copy / 'checkpoints' / '2')
  before = (copy / 'evaluations.json').read_text()
  assert go_on(copy) is None
  printed = ' '.join(capsys.readouterr().out.split())
  assert 'The evaluation of iteration 1 is made anew: checkpoint 2' in printed
  assert 'Evaluate 1: success' in printed
  assert 'Evaluate 0: success' not in printed
  assert (copy / 'evaluations.json').read_text() == before


@pytest.mark.parametrize('changes', [(), ('--config.actor.warm_start_lr=1e-4',)])
def test_rollouts_of_a_policy_that_was_learnt_anew_are_kept_and_it_is_said(changes, copy, capsys):
  shutil.rmtree(copy / 'checkpoints')
  rollouts = copy / 'episodes' / 'iteration_1'
  before = {path.name: path.read_bytes() for path in rollouts.iterdir()}
  assert go_on(copy, *changes) is None
  printed = ' '.join(capsys.readouterr().out.split())
  told = f'Collect 1: {rollouts} is kept, and was played by another policy ('
  assert (told in printed) == bool(changes)
  assert {path.name: path.read_bytes() for path in rollouts.iterdir()} == before


def test_rollouts_of_an_older_version_do_not_tell_their_policy_which_is_said(
  copy, capsys, monkeypatch
):
  monkeypatch.setattr(collection, 'POLICY', 'what no episode tells')
  shutil.rmtree(copy / 'checkpoints')
  assert go_on(copy) is None
  printed = ' '.join(capsys.readouterr().out.split())
  assert 'iteration_1 is kept, and does not tell which policy played it; the one that' in printed


def test_a_list_of_appended_iterations_that_is_gone_is_missed(copy):
  assert go_on(copy, '--more=actor') is None
  (copy / 'appended.json').unlink()
  told = go_on(copy, '--config.iterations=2')
  assert told.startswith(f'error: {copy}/appended.json does not list iteration 2, which has learnt')
  assert not (copy / 'episodes' / 'iteration_2').exists()


def test_an_index_that_was_cut_is_built_anew_and_said(copy, finished, caplog):
  (index,) = (copy / 'episodes').glob('.iteration_1.index-*')
  cut(index / 'index.json', 0)
  (other,) = (copy / 'episodes').glob('.demonstrations.index-*')
  cut(other / 'episodes.jsonl')
  shutil.rmtree(copy / 'checkpoints' / '2')
  assert go_on(copy) is None
  assert {f'{index}, the index of', f'{other}, the index of'} <= {
    record.getMessage().partition(' ' + str(copy))[0] for record in caplog.records
  }
  assert_same_bits(state(copy), state(finished))


@pytest.mark.parametrize('end', [b'{"step": 31, "ti', b'\0' * 4096, b'\0\xff\n\0'])
def test_an_end_of_the_metrics_that_a_power_cut_left_is_dropped_and_said(
  end, copy, finished, capsys
):
  log = copy / 'metrics' / 'metrics.jsonl'
  whole = log.read_bytes()
  log.write_bytes(whole + end)
  assert go_on(copy) is None
  printed = ' '.join(capsys.readouterr().out.split())
  assert f'{log}: dropped its last {len(end)} bytes, which a crash left damaged.' in printed
  assert log.read_bytes() == whole


@pytest.fixture(scope='module')
def given(finished, tmp_path_factory):
  """A run on given episodes: its directory, and that of its two datasets."""
  root = tmp_path_factory.mktemp('given')
  for name in ('demonstrations', 'iteration_1'):
    shutil.copytree(finished / 'episodes' / name, root / 'data' / name)
  first(root / 'run', **{'sim.task': '', 'data.episodes': episodes(root / 'data')})
  return root


def episodes(*directories, names=('demonstrations', 'iteration_1')):
  places = [*directories, directories[-1]][:2]
  return str(tuple(str(place / name) for place, name in zip(places, names, strict=True)))


@pytest.fixture
def moved(given, tmp_path):
  """The run after its critic's phase, and its datasets elsewhere; nothing is at the old place."""
  root = tmp_path / 'old'
  shutil.copytree(given / 'run', root / 'run')
  shutil.rmtree(root / 'run' / 'checkpoints' / '2')
  for file in ('config.json', 'manifest.json'):
    path = root / 'run' / file
    path.write_text(path.read_text().replace(str(given / 'data'), str(root / 'data')))
  shutil.copytree(given / 'data', tmp_path / 'new', copy_function=shutil.copyfile)
  return root / 'run', tmp_path / 'new'


def test_datasets_that_moved_are_known_by_what_they_hold(moved, given, capsys):
  workdir, data = moved
  told = go_on(workdir)
  assert re.match('error: config.data.episodes names .*, which does not exist; .* moved', told)
  assert go_on(workdir, f'--config.data.episodes={episodes(data)}') is None
  printed = ' '.join(capsys.readouterr().out.split())
  before = workdir.parent / 'data'
  for name in ('demonstrations', 'iteration_1'):
    assert f'{data / name} holds what {before / name} held, which the run was trained' in printed
  listed = json.loads((workdir / 'manifest.json').read_text())
  assert [entry['path'] for entry in listed] == [
    str(data / name) for name in ('demonstrations', 'iteration_1')
  ]
  assert_same_bits(state(workdir), state(given / 'run'))
  assert go_on(workdir) is None  # knows the new place now


def test_other_episodes_in_the_place_of_a_dataset_are_refused_by_both_names(moved):
  workdir, data = moved
  before = (workdir / 'manifest.json').read_text()
  swapped = episodes(data, names=('iteration_1', 'demonstrations'))
  told = go_on(workdir, f'--config.data.episodes={swapped}')
  assert told.startswith(
    f'error: {data / "iteration_1"} holds other episodes than '
    f'{workdir.parent / "data" / "demonstrations"}, in whose place config.data.episodes names it'
  )
  assert (workdir / 'manifest.json').read_text() == before


def test_another_number_of_datasets_is_refused(moved):
  workdir, data = moved
  told = go_on(workdir, f"--config.data.episodes=('{data / 'demonstrations'}',)")
  assert 'config.data.episodes names 1 datasets, and ' in told
  assert 'expected all of those first, in their order, and new ones after them' in told


def test_a_path_is_one_however_it_is_spelled(given, tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('HOME', str(given))
  monkeypatch.chdir(given)
  for there in (pathlib.Path('data'), given / 'run' / '..' / 'data'):
    assert go_on(given / 'run', f'--config.data.episodes={episodes(there)}') is None
  assert 'which the run was trained on' not in ' '.join(capsys.readouterr().out.split())


def test_run_and_data_that_move_together_go_on_by_relative_paths(given, tmp_path, monkeypatch):
  root = tmp_path / 'elsewhere'
  shutil.copytree(given, root, copy_function=shutil.copyfile)
  config = root / 'run' / 'config.json'
  config.write_text(config.read_text().replace(f'{given}/', ''))
  shutil.rmtree(root / 'run' / 'checkpoints' / '2')
  monkeypatch.chdir(root)
  assert go_on('run') is None
  assert_same_bits(state(root / 'run'), state(given / 'run'))


@pytest.mark.parametrize(
  'room, message',
  [
    (1000, 'RUN/config.json: it could not be written'),
    (20_000, 'RUN/bank/bank-[0-9a-f]+.npy: rows that are computed once could not be written'),
  ],
)
def test_a_full_disk_stops_a_run_that_ends_where_it_would_have_once_there_is_room(
  room, message, copy, finished
):
  shutil.rmtree(copy / 'checkpoints' / '2')
  shutil.rmtree(copy / 'bank')
  (copy / 'metrics' / 'metrics.jsonl').write_text('')
  with full_disk.of(room):
    told = go_on(copy)
  assert re.match(f'error: {message}: File too large'.replace('RUN', str(copy)), told), told
  assert 'Make room and give the same command again' in told
  assert not (copy / 'train.lock').exists()
  assert go_on(copy) is None
  assert_same_bits(state(copy), state(finished))
