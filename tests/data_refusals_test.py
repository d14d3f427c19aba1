"""What the data commands say of states and files that cannot be read as they are."""

import pathlib

import command_line
import lerobot_timed
import numpy as np
import pytest
import robot

from aloe_jax import files
from aloe_jax.data import index
from aloe_jax.data.importers import lerobot
from aloe_jax.data.importers import settings as settings_lib


def write(directory, width=robot.SIZE):
  state = np.random.default_rng(0).normal(size=(robot.LENGTH, width)).astype(np.float32)
  return robot.write_episodes(directory, robot.make_episode(0, state=state))


def test_a_state_of_more_than_32_numbers_is_told_with_a_slice(tmp_path, monkeypatch, capsys):
  directory = write(tmp_path / 'wide', 44)
  options = ('stats', directory, '--chunk=2', '--to', tmp_path / 'n.json')
  told, _, _ = command_line.data(monkeypatch, capsys, *options)
  assert f'{directory}: state: found 44 numbers a step, more than the 32 that training' in told
  assert "--mapping.state='observation/state[0:32]'" in told
  sliced = '--mapping.state=observation/state[0:32]'
  assert command_line.data(monkeypatch, capsys, *options, sliced)[0] == 0
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', directory)
  assert status == 0
  assert 'Note: The state has 44 numbers, of which training takes at most 32: choose' in printed
  _, printed, _ = command_line.data(monkeypatch, capsys, 'validate', directory, sliced)
  assert 'of which training takes' not in printed


def test_a_directory_in_place_of_a_shard_is_one_message(tmp_path, monkeypatch, capsys):
  directory = write(tmp_path / 'data')
  (shard,) = directory.glob('*.tfrecord*')
  shard.unlink()
  shard.mkdir()
  message = f'{shard}: found a directory, expected a file; copy it again from its source.'
  with pytest.raises(ValueError) as refused:
    index.load(directory, {})
  assert str(refused.value).startswith(message)
  status, printed, _ = command_line.data(monkeypatch, capsys, 'validate', directory)
  assert status == 1
  assert f'Wrong: {message}' in printed
  status, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', directory)
  assert status == 0
  assert 'Wrong: 1 episodes or files' in printed


@pytest.mark.parametrize('address', ['file://{}', 'file:{}', 'file://localhost{}', 'FILE://{}'])
def test_an_address_of_a_file_is_a_place_here(address, tmp_path, monkeypatch, capsys):
  directory = write(tmp_path / 'a b')
  url = address.format(str(directory).replace(' ', '%20'))
  assert not files.is_url(url)
  assert files.expanded((url,)) == (str(directory),)
  assert files.expanded(pathlib.Path(url)) == directory
  assert command_line.data(monkeypatch, capsys, 'inspect', url)[0] == 0
  assert len(index.load(url, {})) == robot.LENGTH


def test_a_bad_done_names_the_option_that_leaves_it_out(tmp_path):
  one = lerobot_timed.episode(range(4), **{'next.done': [0.0, 0.5, 0.0, 1.0]})
  lerobot_timed.write(tmp_path / 'in', [one], kind=None)
  with pytest.raises(ValueError, match=r'step 1: next.done: found 0.5, .*--success=none\.$'):
    list(lerobot.Dataset(tmp_path / 'in', settings_lib.Settings()))
  found = list(lerobot.Dataset(tmp_path / 'in', settings_lib.Settings(success='')))
  assert len(found) == 1
