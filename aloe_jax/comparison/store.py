"""Finished runs of comparisons, a small file each: what was measured outlives where it was.

  STORE/TASK/seed_S/METHOD.json

A run's directory has weights and episodes and is lost sooner or later; its record is not, and says
how the run is made anew. A file a run, so that those of two machines are put together by copying.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
import re
from typing import Any, NamedTuple

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import renamed
from aloe_jax.comparison import meaning
from aloe_jax.comparison import records

WORKDIR = '$WORKDIR'  # stands for the directory of all runs
_NEEDED = ('task', 'seed', 'method', 'changes', 'iterations', 'conditions', 'report', 'commands',
           'commit', 'seconds', 'machine', 'settings')  # fmt: skip
_ADVICE = 'remove it, and its run is made anew, or have it back from version control.'

Commands = Sequence[Sequence[str]]
Record = dict[str, Any]


class Key(NamedTuple):
  """Which run."""

  task: str
  seed: int
  method: str

  def below(self, directory: pathlib.Path) -> pathlib.Path:
    """The place of this run in a directory of many."""
    return directory / self.task / f'seed_{self.seed}' / slug(self.method)


def slug(method: str) -> str:
  """What a method's runs and records are called."""
  return re.sub(r'[^\w.]+', '_', method.lower())


def portable(commands: Commands, workdir: pathlib.Path) -> list[list[str]]:
  """Commands as they are anywhere: `WORKDIR` in place of the directory of all runs."""
  return made_portable([list(command) for command in commands], workdir)


def made_portable(tree: Any, workdir: pathlib.Path) -> Any:
  """JSON's values with `WORKDIR` in place of the directory of all runs, in every text."""
  if isinstance(tree, str):
    whole = rf'(?<![\w./-]){re.escape(str(workdir))}(?![\w.-])'  # /w is no part of /warm_start
    return re.sub(whole, lambda _: WORKDIR, tree)
  if isinstance(tree, list):
    return [made_portable(value, workdir) for value in tree]
  if isinstance(tree, dict):
    return {name: made_portable(value, workdir) for name, value in tree.items()}
  return tree


@dataclasses.dataclass(frozen=True)
class Store:
  """Records of finished runs.

  Attributes:
    directory: where they lie.
  """

  directory: pathlib.Path

  def read(self, key: Key) -> Record | None:
    """A run's record with today's names, None where there is none.

    Raises:
      ValueError: it is damaged, holds what cannot be, or is of another run than its place says.
    """
    path = self.path(key)
    if not path.exists():
      return None
    found = files.read_json(path, _ADVICE, each_once=True)
    lacks = [name for name in _NEEDED if not isinstance(found, dict) or name not in found]
    if lacks:
      raise ValueError(f'{path}: found no {", ".join(lacks)}, expected a whole record; {_ADVICE}')
    if wrong := records.fault(found):
      raise ValueError(f'{path}: {wrong}; {_ADVICE}')
    if (of := Key(found['task'], found['seed'], found['method'])) != key:
      raise ValueError(f'{path}: found the run {tuple(of)}, expected {tuple(key)}; {_ADVICE}')
    if found['report'] is not None:
      found['report'] = renamed.numbers(found['report'])
    found['settings'] = settings(found['settings'])
    return found

  def find(self, key: Key, commands: Commands) -> Record | None:
    """The record of a run, if it is the one that these commands would make now.

    Args:
      key: which run.
      commands: as `portable` has them; others may have been run beside them.
    """
    found = self.read(key)
    return found if found and not outdated(found, commands) else None

  def add(self, record: Mapping[str, Any]) -> None:
    """Keeps a record, in place of an older one of the run.

    Raises:
      ValueError: it holds what cannot be.
    """
    key = Key(record['task'], record['seed'], record['method'])
    if wrong := records.fault(record):
      raise ValueError(f'{key.task}, seed {key.seed}, {key.method}: {wrong}.')
    files.write_text(self.path(key), json.dumps(record, indent=1, ensure_ascii=False) + '\n')

  def path(self, key: Key) -> pathlib.Path:
    """Where a run's record lies, if there is one."""
    place = key.below(self.directory)
    return place.with_name(place.name + '.json')


def outdated(record: Record, commands: Commands) -> str:
  """Why a record is not of these commands, or not of what they mean now; '' if it is."""
  for command in map(list, commands):
    if command not in record['commands']:
      return 'other commands'
  changed = meaning.changed(commands[0], record['settings'])
  return '; '.join(changed)


def settings(tree: Mapping[str, Any]) -> dict[str, Any]:
  """{field: value} of a config as it was kept; fields newer than it mean what was done then."""
  return {
    field: renamed.value(field, value) if config_lib.is_of_old(tree) else value
    for field, value in (renamed.ADDED | config_lib.flat(renamed.fields(tree))).items()
  }
