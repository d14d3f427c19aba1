"""Compiled programs kept on disk, so that a run that goes on, and the next one, start at once."""

import os
import pathlib

import jax
import ml_collections

from aloe_jax import progress

NAME = 'compiled'  # beside the working directories of runs
OFF = 'none'


def use(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Keeps what is compiled from here on, and finds what was kept before.

  JAX's own setting, such as $JAX_COMPILATION_CACHE_DIR, comes first.

  Args:
    config: `train.compile_cache` names a directory; '' is `compiled` beside `workdir`, 'none' keeps
      nothing.
    workdir: of the run.
  """
  wanted = config.train.compile_cache
  if jax.config.jax_compilation_cache_dir or wanted == OFF:
    return
  directory = pathlib.Path(wanted) if wanted else workdir.absolute().parent / NAME
  try:
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK):
      raise PermissionError(f'nothing can be written to {directory}')
  except OSError as error:
    progress.CONSOLE.print(
      f'Compiled programs are not kept: {error}. --config.train.compile_cache names another '
      f"directory, or is '{OFF}'.",
      highlight=False,
      soft_wrap=True,
    )
    return
  jax.config.update('jax_compilation_cache_dir', str(directory))
