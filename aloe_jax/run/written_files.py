"""Sizes and checksums of the arrays of a checkpoint, kept beside them: what changed is named.

TensorStore checks its index and none of the numbers: of a flipped bit, as of a copy that was cut
short, nothing else tells. In a bucket the service keeps the same checksum of every object, and
looks after it: there it is asked, and nothing is read for it.
"""

from collections.abc import Iterable
import json
import pathlib
from typing import Any

import google_crc32c

from aloe_jax import files
from aloe_jax.buckets import storage

NAME = 'files.json'
OLD_NAME = 'sizes.json'  # of earlier versions, which noted no checksums
_CHUNK = 2**24  # bytes read at a time


def write(directory: pathlib.Path, items: Iterable[str], known: dict[str, Any]) -> None:
  """Notes size and CRC-32C of every file of some items of a checkpoint.

  Args:
    directory: of the checkpoint.
    items: names of directories in it.
    known: what `read` says of files that were noted elsewhere and are the same here.
  """
  sizes = _sizes(directory, items)
  notes = {name: note for name, note in known.items() if name in sizes}
  there = storage.find(directory) if files.is_url(directory) else {}
  for name, size in sizes.items():
    if name not in notes:
      crc32c = there[name].crc32c if there else _checksum(directory / name)
      notes[name] = {'bytes': size, 'crc32c': crc32c}
  files.write_text(directory / NAME, json.dumps(notes, indent=1, sort_keys=True))


def read(directory: pathlib.Path, advice: str = '') -> dict[str, Any]:
  """{file: {'bytes', and 'crc32c' unless an earlier version wrote it}}; {} where there is none.

  Args:
    directory: of the checkpoint.
    advice: what is to be done about a damaged one, for messages.

  Raises:
    ValueError: the notes themselves are damaged.
  """
  for name in (NAME, OLD_NAME):
    path = directory / name
    if not path.exists():
      continue
    notes = files.read_json(path, advice)
    if not isinstance(notes, dict):
      raise ValueError(f'{path}: found {type(notes).__name__}, expected an object; {advice}')
    if name == OLD_NAME:
      return {file: {'bytes': size} for file, size in notes.items()}
    for file, note in notes.items():
      if not (isinstance(note, dict) and {'bytes', 'crc32c'} <= note.keys()):
        raise ValueError(
          f'{path}: {file}: found {note!r:.80}, expected an object with bytes, crc32c; {advice}'
        )
    return notes
  return {}


def check_sizes(directory: pathlib.Path, advice: str) -> None:
  """Compares the files of a checkpoint with what was noted; reads none of them.

  Args:
    directory, advice: as for `read`.

  Raises:
    ValueError: naming the file that is missing, cut or longer than it was.
  """
  notes = read(directory, advice)
  sizes = _sizes(directory, {pathlib.PurePath(name).parts[0] for name in notes})
  for name, note in notes.items():
    if name not in sizes:
      raise ValueError(f'{directory / name} is missing; {advice}')
    if sizes[name] != note['bytes']:
      raise ValueError(
        f'{directory / name}: found {sizes[name]} bytes, expected {note["bytes"]}; {advice}'
      )


def damaged(
  directory: pathlib.Path, item: str, *, share: tuple[int, int] = (0, 1)
) -> pathlib.Path | None:
  """Reads all files of an item; the first one whose checksum is another than was noted, or None.

  Args:
    directory: of the checkpoint.
    item: name of a directory in it.
    share: (i, n) to read every n-th file from the i-th on.
  """
  notes = read(directory)
  names = sorted(name for name in notes if pathlib.PurePath(name).parts[0] == item)
  there = storage.find(directory / item) if files.is_url(directory) else None
  for name in names[share[0] :: share[1]]:
    expected = notes[name].get('crc32c')
    if expected is None:
      continue
    if there is None:
      found = _checksum(directory / name)
    else:
      found = there[name.partition('/')[2]].crc32c if name.partition('/')[2] in there else ''
    if found != expected:
      return directory / name
  return None


def _sizes(directory: pathlib.Path, items: Iterable[str]) -> dict[str, int]:
  """{name below a checkpoint: bytes} of all files of some items of it."""
  wanted = sorted(set(items))
  if files.is_url(directory):
    found = storage.find(directory)
    return {name: x.size for name, x in found.items() if name.partition('/')[0] in wanted}
  return {
    str(path.relative_to(directory)): path.stat().st_size
    for item in wanted
    for path in sorted((directory / item).rglob('*'))
    if path.is_file()
  }


def _checksum(path: pathlib.Path) -> str:
  """CRC-32C of a file, as eight hexadecimal digits."""
  value = 0
  with path.open('rb') as file:
    while chunk := file.read(_CHUNK):
      value = google_crc32c.extend(value, chunk)
  return f'{value:08x}'
