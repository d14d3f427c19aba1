"""The datasets of a config, opened by their indices; what is left out of them is told."""

import pathlib
import re

import ml_collections

from aloe_jax import files
from aloe_jax import progress
from aloe_jax.data import bucket
from aloe_jax.data import index as index_lib
from aloe_jax.data import mapping
from aloe_jax.parallel import hosts

Indices = dict[pathlib.Path, index_lib.Index]  # by the directories that were given


def open_given(config: ml_collections.ConfigDict) -> Indices:
  """Opens all of `config.data.episodes`; raises what `open_one` does."""
  return {path: open_one(config, path) for path in directories(config)}


def directories(config: ml_collections.ConfigDict) -> list[pathlib.Path]:
  """Where the datasets of `data.episodes` lie here; raises what `bucket.local` does."""
  return [bucket.local(path, config.data.cache) for path in config.data.episodes]


def open_one(config: ml_collections.ConfigDict, directory: pathlib.Path) -> index_lib.Index:
  """Opens a dataset, after indexing it if that has not been done; no image is read.

  Args:
    config: of the run.
    directory: of the dataset.

  Raises:
    FileNotFoundError: naming a directory that is missing.
    ValueError: naming what is wrong with the dataset; or there is no episode that can be used.
  """
  data, fields = config.data, dict(config.data.mapping)
  given = map(pathlib.Path, files.expanded(data.episodes))
  if config.sim.task and directory not in given:
    fields['last_action'] = 'keep'  # a run's own episodes hold what was done at every step
  with (
    hosts.first_then_others(f'{label(directory)} is indexed'),
    progress.bar(f'Index {label(directory)}', None, 'steps') as advance,
  ):
    index = index_lib.load(
      directory,
      mapping.parse(fields),
      split=data.split,
      cache=data.cache or None,
      on_error=data.on_error,
      progress=advance,
    )
  for remark in index.remarks:
    progress.CONSOLE.print(remark, markup=False, soft_wrap=True)
  if not len(index):
    raise ValueError(f'{directory}: there is no episode that can be used.')
  return index


def label(directory: pathlib.Path) -> str:
  """What a person calls a dataset: its name, with its version where the directory is called so."""
  if re.fullmatch(r'\d+\.\d+\.\d+', directory.name):
    return f'{directory.absolute().parent.name}/{directory.name}'
  return directory.name
