"""Datasets in a bucket, such as gs://gresearch/robotics/bridge/0.1.0: copied here once, and read.

Episodes are read in any order for days, which a bucket is too slow and too dear for. A copy lies
in the cache directory, under a name made of the address and of what lies there; another listing
there is another copy. It appears whole or not at all; one that was stopped goes on with the files
that it lacks.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import fsspec

from aloe_jax import files
from aloe_jax import progress

_AT_A_TIME = 8  # files
_PACKAGES = {'gs': 'gcsfs', 'gcs': 'gcsfs', 's3': 's3fs', 'az': 'adlfs', 'abfs': 'adlfs'}
_COPY = {  # how else a dataset comes here
  'gs': '`gcloud storage cp -r {url} DIR` and give the copy, or mount the bucket with gcsfuse',
  's3': '`aws s3 cp --recursive {url} DIR` and give the copy, or mount the bucket',
}
_OTHERWISE = 'copy it with a tool of your own and give the copy'
_VERSIONS = ('etag', 'md5Hash', 'generation', 'crc32c', 'mtime', 'updated', 'LastModified')

Bar = Callable[..., contextlib.AbstractContextManager[Callable[..., None]]]


@dataclasses.dataclass(frozen=True)
class _Listing:
  """What lies at an address.

  Attributes:
    system: of the files.
    sizes: {path there: bytes} of the files of the dataset.
    digest: another one where the address, a name, a size or a version differs.
  """

  system: Any
  sizes: dict[str, int]
  digest: str


def check(path: str, cache: str) -> None:
  """Raises what `local` does before anything is copied."""
  if files.is_url(path):
    _check_cache(path, cache)
    _list(path)


def local(
  path: str | os.PathLike, cache: str | os.PathLike | None, bar: Bar = progress.bar
) -> pathlib.Path:
  """Where a dataset lies here: its directory, or the copy of what is in a bucket, made if needed.

  Args:
    path: a directory, or an address such as gs://bucket/dataset/1.0.0.
    cache: the directory that copies are kept in.
    bar: such as `progress.bar`.

  Raises:
    FileNotFoundError: there is no dataset at the address.
    OSError: it cannot be read, or does not fit on the disk.
    ValueError: no cache is given, or the package that reads such addresses is not installed.
  """
  if not files.is_url(path):
    return pathlib.Path(files.expanded(os.fspath(path)))
  scheme, _, place = os.fspath(path).rstrip('/').partition(':')
  url = f'{scheme}://{place.lstrip("/")}'
  home = _check_cache(url, cache) / 'buckets'
  listing = _list(url)
  address = pathlib.PurePosixPath(place)
  target = home / f'{address.parent.name}-{listing.digest}' / address.name
  if not target.exists():
    _fetch(url, listing, target, bar)
  return target


def _check_cache(url: str, cache: str | os.PathLike | None) -> pathlib.Path:
  if not cache:
    raise ValueError(
      f'{url} is in a bucket and is copied here before it is read, but no place is given; expected '
      'config.data.cache (in `data`: --cache), a directory with room for it.'
    )
  return pathlib.Path(files.expanded(os.fspath(cache))).absolute()


def _list(url: str) -> _Listing:
  """What lies at an address, which must be a dataset."""
  url = url.rstrip('/')
  with _told(url):
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    found = [entry for entry in system.ls(root, detail=True) if entry['type'] == 'file']
  names = {entry['name'].rpartition('/')[2] for entry in found}
  if not {'dataset_info.json', 'features.json'} <= names:
    raise FileNotFoundError(
      f'{url}: found {", ".join(sorted(names)[:5]) or "no files"}, expected an RLDS dataset: '
      'dataset_info.json, features.json and shards. Give the directory that holds them, such as '
      f'{url}/1.0.0.'
    )
  files_there = sorted((entry['name'], int(entry['size']), _version(entry)) for entry in found)
  digest = hashlib.sha256(json.dumps([url, files_there]).encode()).hexdigest()[:16]
  return _Listing(system, {name: size for name, size, _ in files_there}, digest)


def _version(entry: Mapping[str, Any]) -> str:
  """What changes with a file even if its size does not."""
  by_name = {str(key).lower(): value for key, value in entry.items()}
  found = (by_name.get(key.lower()) for key in (*_VERSIONS, 'created'))
  return str(next((value for value in found if value is not None), ''))


def _fetch(url: str, listing: _Listing, target: pathlib.Path, bar: Bar) -> None:
  """Copies the files of a listing that are not here yet."""
  partial = target.with_name(f'.{target.name}.partial')
  partial.mkdir(parents=True, exist_ok=True)
  total = sum(listing.sizes.values())
  wanted = {
    name: partial / name.rpartition('/')[2]
    for name, size in listing.sizes.items()
    if not _is_there(partial / name.rpartition('/')[2], size)
  }
  room, needed = shutil.disk_usage(partial).free, sum(listing.sizes[name] for name in wanted)
  if needed > room:
    raise OSError(
      f'{url}: {needed / 1e9:.1f} GB are to be copied to {partial.parent}, where there is room for '
      f'{room / 1e9:.1f} GB; choose another config.data.cache (in `data`: --cache).'
    )

  def copy(name: str) -> int:
    place = wanted[name]
    unfinished = place.with_name(f'.{place.name}.{os.getpid()}')
    listing.system.get_file(name, str(unfinished))
    if not _is_there(unfinished, listing.sizes[name]):
      raise OSError(f'{name} ended before its {listing.sizes[name]} bytes')
    unfinished.replace(place)
    return listing.sizes[name]

  with bar(f'Copy {url}', round(total / 1e6), 'MB') as advance, _told(url):
    done = total - needed
    with futures.ThreadPoolExecutor(_AT_A_TIME) as pool:
      copies = [pool.submit(copy, name) for name in wanted]
      try:
        for copied in futures.as_completed(copies):
          done += copied.result()
          advance(round(done / 1e6))
      finally:
        pool.shutdown(cancel_futures=True)
  for other in partial.glob('.*'):  # of a copy that was stopped
    other.unlink()
  try:
    partial.rename(target)
  except OSError:
    if not target.exists():  # else another process was faster
      raise


def _is_there(path: pathlib.Path, size: int) -> bool:
  return path.is_file() and path.stat().st_size == size


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
  """Whatever a file system raises, in one message with what to do."""
  scheme = url.partition('://')[0]
  otherwise = _COPY.get('gs' if scheme == 'gcs' else scheme, _OTHERWISE).format(url=url)
  try:
    yield
  except (ImportError, ValueError) as error:
    package = _PACKAGES.get(scheme)
    install = f'`pip install {package}`, or ' if package else ''
    raise ValueError(
      f'{url} cannot be read from here ({error}); to read it: {install}{otherwise}.'
    ) from error
  except Exception as error:  # of a network, or of who may read what: as many kinds as systems
    raise OSError(
      f'{url} cannot be read ({type(error).__name__}: {error}); check the address and that you may '
      f'read it, and try again: files that are here are not copied twice. Or {otherwise}.'
    ) from error
