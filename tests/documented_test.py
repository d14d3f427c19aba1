"""What the README and docs/ tell a reader to type exists: commands, options, pages, Python."""

import re
import subprocess
import sys

import command_line
import documented
import pytest

from aloe_jax import config as config_lib
from aloe_jax.agents import agent
from aloe_jax.data import __main__ as data_command

README = (documented.ROOT / 'README.md').read_text(encoding='utf-8')
COMMANDS = documented.documented()


def configs():
  """{--workdir: --config} of the runs that the pages start."""
  found = {}
  for _, command in COMMANDS:
    _, words = documented.split(command)
    options = dict(word.split('=', 1) for word in words if word.startswith(('--config=', '--work')))
    if '--config' in options:
      found[options['--workdir']] = options['--config']
  return found


def modules():
  """The commands that read a config, by what is run."""
  found = {}
  for where, command in COMMANDS:
    _, words = documented.split(command)
    name = words[2]
    if name not in ('aloe_jax.data', 'benchmarks.data'):
      found.setdefault(name, []).append((where, words[3:]))
  return found


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


@pytest.mark.parametrize('name', modules())
def test_options_that_are_told_exist_and_parse(name, tmp_path):
  """Parsed by the command itself, in a process of its own, which stops there."""
  documented.bring(tmp_path)
  argvs = [
    [name, *documented.small(words), '--only_check_args']
    if any(word.startswith('--config=') for word in words)
    else [name, f'--config={configs()[workdir(words)]}', *words, '--only_check_args']
    for _, words in modules()[name]
  ]
  program = f"""
import os, runpy, sys
import {name}
for argv in {argvs!r}:
  child = os.fork()
  if child == 0:
    sys.argv = argv
    {name}.config_lib.run({name}.main)
    os._exit(3)
  status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  if status:
    sys.exit(f'{{argv}}: status {{status}}')
"""
  done = subprocess.run(
    [sys.executable, '-W', 'ignore', '-c', program],
    cwd=tmp_path,
    env=documented.environment(),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr


def workdir(words):
  return next(word.split('=', 1)[1] for word in words if word.startswith('--workdir='))


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
    assert config.task.action_size == sum(abs(run) for run in config.task.delta)


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
  assert len(README.splitlines()) <= 165
