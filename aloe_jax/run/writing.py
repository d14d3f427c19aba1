"""Directories of arrays that appear whole or not at all, written while something else goes on."""

from collections.abc import Collection, Iterator, Mapping
from concurrent import futures
import contextlib
import os
import pathlib
import shutil
from typing import Any

import orbax.checkpoint as ocp

from aloe_jax.parallel import hosts
from aloe_jax.run import written_files


class Writer:
  """Writes one directory at a time, by all hosts together."""

  def __init__(self) -> None:
    self._orbax = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
    self._finisher = futures.ThreadPoolExecutor(1, thread_name_prefix='writing')

  def start(
    self,
    path: pathlib.Path,
    items: Mapping[str, Any],
    meta: dict[str, Any],
    shared: Mapping[str, pathlib.Path] | None = None,
  ) -> futures.Future[None]:
    """Copies the arrays from their devices and begins to write them.

    When this returns they may be donated. The directory has its name when the future is done. A
    process that ends before leaves a hidden directory, which the next `start` of the name removes.

    Args:
      path: of the directory, which does not exist yet.
      items: {name: tree of arrays}.
      meta: JSON about them, the item `meta`.
      shared: {name: directory that holds an item of this name, which is the same here}.

    Returns:
      Raises what went wrong.
    """
    shared = shared or {}
    temporary = path.with_name(f'.{path.name}.writing')
    with self._removed_on_error(path):
      if hosts.is_first():
        remove_unfinished(path)
        path.parent.mkdir(parents=True, exist_ok=True)
      whole = {name: hosts.as_global(tree) for name, tree in items.items()}
      arguments = {name: ocp.args.StandardSave(tree) for name, tree in whole.items()}
      self._orbax.save(
        temporary, args=ocp.args.Composite(**arguments, meta=ocp.args.JsonSave(meta))
      )
    return self._finisher.submit(self._finish, temporary, path, tuple(items), dict(shared))

  def close(self) -> None:
    """Waits for what is being written."""
    self._finisher.shutdown()
    self._orbax.close()

  def _finish(
    self,
    temporary: pathlib.Path,
    path: pathlib.Path,
    items: Collection[str],
    shared: Mapping[str, pathlib.Path],
  ) -> None:
    with self._removed_on_error(path):
      self._orbax.wait_until_finished()
      if hosts.is_first():
        known: dict[str, Any] = {}
        for name, source in shared.items():
          _share(source / name, temporary / name)
          notes = written_files.read(source)
          known |= {
            file: note
            for file, note in notes.items()
            if pathlib.PurePath(file).parts[0] == name and 'crc32c' in note
          }
        written_files.write(temporary, (*items, *shared), known)
        temporary.rename(path)
        _sync(path.parent)

  @contextlib.contextmanager
  def _removed_on_error(self, path: pathlib.Path) -> Iterator[None]:
    """Gives back the room that a save has taken which came to nothing."""
    try:
      yield
    except BaseException:
      if hosts.is_first():
        remove_unfinished(path)
      raise


def remove_unfinished(path: pathlib.Path) -> None:
  """Removes what a save of this name left that did not come to its end."""
  for left in path.parent.glob(f'.{path.name}.writing*'):
    shutil.rmtree(left, ignore_errors=True)


def _share(source: pathlib.Path, target: pathlib.Path) -> None:
  """The files of a directory under second names; copies where the file system has no such names."""

  def linked(one: str, other: str) -> str:
    try:
      os.link(one, other)
    except OSError:
      shutil.copy2(one, other)
    return other

  shutil.copytree(source, target, copy_function=linked)


def _sync(directory: pathlib.Path) -> None:
  """Has a new name survive a power cut, where the system can promise that of a directory."""
  with contextlib.suppress(OSError):
    descriptor = os.open(directory, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)
