"""A run that sees through cameras: its tower learns in the warm start and rests from then on."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax import evaluate
from aloe_jax import stopping
from aloe_jax import train
from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.run import checkpoints
from aloe_jax.run import datasets
from aloe_jax.run import experiment
from aloe_jax.run import restored
from aloe_jax.run import starting_point
from aloe_jax.run import updates
from experiments import laundry

pytestmark = pytest.mark.usefixtures('compiled_once')

SIZE = 16  # pixels


def make_config(**changes):
  config = laundry.get_config('sim_debug')
  config.sim.update(observation='pixels', image_size=SIZE)
  config.actor.small.tower.update(channels=(4, 6), width=8)
  config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
  return config


def start(workdir, **changes):
  train.run(experiment.Experiment(make_config(**changes)), workdir)


@pytest.fixture(scope='module')
def finished(compiled_once, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'laundry'
  start(workdir)
  return workdir


def read(workdir, number):
  """Of a checkpoint: the train state, and the tower."""
  built = experiment.Experiment(make_config())
  path = workdir / 'checkpoints' / str(number)
  state = checkpoints.restore(path, built.abstract_state(), built.architecture())
  return state, starting_point.encoder_params(starting_point.find(str(path)), built, None)


def fresh():
  """The actor's parameters as they are before the warm start."""
  built = experiment.Experiment(make_config())
  return starting_point.actor_params(starting_point.find(''), built)


def assert_same_bits(found, expected):
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_warm_start_trains_the_tower_and_later_phases_leave_it_as_it_is(finished):
  before = fresh()['params']
  states, towers = zip(*(read(finished, number) for number in range(3)), strict=True)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), towers[0], before['tower'])
  assert min(jax.tree.leaves(moved)) > 0
  assert_same_bits(towers[1], towers[0])
  assert_same_bits(towers[2], towers[0])
  for state in states:
    assert set(state.actor['params']) == set(before) - {'tower'}
  assert_same_bits(states[0].actor, states[0].actor_ema)  # it goes on from what acts
  head = 'action_out', 'kernel'
  first, last = (state.actor['params'][head[0]][head[1]] for state in (states[0], states[2]))
  assert np.abs(first - last).max() > 0


def test_what_critic_and_actor_read_are_features_of_the_trained_tower(finished):
  built = experiment.Experiment(make_config())
  _, tower = read(finished, 0)
  directories = [finished / 'episodes' / name for name in ('demonstrations', 'iteration_1')]
  for directory in directories:
    assert len(list(directory.parent.glob(f'.{directory.name}.features-*.npy'))) == 1
  kept = datasets.Datasets(built, tower)
  built.encode = None  # what is there serves
  rows = np.array([0, 7])
  steps = kept.read(directories)
  features = np.float32(steps.features(rows))
  for view, camera in enumerate(types.CAMERAS):
    frames = image_codec.decoded([read() for read in steps.images(camera, rows)])
    _, out = built.encoder.tower.apply({'params': tower}, frames / 127.5 - 1)
    np.testing.assert_allclose(features[:, view], out['pooled'], rtol=2**-7, atol=1e-2)


def test_whoever_acts_sees_through_the_trained_tower(finished):
  built = experiment.Experiment(make_config())
  found = restored.restore(built, finished / 'checkpoints' / '2')
  assert_same_bits(found.encoder, read(finished, 0)[1])
  evaluate.main([f'--workdir={finished}', '--config.evaluation.episodes=4'])


def stop_after_a_call(monkeypatch):
  log, seen = updates.Updates._log, []

  def noting(self, *arguments):
    seen.append(1)
    return log(self, *arguments)

  monkeypatch.setattr(updates.Updates, '_log', noting)
  monkeypatch.setattr(stopping, 'asked', lambda: signal.SIGTERM if not seen else None)


def test_a_run_stopped_while_the_tower_learns_ends_bit_for_bit_as_the_unbroken_one(
  finished, tmp_path, monkeypatch
):
  workdir = tmp_path / 'run'
  shutil.copytree(finished, workdir)
  for name in ('checkpoints', 'metrics', 'bank'):
    shutil.rmtree(workdir / name)
  for name in ('evaluations.json', 'manifest.json'):
    (workdir / name).unlink()
  shutil.rmtree(workdir / 'episodes' / 'iteration_1')
  for left in (workdir / 'episodes').glob('.*.features-*'):
    left.unlink()
  with monkeypatch.context() as patch, pytest.raises(stopping.Stopped, match='Warm start after 10'):
    stop_after_a_call(patch)
    start(workdir)
  start(workdir)
  for number in range(3):
    found, expected = read(workdir, number), read(finished, number)
    assert_same_bits(found, expected)


def test_another_run_goes_on_from_the_warm_start_and_its_tower(finished, tmp_path):
  start(
    tmp_path / 'run',
    agent='filtered_bc',
    actor__checkpoint=str(finished / 'checkpoints' / '0'),
  )
  _, tower = read(finished, 0)
  built = experiment.Experiment(make_config(agent='filtered_bc'))
  path = tmp_path / 'run' / 'checkpoints' / '2'
  found = starting_point.encoder_params(starting_point.find(str(path)), built, None)
  assert_same_bits(found, tower)


@pytest.mark.parametrize('channels', [(), ('a',), (8.5,), (0,), (4, True)])
def test_channels_that_are_no_whole_numbers_are_refused(channels):
  config = make_config(actor__small__tower__channels=channels)
  with pytest.raises(ValueError, match='channels is .*expected .* whole numbers of 1 or more'):
    experiment.Experiment(config)


def test_a_tower_that_nothing_would_train_is_refused_before_anything_is_done(tmp_path):
  told = 'error: config.actor.warm_start_updates is 0, but the warm start alone trains the tower'
  with pytest.raises(SystemExit, match=told):
    start(tmp_path / 'run', actor__warm_start_updates=0)
  assert not (tmp_path / 'run' / 'episodes').exists()


def test_a_run_of_the_time_of_random_filters_is_refused(finished):
  tree = json.loads((finished / 'config.json').read_text())
  del tree['actor']['small']['tower']
  old = config_lib.from_json(tree, 'config.json')
  with pytest.raises(ValueError, match='seen through random filters.*Begin another --workdir'):
    experiment.Experiment(old)


def test_a_run_without_cameras_of_that_time_goes_on():
  config = laundry.get_config('sim')
  tree = config_lib.to_json(config)
  del tree['actor']['small']['tower']
  assert config_lib.from_json(tree, 'config.json') == config
  assert 'tower' not in experiment.Experiment(config).architecture()['actor']['small']
