"""Where the datasets that a run was trained on lie now, held against what they held then."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

import ml_collections

from aloe_jax.run import collected
from aloe_jax.run import indices as indices_lib


def find(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  entries: Sequence[Mapping[str, Any]],
  content: Callable[[pathlib.Path], str],
) -> list[pathlib.Path]:
  """The directory of each dataset, some of which may be gone.

  Those that the run was given are looked for where the config says, in the order of the manifest:
  a run that was copied elsewhere may name others by the same paths.

  Args:
    config: of the run.
    workdir: of the run.
    entries: of its manifest.
    content: the digest of what a directory holds.

  Raises:
    ValueError: one holds other episodes than the run was trained on.
  """
  given, places = iter(indices_lib.directories(config)), []
  for entry in entries:
    path = listed = workdir / entry['path']
    if not (config.sim.task and collected.is_own(entry['path'])):
      path = next(given, listed)
      if path.exists() and content(path) != entry['content']:
        raise ValueError(
          f'{path} holds other episodes than {listed} did, on which the run was trained in '
          f'iteration {entry["iteration"]} ({workdir / "manifest.json"}); put those there, or tell '
          '`train` where they lie now, with --config.data.episodes.'
        )
    places.append(path)
  return places
