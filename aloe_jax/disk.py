"""A disk that is full or cannot be written: said in one message, whichever library met it."""

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
_NUMBER = re.compile(r"\[os_error_code='(\d+)'\]")  # of TensorStore, for any error


class WriteError(OSError):
  """Something cannot be written; its text says all that a person needs."""


class FullError(WriteError):
  """There is no room for it."""


@contextlib.contextmanager
def writing(what: str, path: str | os.PathLike) -> Iterator[None]:
  """Says what could not be written, if the disk is full or the system refuses.

  An error about a file elsewhere, which was read for it, is left as it is.

  Args:
    what: is being written, as in 'checkpoint 2'.
    path: where to.

  Raises:
    FullError: there is no room; in place of whatever said so.
    WriteError: the system refuses for another reason; likewise.
  """
  try:
    yield
  except Exception as error:
    if isinstance(error, WriteError):
      raise
    if reason := _reason(error):
      raise FullError(_message(what, pathlib.Path(path), reason)) from error
    if refusal := _refusal(error, pathlib.Path(path)):
      raise WriteError(
        f'{path}: {what} could not be written: {refusal}. Mend that and give the same command '
        'again; what was finished is kept.'
      ) from error
    raise


def told(error: BaseException) -> str:
  """The message about what cannot be written, or '' for any other error."""
  if isinstance(error, WriteError) or not (reason := _reason(error)):
    return str(error) if isinstance(error, WriteError) else ''
  named = getattr(error, 'filename', None)
  return _message('a file', pathlib.Path(named) if isinstance(named, str) else None, reason)


def _reason(error: BaseException) -> str:
  """What the system said, of an error or of one that it came from; '' of other errors."""
  for found in _chain(error):
    if isinstance(found, WriteError):
      return ''  # has been told
    if isinstance(found, OSError) and found.errno in _NUMBERS:
      return os.strerror(found.errno)
    if match := _WORDS.search(str(found)):
      return match[0]
  return ''


def _refusal(error: BaseException, path: pathlib.Path) -> str:
  """What the system said of something at or below the directory of `path`; '' of other errors."""
  for found in _chain(error):
    if isinstance(found, OSError) and found.errno:
      named = getattr(found, 'filename', None)
      if named is None:
        return os.strerror(found.errno)
      if isinstance(named, str | os.PathLike) and _is_below(named, path):
        return f'{os.strerror(found.errno)} ({os.fspath(named)})'
      return ''
    if match := _NUMBER.search(str(found)):
      return os.strerror(int(match[1]))
  return ''


def _is_below(named: str | os.PathLike, path: pathlib.Path) -> bool:
  """Whether a file lies where `path` does, or is one of the directories that lead there."""
  found, place = os.path.abspath(named), path.absolute()
  return pathlib.Path(found).is_relative_to(place.parent) or place.is_relative_to(found)


def _chain(error: BaseException) -> Iterator[BaseException]:
  """An error, and those that it came from."""
  seen: set[int] = set()
  found: BaseException | None = error
  while found is not None and id(found) not in seen:
    seen.add(id(found))
    yield found
    found = found.__cause__ or found.__context__


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
