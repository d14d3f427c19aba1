"""A config.json that somebody edited: what was learnt tells what it was."""

import json

import finished_runs
import pytest

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax.run import appended
from aloe_jax.run import kept
from aloe_jax.run import unfinished


@pytest.fixture
def workdir(tmp_path):
  """A run with a checkpoint of its warm start and one of its critic."""
  for number in (0, 1):
    built = finished_runs.write(tmp_path, number)
  config_lib.keep(built.config, tmp_path / 'config.json')
  return tmp_path


def edit(workdir, section, field, value):
  path = workdir / 'config.json'
  tree = json.loads(path.read_text())
  place = tree[section] if section else tree
  before, place[field] = place[field], value
  path.write_text(json.dumps(tree))
  return before


def read(workdir, command='train', *arguments):
  parser = command_line.parser(f'aloe_jax.{command}', '')
  if command == 'train':
    appended.add_options(parser)
  given = command_line.parse(parser, [f'--workdir={workdir}', *arguments])
  return config_lib.flat(kept.config(given, command))


def refusal(*arguments):
  with pytest.raises(SystemExit) as stopped:
    read(*arguments)
  return stopped.value.code


@pytest.mark.parametrize('command', ['train', 'evaluate', 'report', 'export'])
def test_what_no_command_may_change_is_refused_with_what_the_checkpoint_has(workdir, command):
  edit(workdir, '', 'discount', 0.9)
  polyak = edit(workdir, 'critic', 'polyak', 0.7)
  told = refusal(workdir, command)
  lines = told.splitlines()
  assert lines[0] == (
    f'error: {workdir}/config.json is not as the run wrote it, by what {workdir}/checkpoints/1 was '
    'learnt with:'
  )
  assert lines[1:3] == [
    f'  critic.polyak: found 0.7, expected {polyak}',
    '  discount: found 0.9, expected 0.99',
  ]
  assert 'put back the file, or write what is expected into it.' in lines[3]
  edit(workdir, '', 'discount', 0.99)
  edit(workdir, 'critic', 'polyak', polyak)
  read(workdir, command)


def test_what_nothing_has_learnt_by_yet_counts_and_is_said(workdir, capsys):
  edit(workdir, 'actor', 'beta', 7.0)
  assert read(workdir)['actor.beta'] == 7.0
  said = ' '.join(capsys.readouterr().out.split())
  assert f'actor.beta = 7.0 from here on; {workdir}/checkpoints/1 was learnt with 0.0.' in said


def test_what_a_command_may_change_counts_and_is_said(workdir, capsys):
  before = edit(workdir, 'actor', 'lr', 0.5)
  assert read(workdir)['actor.lr'] == 0.5
  said = ' '.join(capsys.readouterr().out.split())
  assert f'actor.lr = 0.5 from here on; {workdir}/checkpoints/1 was learnt with {before}' in said
  read(workdir, 'evaluate')
  assert 'from here on' not in capsys.readouterr().out


def test_what_is_learnt_again_may_differ_once_that_was_asked_for(workdir):
  polyak = edit(workdir, 'critic', 'polyak', 0.7)
  assert f'critic.polyak: found 0.7, expected {polyak}' in refusal(workdir)
  (workdir / 'appended.json').write_text(
    json.dumps([{'iteration': 2, 'asked': 'redo=actor', 'of': 1, 'begins': 1, 'bank': 1}])
  )
  assert read(workdir)['critic.polyak'] == 0.7


def test_a_save_inside_a_phase_tells_where_there_is_no_checkpoint_yet(tmp_path):
  built = finished_runs.write(tmp_path, 0)
  config_lib.keep(built.config, tmp_path / 'config.json')
  meta = json.loads((tmp_path / 'checkpoints/0/meta/metadata').read_text())
  meta |= {'after': None, 'step': 4, 'done': 4, 'updates': 9}
  save = tmp_path / unfinished.DIRECTORY / '0-4'
  (save / 'meta').mkdir(parents=True)
  (save / 'meta' / 'metadata').write_text(json.dumps(meta))
  (tmp_path / 'checkpoints').rename(tmp_path / 'elsewhere')
  edit(tmp_path, '', 'discount', 0.9)
  assert f'by what {save} was learnt with:' in refusal(tmp_path)
  (save / 'meta' / 'metadata').unlink()  # nothing tells, and nothing was learnt
  assert read(tmp_path)['discount'] == 0.9
