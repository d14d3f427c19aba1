"""What the README and docs/ tell a reader to type exists: commands, options, pages, Python."""

import dataclasses
import importlib
import re
import sys

import command_line
import documented
import pytest

from aloe_jax import command_line as command_line_lib
from aloe_jax import config as config_lib
from aloe_jax import serve
from aloe_jax.agents import agent
from aloe_jax.data import __main__ as data_command
from aloe_jax.serving import loading
from aloe_jax.serving import robots

README = (documented.ROOT / 'README.md').read_text(encoding='utf-8')
COMMANDS = documented.documented()


def test_every_page_with_a_block_is_in_the_list():
  pages = [documented.ROOT / name for name in ('README.md', 'CONTRIBUTING.md')]
  pages += (documented.ROOT / 'docs').glob('*.md')
  names = {str(page.relative_to(documented.ROOT)) for page in pages}
  assert names <= set(documented.PAGES)


def test_every_command_is_one_of_ours_or_is_listed_with_the_reason_why_it_is_not_run():
  for where, command in COMMANDS:
    _, words = documented.split(command)
    assert words[:2] == ['python', '-m'], f'{where}: {command}: run it, or add it to NOT_RUN'
    assert re.match(r'aloe_jax\.|benchmarks\.', words[2]), f'{where}: {command}'


def test_no_reason_is_left_over():
  everything = [
    command
    for page in documented.PAGES
    for block in documented.blocks(page, 'sh')
    for command in documented.commands(block)
  ]
  for begins in documented.NOT_RUN:
    assert any(command.startswith(begins) for command in everything), begins


class Parsed(Exception):
  """A command has read its command line, and was about to begin."""


def test_options_that_are_told_exist_and_parse(monkeypatch, tmp_path):
  """Each command reads its own command line, and stops there."""
  documented.bring(tmp_path)
  monkeypatch.chdir(tmp_path)
  parse = command_line_lib.parse
  files = {}  # of the runs, by their --workdir

  def parse_and_stop(*arguments, **more):
    given = parse(*arguments, **more)
    file = files.setdefault(given.workdir, given.file)
    command_line_lib.config(dataclasses.replace(given, file=given.file or file))
    raise Parsed

  monkeypatch.setattr(command_line_lib, 'parse', parse_and_stop)
  for where, command in COMMANDS:
    _, words = documented.split(command)
    if words[2] not in ('aloe_jax.data', 'benchmarks.data'):
      monkeypatch.setattr(sys, 'argv', documented.small(words)[2:])
      try:
        importlib.import_module(words[2]).main()
      except Parsed:
        continue
      pytest.fail(f'{where}: {command} did not read a command line')


def test_options_of_the_server_exist_and_parse():
  told = [
    command
    for page in documented.PAGES
    for block in documented.blocks(page, 'sh')
    for command in documented.commands(block)
    if command.startswith('python -m aloe_jax.serve')
  ]
  assert len(told) > 2
  for command in told:
    _, words = documented.split(command)
    given = command_line_lib.parse(serve._parser(), words[3:], instead=lambda read: 'somewhere')
    if given.options.checkpoint:
      config = loading.openpi_config(robots.find(given.options.robot))
      command_line_lib.override(config, given.overrides)


def test_options_of_the_data_command_exist_and_parse(monkeypatch):
  for _, command in COMMANDS:
    _, words = documented.split(command)
    if words[2] == 'aloe_jax.data':
      assert data_command._parser().parse_args(words[3:]).run


def test_recordings_are_imported_and_looked_at_as_told(monkeypatch, capsys, tmp_path):
  """The other commands take minutes; `python tests/documented.py` runs them."""
  documented.bring_recordings(tmp_path)
  monkeypatch.chdir(tmp_path)
  for where, command in COMMANDS:
    if command.startswith('python -m aloe_jax.data '):
      words = documented.small(documented.split(command)[1])
      status, printed, errors = command_line.data(monkeypatch, capsys, *words[3:])
      assert not status, f'{where}: {command}: {status}\n{printed}{errors}'
  assert (tmp_path / 'frames.png').exists()
  assert (tmp_path / 'norm_stats.json').exists()


def test_the_robot_of_the_page_is_an_experiment():
  (block,) = documented.blocks('docs/adding_a_robot.md', 'python')
  names = {}
  exec(block.text, names)
  for variant in ('', 'pi05_small'):
    config = names['get_config'](variant)
    config_lib.validate(config)
    assert sum(abs(run) for run in config.task.delta) == 7  # as the page says of the arm


def test_the_algorithm_of_the_page_is_one():
  (block,) = documented.blocks('docs/adding_an_algorithm.md', 'python')
  names = {}
  exec(block.text, names)
  assert isinstance(names['AGENT'], agent.Agent)


def test_the_readme_begins_with_the_first_run_and_the_tests_and_fits_a_screen():
  first, second, *_ = documented.blocks('README.md', 'sh')
  assert '--config=experiments/laundry.py:sim --workdir=runs/laundry' in first.text
  assert 'python -m pytest tests -q -n 2 --dist loadfile' in second.text
  assert max(len(line) for line in README.splitlines()) <= 120
  assert len(README.splitlines()) <= 170
