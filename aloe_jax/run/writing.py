"""Directories of arrays that appear whole or not at all, written while something else goes on.

Here they are written under a hidden name, which is changed at the end. In a bucket nothing can be
renamed: an object with the hidden name says that they are not whole, from before their first byte
until all is there, their checksums are as noted, and what they refer to is there too.
"""

from collections.abc import Collection, Iterator, Mapping
from concurrent import futures
import contextlib
import os
import pathlib
import shutil
import threading
from typing import Any

import orbax.checkpoint as ocp

from aloe_jax import files
from aloe_jax.buckets import storage
from aloe_jax.buckets import twin
from aloe_jax.parallel import hosts
from aloe_jax.run import written_files

_marks: dict[str, threading.Lock] = {}


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
    remote = files.is_url(path)
    temporary = path if remote else mark(path)
    with self._removed_on_error(path):
      if hosts.is_first():
        remove_unfinished(path)
        if remote:
          with _marked(path):
            storage.write(mark(path), b'written')
      if not remote:
        path.parent.mkdir(parents=True, exist_ok=True)
        _try(temporary)
      whole = {name: hosts.as_global(tree) for name, tree in items.items()}
      arguments = {name: ocp.args.StandardSave(tree) for name, tree in whole.items()}
      with storage.told(path, 'written') if remote else contextlib.nullcontext():
        self._orbax.save(
          temporary, args=ocp.args.Composite(**arguments, meta=ocp.args.JsonSave(meta))
        )
    finish = self._finish_in_bucket if remote else self._finish
    return self._finisher.submit(finish, path, tuple(items), dict(shared))

  def close(self) -> None:
    """Waits for what is being written."""
    self._finisher.shutdown()
    self._orbax.close()

  def _finish(
    self, path: pathlib.Path, items: Collection[str], shared: Mapping[str, pathlib.Path]
  ) -> None:
    temporary = mark(path)
    with self._removed_on_error(path):
      self._orbax.wait_until_finished()
      if hosts.is_first():
        for name, source in shared.items():
          _share(source / name, temporary / name)
        written_files.write(temporary, (*items, *shared), _known(shared))
        temporary.rename(path)
        _sync(path.parent)

  def _finish_in_bucket(
    self, path: pathlib.Path, items: Collection[str], shared: Mapping[str, pathlib.Path]
  ) -> None:
    with self._removed_on_error(path), storage.told(path, 'written'):
      self._orbax.wait_until_finished()
      if hosts.is_first():
        for name, source in shared.items():
          storage.copy(source / name, path / name, storage.find(source / name))
        written_files.write(path, (*items, *shared), _known(shared))
        twin.push()  # what was measured on the way here, before anybody goes on from here
        storage.remove(mark(path))

  @contextlib.contextmanager
  def _removed_on_error(self, path: pathlib.Path) -> Iterator[None]:
    """Gives back the room that a save has taken which came to nothing."""
    try:
      yield
    except BaseException:
      if hosts.is_first():
        with contextlib.suppress(storage.Told):  # the first error counts; the next save removes it
          remove_unfinished(path)
      raise


def _try(temporary: pathlib.Path) -> None:
  """Raises, on every host, why no directory can be made; Orbax would wait for minutes before."""
  probe = temporary.with_name(f'{temporary.name}.probe{hosts.number()}')
  probe.mkdir(exist_ok=True)
  with contextlib.suppress(FileNotFoundError):  # swept with what was left of a save
    probe.rmdir()


def mark(path: pathlib.Path) -> pathlib.Path:
  """What a directory is called while it is written, or what says so of it; see above."""
  return path.with_name(f'.{path.name}.writing')


def remove_unfinished(path: pathlib.Path, token: bytes | None = None) -> None:
  """Removes what a save of this name left that did not come to its end.

  Args:
    path: of the directory.
    token: in a bucket, what the mark has to hold for anything to be done: whoever removes in the
      background may find that the name is being written again.
  """
  if files.is_url(path):
    with _marked(path):
      found = storage.read(mark(path))
      if found is not None and token in (None, found):
        storage.remove(path, storage.find(path))
        storage.remove(mark(path))
    return
  for left in path.parent.glob(f'.{path.name}.writing*'):
    shutil.rmtree(left, ignore_errors=True)


def _marked(path: pathlib.Path) -> threading.Lock:
  """Held by whoever changes a mark, or removes what it stands for."""
  return _marks.setdefault(str(path), threading.Lock())


def _known(shared: Mapping[str, pathlib.Path]) -> dict[str, Any]:
  """What was noted of the files of items that lie in other checkpoints too."""
  known: dict[str, Any] = {}
  for name, source in shared.items():
    for file, note in written_files.read(source).items():
      if pathlib.PurePath(file).parts[0] == name and 'crc32c' in note:
        known[file] = note
  return known


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
