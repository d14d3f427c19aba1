"""States that an earlier version filled up with zeros: data of them, and checkpoints."""

import dataclasses
import json
import pathlib

import command_line
import finished_runs
import numpy as np
import pytest
import robot

import aloe_jax
from aloe_jax import evaluate
from aloe_jax import export
from aloe_jax import report
from aloe_jax import train
from aloe_jax.data import index
from aloe_jax.data import padding
from aloe_jax.preprocessing import normalize
from aloe_jax.run import padded_state
from aloe_jax.run import robot as robot_lib

FULL = 32


def write(directory, width=FULL, last=0.0, size=robot.SIZE):
  """Episodes whose state is filled up to `width` with zeros, but for the last number."""

  def make(number):
    episode = robot.make_episode(number)
    state = np.zeros((robot.LENGTH, width), np.float32)
    state[:, :size] = episode.state[:, :size]
    state[-1, -1] += last
    return dataclasses.replace(episode, state=state)

  return robot.write_episodes(directory, make(0), make(2))


def settle(*directories, **task):
  config = robot.make_config(data__episodes=tuple(map(str, directories)))
  config.task.update({'proprio_size': 0, 'action_size': 0, 'cameras': ()} | task)
  indices = {directory: index.load(directory, {}) for directory in directories}
  robot_lib.settle(config, indices)
  return config, indices


@pytest.mark.parametrize(
  'columns, expected',
  [([1, 0, 2, 0], 3), ([0, 0, 0, 0], 0), ([1, 2, 3, 4], 4), ([0, 0, 0, np.nan], 4)],
)
def test_numbers_are_used_up_to_the_last_that_is_not_zero(columns, expected):
  state = np.zeros((200_000, 4), np.float32)
  state[150_000] = columns
  assert padding.used(state) == expected


@pytest.mark.parametrize('asked, said', [('wipe the table', True), ('Fold the t-shirt', False)])
def test_a_prompt_that_no_episode_shows_is_said(asked, said, tmp_path, capsys):
  directory = write(tmp_path / 'own', width=14)
  settle(directory, prompt=asked)
  expected = f"'Fold the t-shirt'. The policy learns these, but is asked for {asked!r}"
  assert (expected in capsys.readouterr().out) == said


def test_the_robots_numbers_are_those_of_the_data(tmp_path, capsys):
  directory = write(tmp_path / 'own', width=14)
  config, _ = settle(directory)
  assert (config.task.proprio_size, config.task.action_size) == (14, 14)
  assert config.task.cameras == ('head', 'left_wrist', 'right_wrist')
  assert capsys.readouterr().out == (
    'Robot: 14 numbers of state, 14 of action, cameras head, left_wrist, right_wrist (from the '
    'data)\n'
  )


def test_a_state_that_was_filled_up_is_refused_with_what_to_do(tmp_path):
  directory = write(tmp_path / 'old')
  with pytest.raises(ValueError) as refused:
    settle(directory)
  told = str(refused.value)
  assert told.startswith(f'{directory}: the state has 32 numbers a step, of which those after the ')
  assert 'first 14 are 0 at every step' in told
  assert "--config.data.mapping.state='observation/state[0:14]'" in told
  assert '--config.task.proprio_size=14' in told
  assert 'import the recordings again' in told
  assert told.endswith('or say --config.task.proprio_size=32 if the robot has 32 numbers.')


def test_a_robot_of_32_numbers_of_which_the_last_is_never_used_is_taken_at_its_word(tmp_path):
  directory = write(tmp_path / 'brake')
  config, indices = settle(directory, proprio_size=FULL)
  assert config.task.proprio_size == FULL
  assert not robot_lib.check(directory, indices[directory], config.task)


def test_statistics_of_such_a_robot_are_those_of_32_numbers(tmp_path, monkeypatch, capsys):
  directory = write(tmp_path / 'brake')
  options = ('stats', directory, '--chunk=2', '--to', tmp_path / 'norm_stats.json')
  told, _, _ = command_line.data(monkeypatch, capsys, *options)
  assert told.endswith('give --state-size=14, or --state-size=32 if the robot has 32 numbers.')
  command_line.data(monkeypatch, capsys, *options, '--state-size=32')
  state = normalize.read(tmp_path / 'norm_stats.json')['state']
  assert state.mean.shape == (FULL,) and state.q99[-1] == 0 and state.std[:14].all()


def test_a_state_of_zeros_alone_is_refused(tmp_path):
  with pytest.raises(ValueError, match='all of them are 0 at every step: nothing was recorded'):
    settle(write(tmp_path / 'old', size=0))


def test_who_says_how_many_numbers_there_are_has_those_read(tmp_path):
  directory = write(tmp_path / 'old')
  config, indices = settle(directory, proprio_size=14)
  (told,) = robot_lib.check(directory, indices[directory], config.task)
  assert told.startswith(
    f'{directory}: the state has 32 numbers, of which those after the first 14'
  )
  assert told.endswith('the first 14 are read.')
  config.task.action_size = 7
  with pytest.raises(ValueError, match='action: found 14 numbers a step'):
    robot_lib.check(directory, indices[directory], config.task)


def test_a_slice_of_a_state_that_was_filled_up_is_the_robots(tmp_path):
  directory = write(tmp_path / 'old')
  indices = {directory: index.load(directory, {'state': 'observation/state[0:14]'})}
  config = robot.make_config(data__episodes=(str(directory),), task__proprio_size=0)
  robot_lib.settle(config, indices)
  assert config.task.proprio_size == 14


def test_numbers_beyond_those_given_are_not_left_out_where_they_move(tmp_path):
  directory = write(tmp_path / 'wide', last=0.5)
  with pytest.raises(ValueError, match='state: found 32 numbers a step, expected config.task.prop'):
    settle(directory, proprio_size=14)
  config, _ = settle(directory)
  assert config.task.proprio_size == 32


def test_a_state_wider_than_the_networks_take_is_refused_with_a_slice(tmp_path):
  directory = write(tmp_path / 'wide', width=44, last=1.0)
  with pytest.raises(ValueError, match=r"more than the 32 .*state='observation/state\[0:32\]'"):
    settle(directory)


@pytest.mark.parametrize(
  'task, message',
  [
    (
      {'proprio_size': 15},
      'state: found 14 numbers a step, expected config.task.proprio_size = 15',
    ),
    ({'action_size': 7}, 'action: found 14 numbers a step, expected config.task.action_size = 7'),
  ],
)
def test_what_is_given_is_held_against_the_data(task, message, tmp_path):
  directory = write(tmp_path / 'own', width=14)
  with pytest.raises(ValueError, match=f'{directory}: {message}'):
    settle(directory, **task)


def test_datasets_of_robots_of_different_widths_are_refused_naming_both(tmp_path):
  first, second = write(tmp_path / 'a', width=14), write(tmp_path / 'b', width=10, size=10)
  with pytest.raises(ValueError) as refused:
    settle(first, second)
  assert str(refused.value).startswith(
    f'{second}: state: found 10 numbers a step, expected 14 as in {first}; '
  )


def with_cameras(directory, *cameras):
  episode = robot.make_episode(0)
  images = {camera: episode.images[camera] for camera in cameras}
  return robot.write_episodes(directory, dataclasses.replace(episode, images=images))


def test_the_robots_cameras_are_those_that_any_dataset_has(tmp_path):
  first = with_cameras(tmp_path / 'a', 'right_wrist', 'head')
  second = with_cameras(tmp_path / 'b', 'head')
  config, _ = settle(first, second)
  assert config.task.cameras == ('head', 'right_wrist')
  config, _ = settle(first, second, cameras=('right_wrist',))
  assert config.task.cameras == ('right_wrist',)
  with pytest.raises(ValueError, match="no images of the camera 'left_wrist', which config.task"):
    settle(first, second, cameras=('head', 'left_wrist'))


# Checkpoints


@pytest.fixture(scope='module')
def old_run(tmp_path_factory):
  """A run of a robot of 14 numbers by a version that told 32."""
  workdir = tmp_path_factory.mktemp('old') / 'run'
  finished_runs.write(workdir, task__proprio_size=FULL)
  metadata = workdir / 'checkpoints' / '1' / 'meta' / 'metadata'
  meta = json.loads(metadata.read_text())
  state = robot.make_stats()['state']
  filled = {key: np.pad(values, (0, FULL - robot.SIZE)) for key, values in vars(state).items()}
  stats = robot.make_stats() | {'state': normalize.Stats(**filled)}
  metadata.write_text(json.dumps(meta | normalize.to_json(stats)))
  assert not padded_state.MARK.items() <= meta.items()
  (workdir / 'config.json').write_text(json.dumps(meta['config']))
  return workdir


def assert_refused(told, checkpoint):
  assert told.startswith(
    f'error: {checkpoint} was trained by an earlier version, which filled the 14 numbers of the '
    'state up to 32: π0.5 was told 18 zeros that the robot does not have'
  )
  assert 'Import the recordings again' in told and 'pi05_base' in told


@pytest.mark.parametrize(
  'command, options',
  [
    (train, ()),
    (evaluate, ('--config.sim.task=fold_laundry',)),
    (report, ()),
    (export, ('--to={}/exported',)),
  ],
)
def test_an_old_checkpoint_is_refused_by_every_command(command, options, old_run):
  with pytest.raises(SystemExit) as stopped:
    command.main([f'--workdir={old_run}', *(option.format(old_run) for option in options)])
  assert_refused(stopped.value.code, old_run / 'checkpoints' / '1')


def test_an_old_checkpoint_is_refused_as_a_start_and_as_a_library(old_run, tmp_path):
  checkpoint = old_run / 'checkpoints' / '1'
  directory = write(tmp_path / 'new', width=14)
  flags = robot.make_flags(data__episodes=(str(directory),), actor__checkpoint=checkpoint)
  with pytest.raises(SystemExit) as stopped:
    train.main([*flags, f'--workdir={tmp_path / "run"}'])
  assert_refused(stopped.value.code, checkpoint)
  with pytest.raises(ValueError, match='was told 18 zeros that the robot does not have'):
    aloe_jax.load(old_run)


def test_a_run_whose_state_is_as_wide_as_the_networks_goes_on(tmp_path):
  workdir = pathlib.Path(tmp_path / 'run')
  finished_runs.write(workdir, number=2, task__proprio_size=FULL)
  metadata = workdir / 'checkpoints' / '2' / 'meta' / 'metadata'
  stats = robot.make_stats() | {'state': robot.make_stats(FULL)['state']}
  meta = json.loads(metadata.read_text()) | normalize.to_json(stats)
  metadata.write_text(json.dumps(meta))
  assert aloe_jax.load(workdir).metadata.state_size == FULL


def test_a_checkpoint_of_a_robot_whose_last_number_is_never_used_is_none_of_those(tmp_path):
  zeros = {'mean': [1.0, *[0.0] * 31], 'std': [1.0, *[0.0] * 31]}
  meta = {
    'config': {'task': {'proprio_size': FULL}, 'sim': {'task': ''}},
    'norm_stats': {'state': zeros},
  }
  padded_state.check(tmp_path, meta | padded_state.MARK)
  with pytest.raises(ValueError, match='filled the 1 numbers of the state up to 32'):
    padded_state.check(tmp_path, meta)
