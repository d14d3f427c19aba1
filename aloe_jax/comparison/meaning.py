"""Does a command still mean what it meant? Defaults move on, and finished runs stay."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

import ml_collections

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax.run import unheeded

# Where a run lies, and what no result depends on.
_ANYHOW = ('actor.checkpoint', 'data.episodes', 'data.cache', 'parallel.', 'sim.processes',
           'train.', 'version')  # fmt: skip


def changed(command: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
  """A line for every setting that counts and is another one today.

  Args:
    command: of `aloe_jax.train`; others mean what they say.
    settings: {field: value} that the command once meant, of JSON's types.
  """
  if list(command[:2]) != ['-m', 'aloe_jax.train']:
    return []
  (file,) = (part.removeprefix('--config=') for part in command if part.startswith('--config='))
  config = _load(file).copy_and_resolve_references()
  command_line.override(config, [part for part in command if part.startswith('--config.')])
  return [
    f'{field} was {settings[field]!r} and is {now!r}'
    for field, now in config_lib.flat(config_lib.to_json(config)).items()
    if field in settings and settings[field] != now
    if not field.startswith(_ANYHOW) and not _is_told(field, now)
    if not unheeded.settings(config, {field: now})
  ]


@functools.cache
def _load(file: str) -> ml_collections.ConfigDict:
  return command_line.load(file)


def _is_told(field: str, value: Any) -> bool:
  """Whether the simulator tells what is not said here, such as how many joints there are."""
  return field.startswith('task.') and not value
