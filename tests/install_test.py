"""What is installed is what is imported, and what is tested is what may be installed."""

import ast
import importlib.metadata
import pathlib
import runpy
import sys
import tomllib
from unittest import mock

from packaging import requirements
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def pins(name):
  """{package: version} of a file of constraints."""
  lines = (ROOT / name).read_text().splitlines()
  return dict(line.split('==') for line in lines if not line.startswith('#'))


OTHERS = dict.fromkeys(('metaworld', 'gym-aloha'), 'constraints_mujoco3.txt')  # of an older MuJoCo
UNPINNED = {'cuda', 'tpu', 'wandb'}  # extras that the tests do without
COMMANDS = {'tensorboard'}  # run by name, imported by nothing


@pytest.fixture(scope='module')
def setup():
  """The keywords that setup.py hands to setuptools."""
  with mock.patch('setuptools.setup') as call:
    runpy.run_path(str(ROOT / 'setup.py'))
  return call.call_args.kwargs


def named(lines):
  return {requirements.Requirement(line).name.lower() for line in lines}


def imported():
  """Top-level names that the package imports, anywhere in a file, without Python's own."""
  found = set()
  for path in (ROOT / 'aloe_jax').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        found |= {alias.name.split('.')[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        found.add(node.module.split('.')[0])
  return found - set(sys.stdlib_module_names) - {'aloe_client', 'aloe_jax', 'experiments'}


def distributions(module):
  """Names under which a module may be installed."""
  known = importlib.metadata.packages_distributions().get(module, [module])
  return {name.lower().replace('_', '-') for name in known}


def test_everything_that_is_imported_is_installed_or_an_extra(setup):
  extras = {name: lines for name, lines in setup['extras_require'].items() if name != 'test'}
  allowed = named(setup['install_requires']).union(*(named(lines) for lines in extras.values()))
  missing = {module for module in imported() if not distributions(module) & allowed}
  assert not missing


def test_nothing_is_installed_that_is_not_imported(setup):
  used = set().union(*map(distributions, imported()))
  assert named(setup['install_requires']) - used == COMMANDS


def test_tensorflow_is_never_needed(setup):
  assert not {name for name in imported() if name.startswith('tensorflow')}
  assert not {n for n in named(setup['install_requires']) if n.startswith('tensorflow')}


def test_the_versions_that_are_tested_are_allowed(setup):
  extras = setup['extras_require']
  pinned = [*setup['install_requires']]
  for extra, more in extras.items():
    pinned += more if extra not in UNPINNED | OTHERS.keys() else []
  checked = [(pinned, 'constraints.txt'), *((extras[e], name) for e, name in OTHERS.items())]
  for lines, name in checked:
    for line in lines:
      needed = requirements.Requirement(line)
      if needed.marker is None or needed.marker.evaluate({'sys_platform': 'linux'}):
        assert pins(name)[needed.name.lower()] in needed.specifier, line


def test_the_pythons_that_are_promised_are_those_that_are_tried(setup):
  promised = [line.rpartition(' ')[-1] for line in setup['classifiers']]
  (matrix,) = (
    line.partition(':')[-1]
    for line in (ROOT / '.github/workflows/ci.yml').read_text().splitlines()
    if line.strip().startswith('python:')
  )
  assert ast.literal_eval(matrix.strip()) == promised
  assert setup['python_requires'] == f'>={promised[0]}'


def test_files_of_the_robots_side_that_are_no_python_come_along_in_both_installs(setup):
  package = ROOT / 'aloe_jax/client/aloe_client'
  alone = tomllib.loads((package.parent / 'pyproject.toml').read_text())['tool']['setuptools']
  shipped = {path.name for path in package.iterdir() if path.suffix not in ('.py', '')}
  assert shipped
  for patterns in (alone['package-data'], setup['package_data']):
    found = {path.name for pattern in patterns['aloe_client'] for path in package.glob(pattern)}
    assert found == shipped
