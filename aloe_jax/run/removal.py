"""Directories of arrays taken away: at once by their names, and by and by from the disk."""

import atexit
from concurrent import futures
import contextlib
import functools
import pathlib
import re
import shutil

_ENDING = '.removed'
_NAME = re.compile(r'\.\.?\d.*\.removed')


def remove(path: pathlib.Path) -> None:
  """Takes a directory away; nobody finds it by its name any more when this returns.

  Its files go in another thread, as a slow disk or server takes long to remove many of them. What
  an end of the process leaves of them `sweep` removes.
  """
  if not path.exists():
    return
  hidden = path.with_name(f'.{path.name}{_ENDING}')
  shutil.rmtree(hidden, ignore_errors=True)
  path.rename(hidden)
  _remover().submit(shutil.rmtree, hidden, ignore_errors=True)


def sweep(directory: pathlib.Path) -> None:
  """Removes what an end of the process left of directories that were to go."""
  for path in directory.glob(f'.*{_ENDING}'):
    if _NAME.fullmatch(path.name):
      _remover().submit(shutil.rmtree, path, ignore_errors=True)


def remove_empty(directory: pathlib.Path) -> None:
  """Removes a directory if nothing is in it once all else is removed."""
  _remover().submit(_remove_empty, directory)


def _remove_empty(directory: pathlib.Path) -> None:
  with contextlib.suppress(OSError):
    directory.rmdir()


@functools.cache
def _remover() -> futures.ThreadPoolExecutor:
  remover = futures.ThreadPoolExecutor(1, thread_name_prefix='removal')
  atexit.register(remover.shutdown, wait=True)
  return remover
