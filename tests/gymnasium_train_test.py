"""The whole program in a Gymnasium environment: through the same commands, with the same files."""

import json
import logging
import re
import shutil

import command_line
import jax
import numpy as np
import pytest

from aloe_jax import config as config_lib
from aloe_jax import train
from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.run import checkpoints
from aloe_jax.run import collection
from aloe_jax.run import experiment
from aloe_jax.run import requirements
from experiments import ogbench

pytestmark = pytest.mark.usefixtures('compiled_once')

OVERRIDES = {
  'sim.task': 'gymnasium:line_world:Rescued-v0',
  'task.max_steps': 3,
  'task.chunk': 2,
  'actor.small.steps_per_token': 2,
}


def command(name, workdir):
  """A command on the test's own environment, in a process of its own."""
  overrides = [f'--config.{field}={value}' for field, value in OVERRIDES.items()]
  return command_line.run(
    name,
    '--config=experiments/ogbench.py:cube_single_debug',
    f'--workdir={workdir}',
    *overrides,
    PYTHONPATH=f'{command_line.ROOT / "tests"}:{command_line.ROOT}',
  )


@pytest.fixture(scope='module')
def finished(compiled_once, tmp_path_factory):
  """A finished run."""
  workdir = tmp_path_factory.mktemp('runs') / 'line'
  status, _, errors = command('train', workdir)
  assert status == 0, errors
  return workdir


def test_people_who_never_succeed_are_told_with_how_they_ended():
  config = make_config()
  config.task.max_steps = 1  # from x of 4 or more, at 2 a step
  config.sim.attempts = 3
  built = experiment.Experiment(config)
  collector = collection.Collector(built, built.world.see(None))
  count = 3 * collection.MAX_ROUNDS
  told = (
    rf'{count} demonstrations gave 0 successes, expected 4; they ended in {count} timeout. See '
    "whether the human can do the task .* info\\['success'\\] in Gymnasium"
  )
  with pytest.raises(ValueError, match=told):
    collector.demonstrate(jax.random.key)


def test_a_run_is_not_evaluated_where_numbers_are_scaled_otherwise(finished, tmp_path):
  workdir = shutil.copytree(finished, tmp_path / 'run')
  path = workdir / 'simulator_ranges.json'
  kept = json.loads(path.read_text())
  assert kept['observation'] == [None, [-10.0, 30.0]] and kept['action'] == [[-2.0, 2.0]]
  kept['observation'][1] = [-10.0, 300.0]
  path.write_text(json.dumps(kept))
  status, _, errors = command('evaluate', workdir)
  assert status == 1
  assert (
    'has bounds of -10 to 30 for number 1 of the observation, and had bounds of -10 to 300'
    in errors
  )


def make_config():
  config = ogbench.get_config('cube_single_debug')
  config.update_from_flattened_dict(OVERRIDES)
  return config


def read_state(workdir):
  built = experiment.Experiment(make_config())
  path = workdir / 'checkpoints' / '2'
  return checkpoints.restore(path, built.abstract_state(), built.architecture())


def test_episodes_are_on_disk_as_they_were_seen_with_take_overs_and_without_images(finished):
  demonstrations = rlds.read(finished / 'episodes' / 'demonstrations')
  assert len(demonstrations) == 4
  collected = rlds.read(finished / 'episodes' / 'iteration_1')
  assert len(collected) == 8
  assert types.Source.HUMAN in np.concatenate([episode.source for episode in collected])
  for episode in [*demonstrations, *collected]:
    assert episode.images is None
    assert episode.metadata['task'] == 'gymnasium:line_world:Rescued-v0'
    x = episode.state[:, 0]
    np.testing.assert_allclose(episode.features[:, 0, 0], np.sign(x) * np.log1p(abs(x)), rtol=1e-5)
    followed = episode.end_reason[:-1] != types.EndReason.FAILURE
    moved = (x[:-1] + episode.action[:-1, 0])[followed]
    np.testing.assert_allclose(x[1:][followed], moved, atol=1e-5)


def test_a_run_that_lost_its_last_checkpoint_ends_in_the_same_bits(finished, tmp_path):
  workdir = tmp_path / 'line'
  shutil.copytree(finished, workdir)
  shutil.rmtree(workdir / 'checkpoints' / '2')
  evaluations = json.loads((finished / 'evaluations.json').read_text())
  (workdir / 'evaluations.json').write_text(json.dumps(evaluations[:1]))
  train.run(experiment.Experiment(make_config()), workdir)
  assert json.loads((workdir / 'evaluations.json').read_text()) == evaluations
  jax.tree.map(np.testing.assert_array_equal, read_state(workdir), read_state(finished))


def test_evaluate_finds_what_training_found(finished):
  status, printed, errors = command('evaluate', finished)
  assert status == 0, errors
  expected = json.loads((finished / 'evaluations.json').read_text())[-1]
  (kept,) = (finished / 'evaluations').glob('*.json')
  (found,) = json.loads(kept.read_text())
  assert found['ends'] == expected['ends']
  assert found['steps'] == expected['steps']
  assert f'{100 * found["success_rate"]:.1f} %' in printed


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('sim.observation', 'pixels', "config.sim.task is 'gymnasium:line_world:Rescued-v0', whose"),
    ('task.max_steps', 0, 'config.task.max_steps is 0; expected the steps after which'),
    ('task.action_size', 5, 'config.task.action_size is 5, but gymnasium:line_world:Rescued-v0'),
    ('task.demonstrations', 0, 'config.task.demonstrations is 0, and no episodes are given'),
  ],
)
def test_what_does_not_fit_is_named_before_any_work(tmp_path, field, value, message):
  config = make_config()
  config.update_from_flattened_dict({field: value})
  with pytest.raises(ValueError, match=message):
    config_lib.validate(config)
    requirements.check(config)
    experiment.Experiment(config)


def test_conditions_that_only_the_table_top_has_are_refused():
  built = experiment.Experiment(make_config())
  with pytest.raises(ValueError, match='gymnasium:line_world:Rescued-v0 has no unseen scenes'):
    built.world.simulation(built.world.see(None), unseen=True)


def test_given_demonstrations_take_the_place_of_a_demonstrator(finished, tmp_path):
  config = make_config()
  config.sim.task = 'gymnasium:line_world:Line-v0'
  config.task.demonstrations = 0
  config.agent = 'bc'
  config.data.episodes = (str(finished / 'episodes' / 'demonstrations'),)
  config_lib.validate(config)
  requirements.check(config)
  train.run(experiment.Experiment(config), tmp_path / 'run')
  assert not (tmp_path / 'run' / 'episodes' / 'demonstrations').exists()
  collected = rlds.read(tmp_path / 'run' / 'episodes' / 'iteration_1')
  sources = np.concatenate([episode.source for episode in collected])
  assert set(sources) == {types.Source.POLICY}


@pytest.mark.parametrize('normalization, is_said', [('none', True), ('zscore', False)])
def test_actions_far_from_unit_scale_are_said_where_nothing_normalises_them(
  normalization, is_said, tmp_path, caplog
):
  config = make_config()
  config.sim.task = 'gymnasium:line_world:Far-v0'
  config.task.max_steps = 9
  config.iterations = 0
  config.data.normalization = normalization
  with caplog.at_level(logging.WARNING):
    train.run(experiment.Experiment(config), tmp_path / 'run')
  told = [text for text in caplog.messages if 'far from unit scale' in text]
  assert len(told) == is_said
  # The slower people move by 40 a step, the faster ones by 80.
  assert all(re.search(r'number 0 reaches (40|80); expected up to 10', text) for text in told)
