"""The steps per second of recordings are kept, shown, compared and held against the config."""

import dataclasses

import command_line
import lerobot_timed
import numpy as np
import pytest
import robot

from aloe_jax.data import index as index_lib
from aloe_jax.data import rates
from aloe_jax.data import rlds
from aloe_jax.data import schema
from aloe_jax.data import tfds_directory
from aloe_jax.run import indices as indices_lib
from aloe_jax.run import rate as rate_lib


def write(directory, *told):
  """A dataset with an episode for each of the metadata."""
  episodes = [
    dataclasses.replace(robot.make_episode(number), metadata=metadata)
    for number, metadata in enumerate(told)
  ]
  rlds.write(directory, episodes, name='x')
  return str(directory)


def config_of(*directories, **changes):
  config = robot.make_config(data__episodes=directories, task__control_hz=0.0, **changes)
  return config, indices_lib.open_given(config)


def settled(*directories, **changes):
  config, indices = config_of(*directories, **changes)
  rate_lib.settle(config, indices)
  return config.task.control_hz


def refusal(*directories, **changes):
  config, indices = config_of(*directories, **changes)
  with pytest.raises(ValueError) as refused:
    rate_lib.settle(config, indices)
  return str(refused.value)


@pytest.mark.parametrize(
  'metadata, expected',
  [
    ({'fps': 29.969999313354492}, 29.97),
    ({'control_frequency': 15}, 15),
    ({'fps': 60.0, 'control_hz': 10.0}, 10),
    ({'hz': 0.0, 'frequency': 5.0}, 5),
    ({'fps': '15'}, 15),
    ({'fps': True, 'hz': 'fast'}, None),
    ({'fps': float('inf')}, None),
    ({'file_path': 'a'}, None),
  ],
)
def test_an_episode_tells_its_rate_by_names_in_use(metadata, expected):
  assert rates.recorded(metadata) == expected


@pytest.mark.parametrize(
  'metadata, told',
  [
    ({'fps': 0.0}, 'fps = 0.0'),
    ({'control_hz': -1, 'fps': 'fast'}, 'control_hz = -1, fps = fast'),
    ({'fps': float('nan')}, 'fps = nan'),
    ({'fps': float('nan'), 'hz': 5}, ''),
    ({'fps': ''}, ''),
    ({'file_path': 'a'}, ''),
  ],
)
def test_what_is_told_instead_of_a_rate_is_known(metadata, told):
  assert rates.unusable(metadata) == told


def test_a_rate_of_a_list_of_one_or_of_a_text_is_one(tmp_path):
  leaves = {
    'listed': schema.Leaf('tensor', 'float32', (1,), 'none', per_step=False),
    'text': schema.Leaf('text', 'string', (), 'none', per_step=False),
  }
  for name, value in (('listed', np.float32([15])), ('text', [b'15'])):
    numbers = np.arange(6, dtype=np.float32).reshape(3, 2)
    of_steps = schema.Leaf('tensor', 'float32', (2,), 'none', per_step=True)
    fields = {'steps/action': of_steps, 'steps/observation/state': of_steps}
    example = dict.fromkeys(fields, numbers) | {'episode_metadata/fps': value}
    fields |= {'episode_metadata/fps': leaves[name]}
    tfds_directory.write(tmp_path / name, [example], name='x', fields=fields)
    assert index_lib.load(tmp_path / name, {}).rates == (15,)


def test_what_is_told_instead_of_a_rate_is_said(tmp_path, monkeypatch, capsys):
  a = write(tmp_path / 'a', {'fps': 15.0}, {'fps': 0.0}, {'fps': 0.0})
  _, printed, _ = command_line.data(monkeypatch, capsys, 'inspect', a)
  assert '15 (1), fps = 0.0, which is none (2)' in printed
  _, printed, _ = command_line.data(monkeypatch, capsys, 'validate', a)
  assert 'Note: Found as steps a second, and no number above 0: fps = 0.0 (2 episodes).' in printed
  assert settled(a) == 15
  assert f'(from the data; {a}: fps = 0.0, which is none)' in capsys.readouterr().out


def test_an_index_knows_the_distinct_rates_of_its_episodes(tmp_path):
  write(tmp_path / 'a', {'fps': 30.0}, {'fps': 15.0}, {'fps': 30.0})
  assert index_lib.load(tmp_path / 'a', {}).rates == (15, 30)
  write(tmp_path / 'b', {'operator': 'A'})
  assert index_lib.load(tmp_path / 'b', {}).rates == ()


def test_the_rate_of_an_import_is_kept_and_shown(tmp_path, monkeypatch, capsys):
  lerobot_timed.write(tmp_path / 'in', [lerobot_timed.episode(range(4))])
  arguments = ('import', tmp_path / 'in', '--from=lerobot', '--to', tmp_path / 'out', '--name=x')
  assert command_line.data(monkeypatch, capsys, *arguments)[0] == 0
  assert index_lib.load(tmp_path / 'out', {}).rates == (10,)
  for command in ('inspect', 'validate'):
    _, printed, _ = command_line.data(monkeypatch, capsys, command, tmp_path / 'out')
    (line,) = (line for line in printed.splitlines() if 'steps a second (episodes)' in line)
    assert '10 (1)' in line
  write(tmp_path / 'mixed', {'fps': 30.0}, {'fps': 15.0})
  _, printed, _ = command_line.data(monkeypatch, capsys, 'validate', tmp_path / 'mixed')
  assert 'Note: Episodes of different rates: 1 at 30 steps a second, 1 at 15' in printed


def test_the_rate_comes_from_the_data_and_is_said(tmp_path, capsys):
  a = write(tmp_path / 'a', {'fps': 15.0})
  b = write(tmp_path / 'b', {'control_hz': 15.0})
  c = write(tmp_path / 'c', {'operator': 'A'})
  assert settled(a, b) == 15
  assert 'Robot: 15 steps a second (from the data)' in capsys.readouterr().out
  assert settled(a, c) == 15
  assert f'(from the data; not told by {c})' in capsys.readouterr().out
  assert settled(c) == 30
  assert 'Robot: 30 steps a second (no dataset tells; config.' in capsys.readouterr().out
  assert settled(write(tmp_path / 'd', {'fps': 29.97}), write(tmp_path / 'e', {'fps': 30.0})) > 29.9


def test_different_rates_are_refused_unless_they_are_to_be_mixed(tmp_path, capsys):
  a = write(tmp_path / 'a', {'fps': 15.0})
  b = write(tmp_path / 'b', {'fps': 30.0}, {'fps': 30.0})
  found = refusal(a, b)
  assert f'{a}: 15 steps a second\n{b}: 30 steps a second' in found
  assert '--config.data.rates=any' in found
  assert settled(a, b, data__rates='any') == 30  # of most steps
  printed = capsys.readouterr().out
  assert f'different rates: {a}: 15 steps a second; {b}: 30 steps a second' in printed
  within = write(tmp_path / 'c', {'fps': 15.0}, {'fps': 30.0})
  assert f'{within}: 15, 30 steps a second' in refusal(within)


def test_a_rate_that_is_given_is_held_against_every_dataset(tmp_path):
  a = write(tmp_path / 'a', {'fps': 15.0})
  config, indices = config_of(a)
  config.task.control_hz = 30.0
  with pytest.raises(ValueError) as refused:
    rate_lib.settle(config, indices)
  assert str(refused.value).startswith(
    f'{a}: found 15 steps a second, expected config.task.control_hz = 30; '
  )
  config.data.rates = 'any'
  rate_lib.settle(config, indices)
  assert config.task.control_hz == 30
  config, indices = config_of(write(tmp_path / 'b', {'operator': 'A'}))
  config.task.control_hz = 12.0
  rate_lib.settle(config, indices)
  assert config.task.control_hz == 12
