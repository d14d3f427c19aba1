"""A directory that appears whole or not at all."""

from collections.abc import Iterator
import contextlib
import pathlib
import tempfile

from aloe_jax import disk
from aloe_jax import files


def check(path: pathlib.Path) -> None:
  """Raises FileExistsError if a directory to be made is there."""
  if path.exists():
    raise FileExistsError(f'{path} exists; give a directory that does not.')


@contextlib.contextmanager
def directory(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """A directory to fill, which takes the name `path` then; nothing is left after an error.

  Raises:
    FileExistsError: it exists.
    disk.WriteError: it cannot be written.
  """
  check(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with (
    tempfile.TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as temporary,
    disk.writing('the checkpoint', path),
  ):
    unfinished = files.absolute(temporary) / path.name
    unfinished.mkdir()
    yield unfinished
    unfinished.rename(path)
