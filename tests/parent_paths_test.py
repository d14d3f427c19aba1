"""Paths with `..` lead where the system says, for runs, checkpoints and exports alike."""

import os
import pathlib

import finished_runs
import jax
import numpy as np
import pytest
import robot

import aloe_jax
from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import export
from aloe_jax import files
from aloe_jax.pretrained import openpi
from aloe_jax.run import checkpoints
from aloe_jax.run import starting_point


@pytest.fixture
def below(tmp_path, monkeypatch):
  """A directory to work in, beside `run`, that of a finished run."""
  (tmp_path / 'below').mkdir()
  monkeypatch.chdir(tmp_path / 'below')
  return tmp_path


@pytest.mark.parametrize(
  'path, expected',
  [
    ('run', 'run'),
    ('', ''),
    ('gs://bucket/a/../b', 'gs://bucket/a/../b'),
    ('a..b/c', 'a..b/c'),
    ('../run', '{}/run'),
    ('link/../run', '{}/far/run'),
    ('../none/../run/link', '{}/run/link'),
    ('../below/link', '{}/below/link'),
    ('..', '{}'),
  ],
)
def test_parents_are_followed_as_the_system_does_and_other_paths_stay(path, expected, below):
  (below / 'far' / 'place').mkdir(parents=True)
  (below / 'below' / 'link').symlink_to(below / 'far' / 'place')
  expected = expected.format(below)
  assert files.expanded(path) == expected
  assert files.expanded((path,)) == (expected,)
  if not files.is_url(path):
    assert files.absolute(path) == pathlib.Path(os.path.abspath(expected))


def test_the_home_may_be_left_by_its_parent(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  assert files.expanded('~/../run') == str(tmp_path / 'run')


def test_a_run_is_loaded_read_and_exported_through_a_parent(below):
  built = finished_runs.write(below / 'run', iterations=1)
  config_lib.keep(built.config, below / 'run' / 'config.json')
  policy = aloe_jax.load('../run', tokenizer='words')
  assert policy.metadata.path == str(below / 'run' / 'checkpoints' / '1')
  path = pathlib.Path('../run/checkpoints/1')
  checkpoints.check(path, built.architecture())
  state = checkpoints.restore(path, built.abstract_state(), built.architecture())
  start = starting_point.find(str(path))
  starting_point.check(start, built)
  export.main(['--workdir=../run', '--to=../exported'])
  read = openpi.restore(pathlib.Path('../exported'), built.abstract_state().actor['params'])
  jax.tree.map(np.testing.assert_array_equal, read, state.actor_ema['params'])
  starting_point.check(starting_point.find('../exported'), built)


def test_a_checkpoint_is_saved_through_a_parent(below):
  finished_runs.write(pathlib.Path('../new'))
  assert checkpoints.Checkpoints(below / 'new' / 'checkpoints').latest() == 1


def test_a_command_line_and_its_config_name_the_place(below):
  parser = command_line.parser('aloe_jax.train', '')
  given = command_line.parse(parser, ['--workdir=../run'])
  assert given.workdir == below / 'run'
  config = robot.make_config()
  command_line.override(
    config,
    ["--config.data.episodes=('../table','here')", '--config.actor.checkpoint=../pi05'],
  )
  assert config.data.episodes == (str(below / 'table'), 'here')
  assert config.actor.checkpoint == str(below / 'pi05')
