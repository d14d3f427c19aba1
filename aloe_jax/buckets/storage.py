"""Objects of a bucket of Google Cloud Storage, and what goes wrong with them in one message each.

An object appears whole or not at all. There are no directories, no renaming and no second names: a
name that begins with `folder/` lies in that folder, and what is to be elsewhere is copied, by the
service and without coming here.
"""

import base64
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import contextlib
import dataclasses
import functools
import logging
import os
import pathlib
import re
from typing import Any
import uuid

import fsspec

from aloe_jax import disk
from aloe_jax import files
from aloe_jax.buckets import patience

_AT_A_TIME = 8  # objects that come or go
_SMALL = 2**20  # bytes that any connection takes at once
_NAME = re.compile(r'[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]')  # of a bucket
_INSTALL = "`pip install -c constraints.txt -e '.[gcs]'`"
_LOG_IN = '`gcloud auth application-default login`'


class Told(disk.WriteError):
  """An error about a bucket whose text says all that a person needs."""


@dataclasses.dataclass(frozen=True)
class Object:
  """What the service says of an object.

  Attributes:
    size: bytes.
    crc32c: CRC-32C of them, as eight hexadecimal digits; '' where the service tells none.
    generation: another one whenever it is written.
  """

  size: int
  crc32c: str
  generation: str


def check_url(url: str, what: str) -> None:
  """Raises ValueError unless an address names a place below a bucket; `what` names the option."""
  scheme, _, rest = url.partition('://')
  bucket, _, place = rest.partition('/')
  if scheme != 'gs':
    raise ValueError(
      f'{what} is {url!r}; expected a place here, or one in a bucket of Google Cloud Storage, '
      'gs://BUCKET/FOLDER: no other buckets are written to.'
    )
  if not _NAME.fullmatch(bucket) or not place.strip('/'):
    raise ValueError(
      f'{what} is {url!r}; expected gs://BUCKET/FOLDER, a folder in a bucket, whose name has lower '
      'case letters, digits, dots, - and _ alone.'
    )


@functools.cache
def system() -> Any:
  """The file system of all buckets.

  Raises:
    Told: the package that reaches them is not installed.
  """
  try:
    import aiohttp
    import gcsfs  # an extra: not everyone has buckets
  except ImportError as error:
    raise Told(
      f'gs:// is reached through the package gcsfs, which is not installed ({error}); install it '
      f'with {_INSTALL}.'
    ) from error
  files.reach_buckets()
  timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)  # by default none
  for scheme in ('gcs', 'gs'):
    fsspec.config.conf[scheme].setdefault('requests_timeout', timeout)
  log = logging.getLogger(gcsfs.__name__)
  log.setLevel(logging.DEBUG)
  log.propagate = False  # what it raises is told once
  log.handlers = [patience.Listener()]
  return fsspec.filesystem('gcs', finalize_on_close=True)


def find(url: str | os.PathLike) -> dict[str, Object]:
  """{name below an address: object} of all that lie there; {} for none."""
  place = _place(url)
  with told(url, 'read', small=True):
    found = _tried(lambda: system().find(place, detail=True))
  return {
    name.removeprefix(f'{place}/'): Object(
      int(info['size']), _hexadecimal(info.get('crc32c')), str(info.get('generation', ''))
    )
    for name, info in found.items()
    if name.startswith(f'{place}/') and not name.endswith('/')
  }


def read(url: str | os.PathLike) -> bytes | None:
  """What an object holds; None where there is none."""
  with told(url, 'read', small=True):
    try:
      return _tried(lambda: system().cat_file(_place(url)))
    except FileNotFoundError:
      return None


def write(url: str | os.PathLike, content: bytes) -> None:
  """Writes or replaces an object."""
  with told(url, 'written', small=len(content) < _SMALL):
    _tried(lambda: system().pipe_file(_place(url), content))


def create(url: str | os.PathLike, content: bytes) -> bool:
  """Writes an object that is not there yet; False where it is. Of several who try one succeeds."""
  with told(url, 'written', small=True):
    if system().exists(_place(url)):
      return False
    try:
      system().pipe_file(_place(url), content, mode='create')
    except FileExistsError:
      return False
  return True


def upload(path: pathlib.Path, url: str | os.PathLike) -> None:
  """Writes or replaces an object by what a file holds."""
  with told(url, 'written'):
    _tried(lambda: system().put_file(str(path), _place(url)))


def download(url: str | os.PathLike, path: pathlib.Path) -> None:
  """Writes or replaces a file, which appears whole or not at all, by what an object holds."""
  with files.replacing(path) as temporary, told(url, 'read'):
    _tried(lambda: system().get_file(_place(url), str(temporary)))


def copy(source: str | os.PathLike, target: str | os.PathLike, names: Iterable[str]) -> None:
  """Copies objects of one folder to another without bringing them here."""

  def one(name: str) -> None:
    with told(f'{target}/{name}', 'written'):
      source_place, target_place = f'{_place(source)}/{name}', f'{_place(target)}/{name}'
      _tried(lambda: system().cp_file(source_place, target_place))

  for _ in together(one, names):
    pass


def remove(url: str | os.PathLike, names: Iterable[str] | None = None) -> None:
  """Removes an object; or objects of these names below an address. What is not there is no error.

  Args:
    url: of the object, or of the folder.
    names: None for the object itself.
  """
  places = [_place(url)] if names is None else [f'{_place(url)}/{name}' for name in names]
  with told(url, 'removed', small=names is None):
    for place in places if len(places) == 1 else []:
      with contextlib.suppress(FileNotFoundError):
        _tried(functools.partial(system().rm_file, place))
    if len(places) > 1:
      with contextlib.suppress(FileNotFoundError):
        _tried(lambda: system().rm(places))


def check_rights(url: str, *, writes: bool) -> None:
  """Finds out whether an address can be used, before any work: lists it, and writes a probe.

  Raises:
    ValueError, OSError: it cannot; says what is wrong and what to do.
  """
  bucket = url.partition('://')[2].partition('/')[0]
  with told(url, 'read', small=True):
    system().ls(bucket)
  if writes:
    probe = f'{url}/.probe-{uuid.uuid4().hex}'
    write(probe, b'')
    remove(probe)


def together(one: Callable[[Any], Any], names: Iterable[Any]) -> Iterator[Any]:
  """Does something to several objects at a time; raises the first error, and begins no more.

  Args:
    one: done to each.
    names: of the objects.

  Yields:
    What `one` returns, in the order in which it ends.
  """
  with futures.ThreadPoolExecutor(_AT_A_TIME) as pool:
    jobs = [pool.submit(one, name) for name in names]
    try:
      for job in futures.as_completed(jobs):
        yield job.result()
    finally:
      pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def told(url: str | os.PathLike, done: str, *, small: bool = False) -> Iterator[None]:
  """Whatever the libraries raise about a bucket, in one message with what to do.

  What takes them long because the service does not answer is said meanwhile, see `patience`.

  Args:
    url: that is used.
    done: what cannot be: 'read', 'written' or 'removed'.
    small: whether a service that answers does it at once.

  Raises:
    OSError: in place of whatever it was, but for what is told already.
  """
  try:
    with patience.waiting(url, done, small=small):
      yield
  except disk.WriteError:
    raise
  except Exception as error:  # as many kinds as there are libraries below
    raise Told(f'{os.fspath(url)} cannot be {done}: {_reason(error, os.fspath(url))}') from error


def _tried(action: Callable[[], Any]) -> Any:
  """Does something; again for a while where the service fails, or does not answer."""
  import aiohttp
  from gcsfs import retry

  def is_passing(error: Exception) -> bool:
    failed = isinstance(error, retry.HttpError) and str(error.code) not in ('401', '403')
    return (failed or isinstance(error, aiohttp.ClientError)) and retry.is_retriable(error)

  return patience.tried(action, is_passing)


def _reason(error: Exception, url: str) -> str:
  bucket = url.partition('://')[2].partition('/')[0]
  words = ' '.join(str(error).split())
  said = words.partition(' [tensorstore_spec')[0][-300:]
  code = getattr(error, 'code', None) or getattr(error, 'status', None)
  if match := re.search(r"http_response_code='(\d+)'", words):  # of TensorStore
    code = match[1]
  if str(code) == '401' or 'Invalid Credentials' in said or 'Anonymous caller' in said:
    return f'nobody is logged in ({said}). Log in with {_LOG_IN}, or give the machine an account.'
  if str(code) == '403' or 'Forbidden' in said:
    return (
      f'this account may not ({said}). Have it given the role roles/storage.objectUser on the '
      f'bucket {bucket}, or log in as another with {_LOG_IN}.'
    )
  if isinstance(error, FileNotFoundError) or str(code) == '404':
    return (
      f'there is no bucket {bucket}, or nothing of that name in it ({said}). Make it with `gcloud '
      f'storage buckets create gs://{bucket}`, or correct the name.'
    )
  kind = type(error).__name__
  if 'Credentials' in kind or 'Auth' in kind or 'Refresh' in kind:
    return f'nobody is logged in ({kind}: {said}). Log in with {_LOG_IN}.'
  return (
    f'{kind}: {said}. Look whether this machine reaches storage.googleapis.com, and give the same '
    'command again: what was finished is kept.'
  )


def _place(url: str | os.PathLike) -> str:
  """BUCKET/FOLDER of gs://BUCKET/FOLDER."""
  return os.fspath(url).partition('://')[2].strip('/')


def _hexadecimal(crc32c: str | None) -> str:
  return base64.b64decode(crc32c).hex() if crc32c else ''
