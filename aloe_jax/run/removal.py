"""Directories of arrays taken away: at once by their names, and by and by from the disk."""

import atexit
from collections.abc import Iterable
from concurrent import futures
import contextlib
import functools
import pathlib
import re
import shutil
import uuid

from aloe_jax import files
from aloe_jax.buckets import storage
from aloe_jax.run import writing
from aloe_jax.run import written_files

_ENDING = '.removed'
_NAME = re.compile(r'\.\.?\d.*\.removed')
_MARK = re.compile(r'\.(\d[\d-]*)\.writing')  # see `writing.mark`


def remove(path: pathlib.Path) -> None:
  """Takes a directory away; nobody finds it by its name any more when this returns.

  Its files go in another thread, as a slow disk or server takes long to remove many of them. What
  an end of the process leaves of them `sweep` removes. In a bucket a mark takes it away at once.
  """
  if files.is_url(path):
    token = uuid.uuid4().hex.encode()
    storage.write(writing.mark(path), token)
    _remover().submit(_remove_there, path, token)
    return
  if not path.exists():
    return
  hidden = path.with_name(f'.{path.name}{_ENDING}')
  shutil.rmtree(hidden, ignore_errors=True)
  path.rename(hidden)
  _remover().submit(shutil.rmtree, hidden, ignore_errors=True)


def sweep(directory: pathlib.Path) -> None:
  """Removes what an end of the process left of directories that were to go."""
  if files.is_url(directory):
    for name in unfinished_there(directory):
      remove(directory / name)
    return
  for path in directory.glob(f'.*{_ENDING}'):
    if _NAME.fullmatch(path.name):
      _remover().submit(shutil.rmtree, path, ignore_errors=True)


def remove_empty(directory: pathlib.Path) -> None:
  """Removes a directory if nothing is in it once all else is removed; there are none in buckets."""
  if files.is_url(directory):
    return
  _remover().submit(_remove_empty, directory)


def whole_there(directory: pathlib.Path) -> list[str]:
  """Names of the directories of arrays in a folder of a bucket that are whole."""
  found = storage.find(directory)
  begun = set(_begun(found))
  names = {name.partition('/')[0] for name in found if name.count('/') == 1 and _is_note(name)}
  return sorted(names - begun)


def unfinished_there(directory: pathlib.Path) -> list[str]:
  """Names of those that were begun or were to go when the process ended."""
  return _begun(storage.find(directory))


def _begun(found: Iterable[str]) -> list[str]:
  marks = (_MARK.fullmatch(name) for name in found)
  return [match[1] for match in marks if match]


def _is_note(name: str) -> bool:
  return name.partition('/')[2] in (written_files.NAME, written_files.OLD_NAME)


def _remove_there(path: pathlib.Path, token: bytes) -> None:
  with contextlib.suppress(storage.Told):  # the next start removes what is left
    writing.remove_unfinished(path, token)


def _remove_empty(directory: pathlib.Path) -> None:
  with contextlib.suppress(OSError):
    directory.rmdir()


@functools.cache
def _remover() -> futures.ThreadPoolExecutor:
  remover = futures.ThreadPoolExecutor(1, thread_name_prefix='removal')
  atexit.register(remover.shutdown, wait=True)
  return remover
