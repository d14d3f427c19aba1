"""The floors of the package: a file imports its own floor, without a cycle, or lower numbers."""

import ast
from collections.abc import Iterator
import fnmatch
import graphlib
import pathlib
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / 'aloe_jax'

# A new file goes on the first floor that holds nothing it is imported by. Within a floor order
# means nothing; a later pattern overrules an earlier one.
FLOORS = (
  (
    'buckets/*',
    'client/*',
    'closing',
    'command_line',
    'config',
    'defaults',
    'disk',
    'estimates',
    'faults',
    'files',
    'losses',
    'metrics',
    'parallel/*',
    'plots',
    'progress',
    'ranges',
    'renamed',
    'rewards',
    'stopping',
    'types',
  ),
  ('data/*', 'models/*', 'preprocessing/*', 'pretrained/*'),
  ('agents/*', 'best_of', 'policy'),
  ('envs/*', 'learning/*'),
  ('comparison/*', 'dry_run/*', 'reporting/*', 'run/*', 'serving/*'),
  (
    '__init__',
    'checkpoints',
    'collect',
    'data/__main__',
    'evaluate',
    'export',
    'report',
    'serve',
    'train',
  ),
)


def floor(module: str) -> int | None:
  """Floor of a module such as `data/rlds`, or None if the table does not hold it."""
  found = None
  for number, patterns in enumerate(FLOORS):
    if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns):
      found = number
  return found


def imported(source: str) -> Iterator[str]:
  """Dotted names that a source file imports, at its top or inside a function."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      parent = '.' * node.level + (node.module or '')
      yield from (f'{parent}.{alias.name}' for alias in node.names)


def violations(package: pathlib.Path) -> list[str]:
  """What is wrong with the imports of a package, one sentence each."""
  paths = {str(p.relative_to(package).with_suffix('')): p for p in package.rglob('*.py')}
  found = [
    f'{module}.py is on no floor: add it to FLOORS in tests/layers_test.py'
    for module in sorted(paths)
    if floor(module) is None
  ]
  graph = {}
  for module in sorted(paths):
    graph[module] = set()
    for name in imported(paths[module].read_text()):
      if name.startswith('.'):
        found.append(f'{module}.py imports {name}: write imports from {package.name}')
      target = _module(name, package.name, paths)
      if target is None or floor(module) is None or floor(target) is None:
        continue
      if floor(target) > floor(module):
        found.append(
          f'{module}.py (floor {floor(module)}) imports {target}.py (floor {floor(target)})'
        )
      graph[module].add(target)
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    found.append(f'files import each other: {" <- ".join(error.args[1])}')
  return found


def _module(name: str, package: str, paths) -> str | None:
  """The longest prefix of a dotted name that is a file of the package, if it has one."""
  parts = name.split('.')
  if parts[0] != package:
    return None
  for end in range(len(parts), 0, -1):
    module = '/'.join(parts[1:end])
    for candidate in (module, f'{module}/__init__'.lstrip('/')):
      if candidate in paths:
        return candidate
  return None


def test_every_file_imports_only_from_its_own_floor_and_below():
  assert not violations(PACKAGE), '\n'.join(violations(PACKAGE))


def test_the_robots_side_needs_nothing_but_its_three_libraries():
  allowed = {*sys.stdlib_module_names, 'aloe_client', 'msgpack', 'numpy', 'websockets'}
  for path in (PACKAGE / 'client').rglob('*.py'):
    used = {name.partition('.')[0] for name in imported(path.read_text())}
    assert used <= allowed, f'{path} imports {used - allowed}'


def test_every_line_of_the_table_speaks_of_a_file_that_is_there():
  modules = [str(path.relative_to(PACKAGE).with_suffix('')) for path in PACKAGE.rglob('*.py')]
  patterns = [pattern for floor in FLOORS for pattern in floor]
  assert not [p for p in patterns if not fnmatch.filter(modules, p)]
  assert len(set(patterns)) == len(patterns)


@pytest.mark.parametrize(
  'files, expected',
  [
    ({'losses.py': 'import numpy as np\nfrom aloe_jax import types', 'types.py': ''}, None),
    (
      {'losses.py': 'from aloe_jax.data import rlds', 'data/rlds.py': ''},
      'losses.py (floor 0) imports data/rlds.py (floor 1)',
    ),
    (
      {'policy.py': 'def f():\n  import aloe_jax.train', 'train.py': ''},
      'policy.py (floor 2) imports train.py (floor 5)',
    ),
    (
      {'policy.py': 'from aloe_jax.envs.human import act', 'envs/human.py': ''},
      'policy.py (floor 2) imports envs/human.py (floor 3)',
    ),
    (
      {'models/a.py': 'from aloe_jax.models import b', 'models/b.py': 'import aloe_jax.models.a'},
      'files import each other',
    ),
    ({'data/rlds.py': 'from . import replay'}, 'data/rlds.py imports ..replay: write imports'),
    ({'utils.py': ''}, 'utils.py is on no floor: add it to FLOORS in tests/layers_test.py'),
    ({'data/__main__.py': '', 'data/a.py': 'import aloe_jax.data.__main__'}, '(floor 1) imports'),
  ],
)
def test_a_wrong_import_is_named(files, expected, tmp_path):
  package = tmp_path / 'aloe_jax'
  for name, source in files.items():
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
  found = violations(package)
  if expected is None:
    assert not found
  else:
    assert len(found) == 1
    assert expected in found[0]
