"""Files that appear whole or not at all, and JSON of which a damaged file is named."""

from collections.abc import Collection, Iterator
import contextlib
import json
import os
import pathlib
import re
from typing import Any, cast
import urllib.parse

from etils import epath
from etils.epath import gpath
import fsspec
import numpy as np

from aloe_jax import disk

_FILE_URL = re.compile(r'file:/+(localhost/+)?', re.IGNORECASE)  # of a place here


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Another name to write a file under, which takes the place of `path` once it is on the disk.

  Nothing is left of it after an error.

  Args:
    path: of the file; the directory it lies in is created.

  Raises:
    disk.FullError: there is no room for it.
  """
  temporary = path.with_name(f'.{os.getpid()}.{path.name}')
  try:
    with disk.writing('it', path):
      path.parent.mkdir(parents=True, exist_ok=True)
      yield temporary
      with temporary.open('rb') as file:
        os.fsync(file.fileno())  # else a power cut may leave the new name and no content
      temporary.replace(path)
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)


def expanded(value: Any) -> Any:
  """A path, or every one of several, without `~` and `..`; others, and other values, as they are.

  A shell leaves `~` in quotes, and behind `=`, as it is: the home of who runs this takes its place.
  file:///folder is /folder. Libraries that write arrays refuse `..`.
  """
  if isinstance(value, list | tuple):
    return type(value)(map(expanded, value))
  if isinstance(value, str):
    if is_file_url := _FILE_URL.match(value):
      value = urllib.parse.unquote('/' + value[is_file_url.end() :])
    return value if is_url(value) else _without_parents(os.path.expanduser(value))
  return pathlib.Path(expanded(str(value))) if isinstance(value, pathlib.Path) else value


def absolute(path: str | os.PathLike) -> pathlib.Path:
  """A path as `expanded` has it, from the root on; an address in a bucket as it is."""
  if is_url(path):
    return place(path)
  return pathlib.Path(os.path.abspath(expanded(os.fspath(path))))


def place(path: str | os.PathLike) -> pathlib.Path:
  """A path here, or one in a bucket, which is asked and read in the same words.

  Only `stat` has other fields there; see `size`.
  """
  if not is_url(path):
    return pathlib.Path(path)
  reach_buckets()
  scheme, _, rest = os.fspath(path).partition(':')
  return cast(pathlib.Path, epath.Path(f'{scheme}://{rest.strip("/")}'))


def reach_buckets() -> None:
  """Has Orbax and `place` reach buckets as this package does, and always see what is there now."""
  os.environ['EPATH_USE_TF'] = 'false'  # else another library is used wherever TensorFlow is
  gpath._is_tf_installed.cache_clear()  # which is asked once, for a path here too
  for scheme in ('gcs', 'gs'):
    fsspec.config.conf.setdefault(scheme, {}).setdefault('use_listings_cache', False)


def size(path: pathlib.Path) -> int:
  """Bytes of a file, here or in a bucket."""
  about: Any = path.stat()
  return about.length if is_url(path) else about.st_size


def _without_parents(path: str) -> str:
  """A path without `..`: absolute, and as the system follows links up to the last of them."""
  parts = pathlib.PurePath(path).parts
  if '..' not in parts:
    return path
  end = len(parts) - parts[::-1].index('..')
  return os.path.join(os.path.realpath(os.path.join(*parts[:end])), *parts[end:])


def is_url(path: str | os.PathLike) -> bool:
  """Whether a path names a place in a bucket, such as gs://bucket/folder, and none here.

  `pathlib` makes gs:/bucket/folder of it, which is meant too.
  """
  path = os.fspath(path)
  return re.match(r'[A-Za-z][\w+.-]+:/', path) is not None and not _FILE_URL.match(path)


def check_is_here(path: str | os.PathLike, what: str) -> None:
  """Raises ValueError if a path that has to be here is in a bucket; `what` names it."""
  if is_url(path):
    raise ValueError(
      f'{what} is {os.fspath(path)!r}, which is in a bucket; expected a file or a directory here. '
      'In buckets may lie: --workdir, --checkpoint, --against, --to of `export`, '
      'config.actor.checkpoint, config.data.episodes, and DIR of `data`.'
    )


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes or replaces a text file; see `replacing`. In a bucket that is so of every object."""
  if is_url(path):
    path.write_text(text, encoding='utf-8')
    return
  with replacing(path) as temporary:
    temporary.write_text(text, encoding='utf-8')


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes or replaces an .npz file; see `replacing`."""
  with replacing(path) as temporary, temporary.open('wb') as file:
    np.savez(file, **arrays)


def parse_json(text: str | bytes, *, each_once: bool = False) -> Any:
  """What JSON says.

  Args:
    text: of it.
    each_once: whether a name that an object has twice is an error, as in what a person wrote:
      Python takes the last.

  Raises:
    ValueError: it is none; also where lists lie in lists until Python gives up.
  """
  try:
    return json.loads(text, object_pairs_hook=_each_once if each_once else None)
  except RecursionError:
    raise ValueError('it is nested too deep') from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'{twice!r} is told twice; expected it once')
  return found


def read_json(path: pathlib.Path, advice: str, *, each_once: bool = False) -> Any:
  """What a JSON file holds.

  Args:
    path: of the file.
    advice: what is to be done where it is damaged; ends the message.
    each_once: as for `parse_json`.

  Raises:
    OSError: it cannot be read.
    ValueError: it is not text, or no JSON.
  """
  try:
    return parse_json(path.read_text(encoding='utf-8'), each_once=each_once)
  except IsADirectoryError as error:
    raise ValueError(f'{path}: found a directory, expected a file of JSON; {advice}') from error
  except ValueError as error:
    raise ValueError(f'{path}: {no_json(path, error)}; {advice}') from error


def read_json_lines(path: pathlib.Path, advice: str) -> list[dict[str, Any]]:
  """The objects of a file with one in a line; arguments and errors as for `read_json`.

  A file without any is damaged too: nobody writes one.
  """
  try:
    lines = path.read_text(encoding='utf-8').splitlines()
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: {no_json(path, error)}; {advice}') from error
  found = []
  for number, line in enumerate(lines, start=1):
    try:
      value = parse_json(line) if line.strip() else {}
    except ValueError:
      value = None
    if not isinstance(value, dict):
      raise ValueError(
        f'{path}, line {number}: found {line.strip()!r:.80}, expected a whole JSON object; {advice}'
      )
    if line.strip():
      found.append(value)
  if not found:
    raise ValueError(f'{path}: found an empty file, expected a JSON object in each line; {advice}')
  return found


def no_json(path: pathlib.Path, error: ValueError) -> str:
  """What is wrong with a file that was to hold JSON: that it is empty, cut off or damaged."""
  if not size(path):
    return 'found an empty file, expected JSON'
  if isinstance(error, UnicodeDecodeError):
    return f'found no whole JSON: it is no text ({error})'
  if not isinstance(error, json.JSONDecodeError):
    return f'found no whole JSON: {error}'
  rest = error.doc.rstrip()[error.pos :]
  begins_a_word = any(word.startswith(rest) for word in ('true', 'false', 'null', '-'))
  if begins_a_word or error.msg.startswith('Unterminated'):
    return f'found no whole JSON: it is cut off in line {error.lineno}'
  return f'found no whole JSON: line {error.lineno}, column {error.colno}: {error.msg}'


def read_entries(path: pathlib.Path, needed: Collection[str], advice: str) -> list[dict[str, Any]]:
  """The list of objects that a JSON file holds; [] where there is no such file.

  Args:
    path: of the file.
    needed: names that each of them has.
    advice: as for `read_json`.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged, or something else.
  """
  if not path.exists():
    return []
  entries = read_json(path, advice)
  if not isinstance(entries, list):
    raise ValueError(
      f'{path}: found {type(entries).__name__}, expected a list of entries; {advice}'
    )
  for index, entry in enumerate(entries):
    lacks = [name for name in needed if not isinstance(entry, dict) or name not in entry]
    if lacks:
      raise ValueError(
        f'{path}: entry {index}: found {entry!r:.80}, expected an object with {", ".join(lacks)}; '
        f'{advice}'
      )
  return entries
