"""A working directory in a bucket: what of it lies here, and how the two come to be the same.

A bucket cannot append to a file, map one into memory or rename a directory. So a run works in a
directory here, its twin. Checkpoints and saves are written to the bucket itself and never lie here;
all else is brought to the bucket whenever a phase or a save has ended, and fetched from there by
whoever begins. What is made anew for less than it costs to carry stays here alone: banks, indices
and features, compiled programs.

`contents.json`, written last, names what belongs together: of a transfer that was cut off nothing
is taken that it does not name. A run's files are read from the last that it writes to the first,
and brought over from the first to the last, so that nothing is ever there before what it tells of.
"""

from collections.abc import Collection, Iterator
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import threading

import google_crc32c

from aloe_jax import files
from aloe_jax import progress
from aloe_jax.buckets import storage
from aloe_jax.parallel import hosts

CONTENTS = 'contents.json'
IN_BUCKET = ('checkpoints', 'unfinished')  # directories that lie there alone
_HERE = ('bank', 'profile', 'train.lock')  # here alone, and what begins with a dot
_FIRST = 'metrics/metrics.jsonl'
_LAST = ('config.json', 'manifest.json', 'evaluations.json')  # tell of what came before them

_MAY_GO = {'config.json', _FIRST}  # messages about damage say that they may be moved away

_attached: dict[pathlib.Path, 'Twin'] = {}


class Twin:
  """A directory here that stands for one in a bucket, for as long as it is attached.

  Args:
    url: of the directory in the bucket, such as gs://bucket/runs/laundry.
    path: of the directory here.
    owned: whether all that changes there is changed here. Else files are added alone.
    without: directories in it that are not fetched.
  """

  def __init__(
    self, url: str, path: pathlib.Path, *, owned: bool = True, without: tuple[str, ...] = ()
  ):
    self.url, self.path = url.rstrip('/'), files.absolute(path)
    self._owned, self._without = owned, without
    self._pushing = threading.Lock()
    self._known: dict[str, str] = {}  # name: checksum of what is in the bucket
    self._listed: list[str] | None = None  # what `contents.json` there says

  @contextlib.contextmanager
  def attached(self) -> Iterator[None]:
    """Has `there`, `shown` and `push` know of it."""
    _attached[self.path] = self
    try:
      yield
    finally:
      del _attached[self.path]

  def pull(self) -> None:
    """Makes the directory here what the bucket holds; raises what `storage.told` and disks do."""
    everything = storage.find(self.url)
    found = {name: x for name, x in everything.items() if _is_carried(name)}
    listed = storage.read(f'{self.url}/{CONTENTS}')
    found.pop(CONTENTS, None)
    if listed is not None:
      names = set(_names(listed, f'{self.url}/{CONTENTS}'))
      if missing := sorted(names - found.keys() - _MAY_GO):
        raise storage.Told(
          f'{self.url}/{missing[0]} is missing, which {CONTENTS} names; put it back, or start '
          'another --workdir.'
        )
      found = {name: x for name, x in found.items() if name in names}
    elif not _has_checkpoint(everything):
      found = {}  # the first transfer was cut off; what it would have brought is made anew
    found = {name: x for name, x in found.items() if name.split('/')[0] not in self._without}
    self.path.mkdir(parents=True, exist_ok=True)
    for name in self._carried():
      if name not in found:
        (self.path / name).unlink()
    wanted = [name for name, there in found.items() if not self._is_here(name, there)]
    if wanted:

      def fetch(name: str) -> None:
        storage.download(f'{self.url}/{name}', self.path / name)

      with progress.bar(f'Fetch {self.url}', len(wanted), 'files') as advance:
        for done, _ in enumerate(storage.together(fetch, wanted), start=1):
          advance(done)
    for name in wanted:
      if not self._is_here(name, found[name]):
        raise storage.Told(f'{self.url}/{name} came with other bytes; give the same command again.')
    self._known = {name: there.crc32c for name, there in found.items()}
    self._listed = None if listed is None else sorted(found)
    self._remove_empty()

  def push(self) -> None:
    """Brings what has changed here to the bucket, by the first host alone."""
    if not hosts.is_first():
      return
    with self._pushing:
      if not self._owned:
        list(storage.together(self._upload, self._carried()))
        return
      late = {name: self._bytes(name) for name in reversed(_LAST)}
      others = [name for name in self._carried() if name not in late]
      held = {name: content for name, content in late.items() if content is not None}
      if _FIRST in others:
        others.remove(_FIRST)
        metrics = self._bytes(_FIRST)
        if metrics is not None:
          self._write(_FIRST, metrics)
      list(storage.together(self._upload, others))
      for name in _LAST:
        if name in held:
          self._write(name, held[name])
      names = sorted({*others, *held, *([_FIRST] if _FIRST in self._known else [])})
      if names != self._listed:
        storage.write(f'{self.url}/{CONTENTS}', json.dumps(names, indent=1).encode())
        self._listed = names
        gone = self._known.keys() - set(names)
        storage.remove(self.url, sorted(gone))
        self._known = {name: self._known[name] for name in names}

  def _bytes(self, name: str) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
      return (self.path / name).read_bytes()
    return None

  def _write(self, name: str, content: bytes) -> None:
    checksum = f'{google_crc32c.value(content):08x}'
    if self._known.get(name) != checksum:
      storage.write(f'{self.url}/{name}', content)
      self._known[name] = checksum

  def _upload(self, name: str) -> None:
    """Brings a file over, a copy of it where it may grow meanwhile."""
    path = self.path / name
    if name.startswith('metrics/'):
      self._write(name, path.read_bytes())
      return
    checksum = _checksum(path)
    if self._known.get(name) != checksum:
      storage.upload(path, f'{self.url}/{name}')
      self._known[name] = checksum

  def _carried(self) -> list[str]:
    """Names of the files here that belong in the bucket."""
    names = []
    for root, directories, found in os.walk(self.path):
      below = pathlib.Path(root).relative_to(self.path)
      directories[:] = [d for d in directories if _is_carried(str(below / d))]
      names += [str(below / name) for name in found]
    return sorted(name for name in names if _is_carried(name))

  def _is_here(self, name: str, there: storage.Object) -> bool:
    path = self.path / name
    if not path.is_file() or path.stat().st_size != there.size:
      return False
    return not there.crc32c or _checksum(path) == there.crc32c

  def _remove_empty(self) -> None:
    """Removes directories whose files have gone: an empty one may be taken for one of episodes."""
    for place in sorted((self.path / 'episodes').glob('*'), reverse=True):
      if place.is_dir() and not place.name.startswith('.') and not any(place.rglob('[!.]*')):
        shutil.rmtree(place, ignore_errors=True)


def place(url: str, cache: pathlib.Path, purpose: str) -> pathlib.Path:
  """Where the twin of an address lies in a cache; commands that only read have one of their own."""
  url = url.rstrip('/')
  digest = hashlib.sha256(url.encode()).hexdigest()[:12]
  return files.absolute(cache) / purpose / digest / url.rpartition('/')[2]


def there(path: pathlib.Path) -> pathlib.Path:
  """Where what belongs at a path is kept: in the bucket, for checkpoints and saves of a twin."""
  found = _of(path)
  if found is None:
    return files.absolute(path)
  below = files.absolute(path).relative_to(found.path)
  return (
    files.place(f'{found.url}/{below}') if below.parts[:1][0] in IN_BUCKET else found.path / below
  )


def shown(path: pathlib.Path) -> str:
  """A path as a person knows it: of a twin, the place in the bucket that it stands for."""
  found = _of(path)
  if found is None:
    return str(path)
  below = files.absolute(path).relative_to(found.path)
  return found.url if below == pathlib.Path() else f'{found.url}/{below}'


def told(message: str) -> str:
  """A message with the places in buckets that paths in it stand for: there things are put right."""
  for path, found in _attached.items():
    message = message.replace(str(path), found.url)
  return message


def push() -> None:
  """Brings what has changed in every twin to its bucket; nothing where there is none."""
  for found in list(_attached.values()):
    found.push()


def pull() -> None:
  """Has every other host see what the first has pushed; all of them call it."""
  for found in list(_attached.values()):
    if not hosts.is_first():
      found.pull()


def _of(path: pathlib.Path) -> Twin | None:
  if not _attached or files.is_url(path):
    return None
  path = files.absolute(path)
  return next((twin for place, twin in _attached.items() if path.is_relative_to(place)), None)


def _is_carried(name: str) -> bool:
  parts = pathlib.PurePosixPath(name).parts
  if not parts or parts[0] in IN_BUCKET or parts[0] in _HERE:
    return False
  return not any(part.startswith('.') for part in parts) and parts[:2] != ('report', 'bank')


def _has_checkpoint(names: Collection[str]) -> bool:
  """Whether a whole checkpoint lies in a bucket, as of a run that somebody has copied there."""
  found = (re.fullmatch(r'checkpoints/(\d+)/meta/metadata', name) for name in names)
  return any(match and f'checkpoints/.{match[1]}.writing' not in names for match in found)


def _names(content: bytes, where: str) -> list[str]:
  try:
    found = json.loads(content)
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
      return found
  except ValueError:
    pass
  raise storage.Told(
    f'{where}: found {content[:60]!r}, expected a JSON list of names; put it back, or remove it, '
    'and all that lies beside it is taken.'
  )


def _checksum(path: pathlib.Path) -> str:
  value = 0
  with path.open('rb') as file:
    while chunk := file.read(2**24):
      value = google_crc32c.extend(value, chunk)
  return f'{value:08x}'
