"""What a robot is, said at the start: what its actions are relative to, its prompts and cameras."""

import pathlib

import pytest
import robot
import robot_facts_test

from aloe_jax import command_line
from aloe_jax.run import kept

EXPERIMENTS = pathlib.Path(__file__).parents[1] / 'experiments'


@pytest.mark.parametrize(
  'delta, expected',
  [
    ((6, -1), ' (0-5 relative, 6-13 absolute, as config.task.delta is (6, -1))'),
    ((-1, 1, 2), ' (0 absolute, 1-3 relative, 4-13 absolute, as config.task.delta is (-1, 1, 2))'),
    ((6, -1, 6, -1), ''),
    ((), ''),
  ],
)
def test_a_delta_that_does_not_reach_all_numbers_is_said(delta, expected, tmp_path, capsys):
  robot_facts_test.settle(robot.write_episodes(tmp_path / 'own'), delta=delta)
  assert f'14 of action{expected}, cameras' in capsys.readouterr().out


def test_prompts_that_are_all_empty_are_said_with_the_field(tmp_path, capsys):
  robot_facts_test.settle(robot.write_episodes(tmp_path / 'a', robot.make_episode(0, prompt='')))
  assert '--config.data.mapping.prompt' in capsys.readouterr().out


def test_a_dataset_without_any_camera_is_refused_before_its_statistics(tmp_path):
  directory = robot.write_episodes(tmp_path / 'a', robot.make_episode(0, images={}))
  with pytest.raises(ValueError, match=f'{directory}: there are no images of any camera'):
    robot_facts_test.settle(directory)


@pytest.mark.parametrize('second', ['a', './a', 'link', 'b/../a'])
def test_a_dataset_that_is_given_twice_is_refused(second, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a').mkdir()
  (tmp_path / 'link').symlink_to(tmp_path / 'a')
  file, *flags = robot.make_flags(data__episodes=('a', second))
  flags += [file.replace('experiments', str(EXPERIMENTS)), f'--workdir={tmp_path / "run"}']
  with pytest.raises(SystemExit) as stopped:
    kept.config(command_line.parse(command_line.parser('aloe_jax.train', ''), flags), 'train')
  assert 'twice' in stopped.value.code
