"""What a team can get wrong about checkpoint, episodes and statistics: one message, no traces."""

import dataclasses
import os
import pathlib
import shutil

import command_line
import numpy as np
import pytest
import robot

from aloe_jax import train
from aloe_jax.data import rlds
from aloe_jax.preprocessing import normalize

pytestmark = pytest.mark.usefixtures('quick_compilation')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Where episodes and a checkpoint lie that a run could start with."""
  path = tmp_path_factory.mktemp('given')
  robot.write_episodes(path / 'episodes')
  robot.write_checkpoint(path / 'pi05')
  return path


@pytest.fixture
def refusal(place, tmp_path, capfd):
  """Starts `train` in this process on what is given, else on what would do; what it is told."""

  def start(episodes=None, checkpoint=None, **changes):
    given = dict(
      data__episodes=(str(episodes or place / 'episodes'),),
      actor__checkpoint=str(checkpoint or place / 'pi05'),
    )
    workdir = tmp_path / 'run'
    with pytest.raises(SystemExit) as stopped:
      train.main([*robot.make_flags(**given, **changes), f'--workdir={workdir}'])
    assert not workdir.exists()
    printed, errors = capfd.readouterr()
    assert errors == ''
    assert all(line.startswith(('Encode', 'Robot: ')) for line in printed.splitlines()), printed
    return stopped.value.code

  return start


def command(place, tmp_path, **changes):
  """`refusal` in a process of its own."""
  given = dict(data__episodes=(str(place / 'episodes'),), actor__checkpoint=place / 'pi05')
  result = command_line.run(
    'train', *robot.make_flags(**given | changes), f'--workdir={tmp_path / "run"}'
  )
  assert not (tmp_path / 'run').exists()
  return result


def with_nan(index, step):
  """An episode with a number that is none, written past the check that would refuse it."""
  episode = robot.make_episode(index)
  episode.state[step, 3] = np.nan
  return episode


def test_a_checkpoint_that_was_cut_short_is_told_to_be_copied_again(place, tmp_path):
  checkpoint = pathlib.Path(shutil.copytree(place / 'pi05', tmp_path / 'pi05'))
  largest = max((checkpoint / 'params').rglob('d/*'), key=lambda file: file.stat().st_size)
  os.truncate(largest, largest.stat().st_size // 2)
  result = command(place, tmp_path, actor__checkpoint=checkpoint)
  command_line.assert_refused(
    result, f'{checkpoint}/params was cut short or is damaged; copy it again. '
  )
  assert len(result[2].strip().splitlines()) == 1


def test_a_prompt_that_no_state_leaves_room_for_is_refused_before_an_image_is_read(place, tmp_path):
  result = command(place, tmp_path, actor__prompt_length=20)
  assert 'Encode' not in result[1]
  command_line.assert_refused(
    result,
    "the prompt 'Fold the t-shirt' has 21 tokens, more than the 20 that "
    'config.actor.prompt_length allows',
  )


def test_a_state_that_is_no_number_is_named_by_episode_and_step(refusal, tmp_path):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(rlds, '_check', lambda episode, where: None)
    episodes = robot.write_episodes(tmp_path / 'nan', robot.make_episode(0), with_nan(1, step=5))
  told = refusal(episodes=episodes)
  assert told.startswith(f'error: {episodes}/')
  assert 'record 1, episode 1, step 5: steps/observation/state: found NaN or infinity' in told


def test_a_prompt_of_the_episodes_that_is_too_long_is_refused_before_training(refusal, tmp_path):
  prompt = 'fold ' * 60
  episodes = robot.write_episodes(
    tmp_path / 'long', robot.make_episode(0), robot.make_episode(1, prompt=prompt)
  )
  shown = f'{prompt[:100]}…'
  assert refusal(episodes=episodes).startswith(f'error: the prompt {shown!r} has 77 tokens, more')


def test_a_leaf_of_another_shape_is_named_with_both_shapes(refusal, tmp_path):
  params = robot.make_params(robot.make_config())
  params['action_in_proj']['kernel'] = np.zeros((32, 40), np.float32)
  checkpoint = robot.write_checkpoint(tmp_path / 'pi05', params)
  told = refusal(checkpoint=checkpoint).splitlines()
  assert told[0] == f'error: {checkpoint}: these parameters do not fit the model (1):'
  assert told[1] == '  action_in_proj/kernel: found [32, 40], expected [32, 48]'


def test_episodes_without_a_camera_name_it(refusal, tmp_path):
  episode = robot.make_episode(0)
  images = {camera: x for camera, x in episode.images.items() if camera != 'left_wrist'}
  episodes = robot.write_episodes(tmp_path / 'one', dataclasses.replace(episode, images=images))
  told = refusal(episodes=episodes, task__cameras=('head', 'left_wrist'))
  assert told.startswith(
    f"error: {episodes}: there are no images of the camera 'left_wrist', which config.task.cameras "
    'names; found head, right_wrist. Name its field with config.data.mapping.left_wrist, or leave'
  )


def test_a_robot_without_that_camera_needs_not_say_so(refusal, tmp_path):
  episode = robot.make_episode(0)
  images = {camera: x for camera, x in episode.images.items() if camera != 'left_wrist'}
  episodes = robot.write_episodes(tmp_path / 'one', dataclasses.replace(episode, images=images))
  told = refusal(episodes=episodes, task__chunk=13, task__execute=1)
  assert told.startswith('error: the longest of 1 fragments has 12 steps, but a chunk has 13')


def test_statistics_of_another_robot_name_both_sizes(refusal, tmp_path):
  checkpoint = robot.write_checkpoint(tmp_path / 'pi05', stats=robot.make_stats(7))
  assert refusal(checkpoint=checkpoint).startswith(
    "error: the statistics of 'state' are of 7 numbers, expected config.task.proprio_size = 14; "
    'give those of this robot with config.data.norm_stats'
  )


def test_statistics_without_quantiles_are_refused(refusal, tmp_path):
  stats = {key: normalize.Stats(x.mean, x.std) for key, x in robot.make_stats().items()}
  checkpoint = robot.write_checkpoint(tmp_path / 'pi05', stats=stats)
  assert "the statistics of 'state' have no q01 and q99" in refusal(checkpoint=checkpoint)


def test_a_missing_tokenizer_is_told_where_to_be_had(refusal):
  told = refusal(actor__tokenizer='nowhere/paligemma.model')
  assert told.startswith('error: nowhere/paligemma.model: no such file (config.actor.tokenizer)')
  assert 'https://storage.googleapis.com/big_vision/paligemma_tokenizer.model' in told


def test_a_checkpoint_of_pi0_is_no_pi05(refusal, tmp_path):
  params = robot.make_params(robot.make_config())
  params['state_proj'] = {'kernel': np.zeros((32, 48), np.float32)}
  checkpoint = robot.write_checkpoint(tmp_path / 'pi0', params)
  assert refusal(checkpoint=checkpoint) == (
    f'error: {checkpoint} is a π0 checkpoint, expected π0.5: π0.5 has no state_proj/kernel.'
  )


def test_a_number_that_hardly_moves_is_warned_of_once_in_a_plain_line(place, tmp_path):
  stats = robot.make_stats()
  stats['actions'] = normalize.Stats(*(x * np.arange(14) for x in vars(stats['actions']).values()))
  checkpoint = robot.write_checkpoint(tmp_path / 'pi05', stats=stats)
  episode = robot.make_episode(0)
  episode.action[:, 0] = 0
  result = command(
    place,
    tmp_path,
    data__episodes=(str(robot.write_episodes(tmp_path / 'still', episode)),),
    actor__checkpoint=checkpoint,
    task__chunk=13,
    task__execute=1,
    task__delta=(),
  )
  warning, error = result[2].splitlines()
  assert warning == (
    "WARNING: 'actions' hardly moves in dimensions [0] (q99 - q01 near zero); they are scaled as "
    'if it were 1.'
  )
  assert error.startswith('error: the longest of 1 fragments has 12 steps, but a chunk has 13')
