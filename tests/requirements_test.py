"""What a run needs and does not find is said within seconds, and nothing is written."""

import dataclasses
import sys
import time

import command_line
import foreign
import jax
import numpy as np
import pytest
import robot
import tiny

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from aloe_jax.run import requirements
from experiments import laundry

DEBUG = '--config=experiments/laundry.py:sim_debug'


def make_config(variant='sim_debug', **changes):
  config = laundry.get_config(variant)
  config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
  return config


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A checkpoint whose architecture is that of the debug variant."""
  kept = checkpoints.Checkpoints(tmp_path_factory.mktemp('old') / 'checkpoints')
  meta = {'architecture': experiment.Experiment(make_config()).architecture(), 'fail_cost': 9.0}
  kept.save(2, tiny.make_state(tiny.make_learner()), {}, meta)
  return kept.path(2)


def train_on(episodes, checkpoint, tmp_path, *overrides):
  """Starts one iteration on given episodes; nothing may be left of it."""
  workdir = tmp_path / 'run'
  result = command_line.run(
    'train',
    DEBUG,
    f'--workdir={workdir}',
    '--config.sim.task=',
    f'--config.data.episodes={(str(episodes),)!r}',
    f'--config.actor.checkpoint={checkpoint}',
    *overrides,
  )
  assert not workdir.exists()
  return result


def make_episode(length):
  end_reason = [types.EndReason.NONE] * (length - 1) + [types.EndReason.SUCCESS]
  episode = tiny.make_episode(np.random.default_rng(0), end_reason)
  action = np.zeros((length, 14), np.float32)
  return dataclasses.replace(episode, action=action)


def test_the_robots_experiment_says_which_data_and_checkpoint_it_needs_and_how_to_try_it(tmp_path):
  workdir = tmp_path / 'run'
  start = time.monotonic()
  result = command_line.run('train', '--config=experiments/laundry.py', f'--workdir={workdir}')
  assert time.monotonic() - start < 20
  command_line.assert_refused(result, 'this experiment runs on data of a real robot, and needs')
  for words in (
    '--config.data.episodes="(\'path/to/dataset/1.0.0\',)"',
    '--config.actor.checkpoint=path/to/pi05_base',
    '--config.actor.tokenizer=path/to/paligemma_tokenizer.model',
    '--config=experiments/laundry.py:sim',
  ):
    assert words in result[2]
  assert not workdir.exists()


def test_only_what_is_missing_is_asked_for(tmp_path):
  config = make_config('', data__episodes=(str(tmp_path),))
  with pytest.raises(ValueError) as refused:
    requirements.check(config)
  assert 'a checkpoint for the actor' in str(refused.value)
  assert 'RLDS directories' not in str(refused.value)


@pytest.mark.parametrize(
  'field, value, message',
  [
    ('data__episodes', ('nowhere/1.0.0',), 'config.data.episodes names nowhere/1.0.0, which does'),
    ('actor__checkpoint', 'nowhere/4', 'config.actor.checkpoint names nowhere/4, which does not'),
  ],
)
def test_a_missing_path_is_named_with_its_field(field, value, message, tmp_path):
  with pytest.raises(FileNotFoundError, match=message):
    requirements.check(make_config(**{field: value}))


def test_a_lerobot_dataset_is_told_how_to_become_one_of_rlds(tmp_path):
  folder = tmp_path / 'Fold-laundry'
  (folder / 'meta').mkdir(parents=True)
  (folder / 'meta' / 'info.json').write_text('{}')
  with pytest.raises(ValueError) as refused:
    requirements.check(make_config(data__episodes=(str(folder),)))
  assert str(refused.value).splitlines() == [
    f'config.data.episodes: {folder} is a LeRobot dataset; expected an RLDS dataset. Make one of '
    'it with',
    f'  python -m aloe_jax.data import --from lerobot {folder} --to fold_laundry_rlds --name '
    'fold_laundry',
  ]


def test_weights_and_biases_is_asked_for_only_where_it_is_installed(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  requirements.check(make_config())
  message = r"config.train.wandb is True, but .* not installed; install it with\n.*'\.\[wandb\]'"
  with pytest.raises(ValueError, match=message):
    requirements.check(make_config(train__wandb=True))


@pytest.mark.parametrize('phase', ['actor', 'critic'])
def test_batches_have_to_divide_by_the_devices(phase, monkeypatch, tmp_path):
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  requirements.check(make_config())
  with pytest.raises(ValueError, match=f'config.{phase}.batch_size is 20, .* choose a multiple of'):
    requirements.check(make_config(**{f'{phase}__batch_size': 20}))


def test_a_checkpoint_of_another_architecture_is_refused_with_all_that_differs(
  checkpoint, tmp_path
):
  workdir = tmp_path / 'run'
  result = command_line.run(
    'train',
    DEBUG,
    f'--workdir={workdir}',
    f'--config.actor.checkpoint={checkpoint}',
    '--config.actor.small.width=32',
    '--config.critic.depth=3',
  )
  command_line.assert_refused(result, f'{checkpoint} is a checkpoint of another architecture')
  lines = result[2].splitlines()
  assert lines[1:3] == ['  actor.small.width: 16 there, 32 here', '  critic.depth: 1 there, 3 here']
  assert not workdir.exists()


def test_episodes_without_actions_are_refused_by_that_field(checkpoint, tmp_path):
  state = foreign.tfds_features().Tensor(shape=(32,), dtype=np.float32)
  example = {'steps': [{'observation': {'state': np.zeros(32, np.float32)}}] * 9}
  foreign.write(tmp_path / 'data', {'observation': {'state': state}}, [example])
  result = train_on(tmp_path / 'data', checkpoint, tmp_path)
  command_line.assert_refused(result, f'{tmp_path}/data: action: found no field with a name')


def test_a_chunk_longer_than_every_episode_is_refused(checkpoint, tmp_path):
  rlds.write(tmp_path / 'data', [make_episode(5), make_episode(7)], name='table')
  result = train_on(tmp_path / 'data', checkpoint, tmp_path)
  command_line.assert_refused(
    result, 'the longest of 2 fragments has 7 steps, but a chunk has 8; expected a fragment at'
  )


def test_an_actor_that_no_published_weights_fit_may_start_at_random(tmp_path):
  config = laundry.get_config('debug')
  config.sim.task = ''
  config.data.episodes = (str(tmp_path / 'episodes'),)
  robot.write_episodes(tmp_path / 'episodes', robot.make_episode(0))
  requirements.check(config)
  config = laundry.get_config()
  config.data.episodes = (str(tmp_path / 'episodes'),)
  with pytest.raises(ValueError, match='config.actor.checkpoint=path/to/pi05_base'):
    requirements.check(config)


@pytest.mark.parametrize('rows', [3, 5, 64])
def test_a_piece_of_a_batch_that_does_not_divide_it_is_refused(rows):
  wanted = f'config.actor.microbatch is {rows}; expected 0 .* divides config.actor.batch_size = 32'
  with pytest.raises(ValueError, match=wanted):
    requirements.check(make_config(actor__microbatch=rows))
  requirements.check(make_config(actor__microbatch=8))
