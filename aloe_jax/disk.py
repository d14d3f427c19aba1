"""A disk that is full: said in one message, whichever library met it."""

from collections.abc import Iterator
import contextlib
import errno
import os
import pathlib
import re
import shutil

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# As libraries that are not Python's put it.
_WORDS = re.compile('|'.join(os.strerror(number) for number in _NUMBERS))


class FullError(OSError):
  """Nothing more can be written; its text says all that a person needs."""


@contextlib.contextmanager
def writing(what: str, path: str | os.PathLike) -> Iterator[None]:
  """Says what could not be written, if the disk is full.

  Args:
    what: is being written, as in 'checkpoint 2'.
    path: where to.

  Raises:
    FullError: in place of whatever said so.
  """
  try:
    yield
  except Exception as error:
    if isinstance(error, FullError) or not (reason := _reason(error)):
      raise
    raise FullError(_message(what, pathlib.Path(path), reason)) from error


def told(error: BaseException) -> str:
  """The message about a disk that is full, or '' for any other error."""
  if isinstance(error, FullError) or not (reason := _reason(error)):
    return str(error) if isinstance(error, FullError) else ''
  named = getattr(error, 'filename', None)
  return _message('a file', pathlib.Path(named) if isinstance(named, str) else None, reason)


def _reason(error: BaseException) -> str:
  """What the system said, of an error or of one that it came from; '' of other errors."""
  seen: set[int] = set()
  found: BaseException | None = error
  while found is not None and id(found) not in seen:
    seen.add(id(found))
    if isinstance(found, FullError):
      return ''  # has been told
    if isinstance(found, OSError) and found.errno in _NUMBERS:
      return os.strerror(found.errno)
    if match := _WORDS.search(str(found)):
      return match[0]
    found = found.__cause__ or found.__context__
  return ''


def _message(what: str, path: pathlib.Path | None, reason: str) -> str:
  where, free = '', ''
  if path is not None:
    place = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    where, free = f'{path}: ', f', {shutil.disk_usage(place).free / 1e6:.1f} MB are free there'
  return (
    f'{where}{what} could not be written: {reason}{free}. Make room and give the same command '
    'again; what was finished is kept.'
  )


def write_all(descriptor: int, data: bytes, offset: int) -> None:
  """Writes bytes at a place of a file; a disk that fills up takes only some of them at first."""
  view = memoryview(data)
  while view:
    written = os.pwrite(descriptor, view, offset)
    view, offset = view[written:], offset + written
