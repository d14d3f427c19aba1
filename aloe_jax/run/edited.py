"""The config of a working directory, held against what its newest checkpoint was learnt with.

`config.json` says what the next command starts from, and anybody can write to it. What a command
may change between two checkpoints may differ; of the rest the checkpoint tells what it was.
"""

from collections.abc import Callable
import contextlib
import pathlib
from typing import Any

import ml_collections

from aloe_jax import config as config_lib
from aloe_jax import renamed
from aloe_jax.buckets import twin
from aloe_jax.run import checkpoints
from aloe_jax.run import unfinished


def check(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  may_differ: Callable[[str, Any, Any], bool],
) -> list[str]:
  """Compares the config that a run keeps with that of its newest checkpoint or save.

  Args:
    config: of `config.json`, in today's words.
    workdir: of the run.
    may_differ: asked with a field, its value there and the one kept, whether a command may have
      changed it since.

  Returns:
    A sentence for each field that a command may have changed.

  Raises:
    ValueError: something else differs; names every such field.
  """
  found = _newest(workdir)
  if found is None:
    return []
  path, tree = found
  try:
    then = config_lib.flat(config_lib.from_json(tree, str(path)))
  except ValueError:
    return []  # whoever reads the checkpoint says what is wrong with it
  differ = {
    field: (then.get(field), x)
    for field, x in config_lib.flat(config).items()
    if x not in (then.get(field), renamed.value(field, then.get(field)))
  }
  wrong = [
    f'{field}: found {after!r}, expected {before!r}'
    for field, (before, after) in differ.items()
    if not may_differ(field, before, after)
  ]
  if wrong:
    file = twin.shown(workdir / 'config.json')
    raise ValueError(
      f'{file} is not as the run wrote it, by what {path} was learnt with:\n  '
      + '\n  '.join(wrong)
      + '\nWhat was learnt stays as it was; put back the file, or write what is expected into it. '
      'What a command may change, change by --config.FIELD=; for the rest train anew in another '
      '--workdir.'
    )
  return [
    f'{field} = {after!r} from here on; {path} was learnt with {before!r}.'
    for field, (before, after) in differ.items()
  ]


def _newest(workdir: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]] | None:
  """The newest of a run that keeps a config, and that config; None where nothing was learnt."""
  written = checkpoints.Checkpoints(workdir / 'checkpoints')
  latest = written.latest()
  done = -1 if latest is None else latest
  saves = [path for number, _, path in unfinished.directories(workdir) if number > done]
  for path, read in (
    *((path, unfinished.read_meta) for path in saves[-1:]),
    *([(written.path(latest), checkpoints.read_meta)] if latest is not None else []),
  ):
    with contextlib.suppress(ValueError, OSError):  # damage is told when it is to be read
      kept = read(path).get('config')
      if isinstance(kept, dict):
        return path, kept
  return None
