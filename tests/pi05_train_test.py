"""A π0.5 from openpi's directory through training and back: whose bits go where, to the last."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import command_line
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import robot

from aloe_jax import config as config_lib
from aloe_jax import export
from aloe_jax import report
from aloe_jax import train
from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.parallel import sharding
from aloe_jax.preprocessing import images
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import openpi
from aloe_jax.run import algorithm
from aloe_jax.run import checkpoints
from aloe_jax.run import datasets
from aloe_jax.run import experiment
from aloe_jax.run import restored
from experiments import laundry

pytestmark = pytest.mark.usefixtures('compiled_once')

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def given(tmp_path_factory):
  """What a team brings: config fields that name episodes and a checkpoint of openpi."""
  place = tmp_path_factory.mktemp('given')
  episodes = robot.write_episodes(place / 'episodes')
  pi05 = robot.write_checkpoint(place / 'pi05', stats=robot.make_stats(scale=2.0))
  return dict(data__episodes=(str(episodes),), actor__checkpoint=str(pi05))


@pytest.fixture(scope='module')
def finished(given, compiled_once, tmp_path_factory):
  """The working directory of one whole iteration."""
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  status, _, errors = command_line.run('train', *robot.make_flags(**given), f'--workdir={workdir}')
  assert (status, errors) == (0, '')
  return workdir


@pytest.fixture(scope='module')
def exported(finished):
  """What `export` makes of it."""
  directory = finished.parent / 'exported'
  status, _, errors = command_line.run(
    'export', f'--workdir={finished}', f'--to={directory}', '--asset=table'
  )
  assert (status, errors) == (0, '')
  return directory


def run(workdir, **changes):
  """What the command does, but for a new process."""
  train.run(experiment.Experiment(robot.make_config(**changes)), workdir)


def read_state(workdir, number=2):
  described = experiment.Experiment(robot.make_config())
  path = workdir / 'checkpoints' / str(number)
  return checkpoints.restore(path, described.abstract_state(), described.architecture())


def read_metrics(workdir):
  lines = (workdir / 'metrics' / 'metrics.jsonl').read_text().splitlines()
  return [{k: x for k, x in json.loads(line).items() if k != 'time'} for line in lines]


def read_as_openpi(directory):
  """The calls with which openpi's server and trainer read a checkpoint."""
  item = directory / 'params'
  with ocp.PyTreeCheckpointer() as checkpointer:
    stored = {'params': checkpointer.metadata(item).item_metadata.tree['params']}
    place = jax.tree.map(lambda _: ocp.ArrayRestoreArgs(restore_type=np.ndarray), stored)
    arguments = ocp.args.PyTreeRestore(item=stored, restore_args=place)
    return checkpointer.restore(item, arguments)['params']


def tower_of(params):
  return params['PaliGemma']['img']


def numbers_of_checkpoints(workdir):
  return sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir())


def assert_same_bits(found, expected):
  found, expected = (traverse_util.flatten_dict(tree, sep='/') for tree in (found, expected))
  assert sorted(found) == sorted(expected)
  for path, array in expected.items():
    assert found[path].dtype == array.dtype, path
    np.testing.assert_array_equal(found[path], array, err_msg=path)


def test_one_command_leaves_a_checkpoint_of_every_phase(finished):
  assert sorted(path.name for path in finished.iterdir()) == [
    'bank',
    'checkpoints',
    'config.json',
    'manifest.json',
    'metrics',
  ]
  assert numbers_of_checkpoints(finished) == [0, 1, 2]
  phases = [(line['phase'], line['step']) for line in read_metrics(finished)]
  assert phases == [
    ('actor', 2),
    ('actor', 4),
    ('critic', 14),
    ('critic', 24),
    ('weights', 25),
    ('actor', 26),
    ('actor', 28),
  ]


def test_training_begins_with_the_published_bits(given, tmp_path, monkeypatch):
  place, placed = sharding.Fsdp.place_state, []

  def record(self, state):
    placed.append(state)
    return place(self, state)

  def stop(self):
    raise KeyboardInterrupt

  monkeypatch.setattr(sharding.Fsdp, 'place_state', record)
  monkeypatch.setattr(algorithm.Run, 'warm_start', stop)
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path, **given)
  (state,) = placed
  published = robot.make_params(robot.make_config())
  assert_same_bits(state.actor['params'], published)
  assert_same_bits(state.actor_ema['params'], published)


def test_the_critics_encoder_stays_the_published_tower_while_the_actors_own_moves(finished):
  published = tower_of(robot.make_params(robot.make_config()))
  shapes = tower_of(experiment.Experiment(robot.make_config()).abstract_state().actor['params'])
  for number in range(3):
    path = finished / 'checkpoints' / str(number)
    assert_same_bits(checkpoints.restore_encoder(path, shapes), published)
  moved = tower_of(read_state(finished).actor['params'])
  different = jax.tree.map(lambda a, b: bool((a != b).any()), moved, published)
  assert all(jax.tree.leaves(different))


def test_the_statistics_are_those_of_the_checkpoints_asset(finished):
  expected = normalize.to_json(robot.make_stats(scale=2.0))['norm_stats']
  for number in range(3):
    meta = checkpoints.read_meta(finished / 'checkpoints' / str(number))
    assert meta['norm_stats'] == expected


def test_the_features_beside_the_episodes_are_the_towers_pooled_output(finished, given):
  (directory,) = map(pathlib.Path, given['data__episodes'])
  (cache,) = directory.parent.glob('.episodes.features-*.npy')
  before = cache.stat().st_mtime_ns
  described = experiment.Experiment(robot.make_config())
  params = tower_of(robot.make_params(robot.make_config()))
  steps = datasets.Datasets(described, params).read([directory])
  rows = np.arange(robot.LENGTH, robot.LENGTH + 2)  # of the second episode
  features = steps.features(rows)
  assert cache.stat().st_mtime_ns == before  # these came from the cache
  assert features.dtype == jnp.bfloat16
  assert features.shape == (2, 3, 32)
  for view, camera in enumerate(types.CAMERAS):
    frames = image_codec.decoded([read() for read in steps.images(camera, rows)])
    pixels = np.stack([images.resize_with_pad(frame, 28) for frame in frames])
    _, out = described.encoder.tower.apply({'params': params}, pixels / 127.5 - 1)
    expected = out['tokens'].mean(axis=1)
    np.testing.assert_allclose(np.float32(features[:, view]), expected, rtol=2**-7, atol=1e-3)


@pytest.fixture
def encoded(monkeypatch):
  """How many images of each camera are encoded, call by call."""
  calls, encode = [], experiment.Experiment.encode

  def noting(self, params, images, masks):
    calls.append(len(images['head']))
    return encode(self, params, images, masks)

  monkeypatch.setattr(experiment.Experiment, 'encode', noting)
  return calls


def test_a_report_reads_what_acts_and_judges_and_encodes_nothing_again(
  finished, tmp_path, encoded, monkeypatch
):
  workdir = tmp_path / 'run'
  shutil.copytree(finished, workdir)
  read, restore = [], checkpoints.restore_parts
  monkeypatch.setattr(
    checkpoints, 'restore_parts', lambda path, like: read.extend(like) or restore(path, like)
  )
  monkeypatch.setattr(checkpoints, 'restore', None)
  report.main([f'--workdir={workdir}'])
  # The new policy's moving average too, of which the card foretells.
  assert sorted(read) == ['actor_ema', 'actor_ema', 'critic', 'step']
  assert encoded == []
  assert json.loads((workdir / 'report.json').read_text())['episodes'] == 4


def test_a_report_on_other_episodes_encodes_those_of_their_images_that_it_judges(
  finished, tmp_path, encoded, monkeypatch, capsys
):
  workdir = tmp_path / 'run'
  shutil.copytree(finished, workdir)
  unseen = robot.write_episodes(tmp_path / 'unseen', *map(robot.make_episode, range(5, 9)))
  command = [f'--workdir={workdir}', f'--episodes={unseen}', '--count=2']
  report.main(command)
  found = json.loads((workdir / 'report.json').read_text())
  assert (found['held_out'], found['episodes']) == (True, 2)
  assert 'Encode unseen: 13/13 steps' in capsys.readouterr().out  # of 48
  assert len(encoded) == 1
  built = experiment.Experiment(robot.make_config())
  kept = restored.restore(built, finished / 'checkpoints' / '1', critic=True)
  datasets.Datasets(built, kept.encoder).encode([unseen])
  del encoded[:]
  report.main(command)
  assert encoded == []
  assert json.loads((workdir / 'report.json').read_text()) == found


def test_what_is_restored_to_act_is_bit_for_bit_what_a_whole_state_holds(finished):
  built, path = experiment.Experiment(robot.make_config()), finished / 'checkpoints' / '1'
  whole = read_state(finished, 1)
  acting, judging = (restored.restore(built, path, critic=critic) for critic in (False, True))
  assert (acting.critic, acting.encoder, acting.step) == (None, {}, int(whole.step))
  assert_same_bits(acting.policy.params, whole.actor_ema)
  assert_same_bits(judging.critic, whole.critic)
  tower = tower_of(robot.make_params(robot.make_config()))
  assert_same_bits(judging.encoder, tower)


def test_a_run_stopped_after_the_critic_ends_bit_for_bit_as_the_unbroken_one(
  finished, given, tmp_path
):
  workdir = tmp_path / 'run'
  shutil.copytree(finished, workdir)
  shutil.rmtree(workdir / 'checkpoints' / '2')
  run(workdir, **given)
  found, expected = read_state(workdir), read_state(finished)
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert read_metrics(workdir) == read_metrics(finished)


def test_the_next_iteration_keeps_encoder_statistics_and_the_cost_of_failure(
  finished, given, tmp_path
):
  last = finished / 'checkpoints' / '2'
  run(tmp_path, **given | dict(actor__checkpoint=str(last)))
  assert numbers_of_checkpoints(tmp_path) == [1, 2]
  assert int(read_state(tmp_path).step) == 28 + 20 + 4
  published = tower_of(robot.make_params(robot.make_config()))
  path = tmp_path / 'checkpoints' / '2'
  assert_same_bits(checkpoints.restore_encoder(path, published), published)
  before, after = checkpoints.read_meta(last), checkpoints.read_meta(path)
  for kept in ('norm_stats', 'fail_cost', 'architecture'):
    assert after[kept] == before[kept]
  assert len(list(pathlib.Path(given['data__episodes'][0]).parent.glob('*.npy'))) == 1


def test_algorithm_1_to_the_letter_runs(finished, given, tmp_path):
  changes = dict(actor__bank=False, actor__rule='paper', actor__weights='per_step')
  shutil.copytree(finished / 'checkpoints' / '0', tmp_path / 'checkpoints' / '0')
  shutil.copy(finished / 'manifest.json', tmp_path)
  run(tmp_path, **given | changes)
  assert numbers_of_checkpoints(tmp_path) == [0, 1, 2]
  phases = [(line['phase'], line['step']) for line in read_metrics(tmp_path)]
  assert phases == [('critic', 14), ('critic', 24), ('actor', 26), ('actor', 28)]


def test_openpi_reads_the_moving_average_of_what_was_trained(finished, exported):
  found, ema = read_as_openpi(exported), read_state(finished).actor_ema['params']
  assert_same_bits(found, ema)
  published = robot.make_params(robot.make_config())
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), found, published)
  assert np.mean(jax.tree.leaves(moved)) > 0.9


def test_pytorch_gets_the_same_numbers_and_what_openpi_and_lerobot_want_beside_them(
  finished, exported, tmp_path
):
  target = tmp_path / 'pi05_table'
  export.main([f'--workdir={finished}', f'--to={target}', '--format=pytorch', '--asset=table'])
  found = openpi.restore(target, openpi.shapes(target))
  assert_same_bits(found, openpi.restore(exported, openpi.shapes(exported)))
  assert json.loads((target / 'config.json').read_text())['chunk_size'] == 8
  assert 'name="pi05_table"' in (target / 'openpi_config.py').read_text()
  assert list(openpi.assets(target)) == ['table']


def test_the_statistics_are_exported_under_their_name(exported):
  names = sorted(path.name for path in exported.iterdir())
  assert names == ['assets', 'openpi_config.py', 'params']
  found = normalize.read(openpi.assets(exported)['table'])
  expected = robot.make_stats(scale=2.0)
  assert normalize.to_json(found) == normalize.to_json(expected)


def test_an_export_overwrites_nothing(finished, exported):
  result = command_line.run(
    'export', *robot.make_flags(), f'--workdir={finished}', f'--to={exported}'
  )
  command_line.assert_refused(result, f'{exported} exists; give a directory that does not.')


def test_whoever_exports_an_actor_that_was_taught_tags_is_told_that_openpi_gives_none(
  finished, tmp_path
):
  shutil.copytree(finished / 'checkpoints' / '2', tmp_path / 'checkpoints' / '2')
  meta = tmp_path / 'checkpoints' / '2' / 'meta' / 'metadata'
  meta.write_text(json.dumps(json.loads(meta.read_text()) | {'tagged': True}))
  status, _, errors = command_line.run(
    'export', *robot.make_flags(), f'--workdir={tmp_path}', f'--to={tmp_path / "exported"}'
  )
  assert status == 0
  assert 'checkpoints/2 was taught tags, which openpi does not give' in errors


def test_only_a_pi05_can_be_exported(tmp_path):
  config_lib.keep(laundry.get_config('sim_debug'), tmp_path / 'config.json')
  result = command_line.run('export', f'--workdir={tmp_path}', f'--to={tmp_path / "exported"}')
  command_line.assert_refused(result, "config.actor.kind is 'small'; only a π0.5 can be exported")
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


def test_the_end_of_a_robots_run_names_the_checkpoint_and_the_commands(finished, given, capsys):
  run(finished, **given)
  printed = capsys.readouterr().out
  assert 'Encode episodes: 48 steps, kept from before' in printed
  assert printed.partition('The newest')[2].splitlines() == [
    f' checkpoint is {finished}/checkpoints/2. What can be done with it:',
    '  whether its critic can be trusted (on other episodes with --episodes=DIRECTORY):',
    f'    python -m aloe_jax.report --workdir={finished}',
    '  actions for a robot that asks:',
    f'    python -m aloe_jax.serve --workdir={finished}',
    '  weights as openpi publishes them, for the robot:',
    f'    python -m aloe_jax.export --workdir={finished} --to={finished}_exported',
    '  another round, with new episodes named after those of before:',
    f'    python -m aloe_jax.train --workdir={finished} '
    f'"--config.data.episodes={(*given["data__episodes"], "DIRECTORY")}"',
  ]


def test_eight_devices_train_what_one_does(finished, given, tmp_path):
  variables = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '8',
    'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]),
  }
  script = ROOT / 'tests' / 'pi05_parallel_check.py'
  done = subprocess.run(
    [sys.executable, '-W', 'error', script, json.dumps(given), tmp_path],
    env=variables,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  expected = read_metrics(finished)[0]
  for mode in ('fsdp', 'pmap'):
    found = read_metrics(tmp_path / mode)[0]
    assert found['step'] == 2
    np.testing.assert_allclose(found['loss'], expected['loss'], rtol=1e-4)
