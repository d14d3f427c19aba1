"""Whether the arrays that Orbax has written are all there, before any of them is read."""

from collections.abc import Iterator, Sequence
import pathlib
import urllib.parse

import tensorstore

from aloe_jax import files

NEEDED = ('_METADATA', 'manifest.ocdbt')


def check(item: pathlib.Path, described: Sequence[str] = ('_METADATA',)) -> None:
  """Reads all that says where the arrays lie, and looks whether the files reach that far.

  Orbax reads this once an array, all at once, and would bury one error under as many.

  Args:
    item: directory of an Orbax item.
    described: files of JSON in it, patterns; those that are not there are passed over.

  Raises:
    ValueError: a file is missing, cut short or damaged; names it relative to the item.
  """
  for name in NEEDED:
    if not (item / name).exists():
      raise ValueError(f'{name} is missing.')
  for path in [path for pattern in described for path in sorted(item.glob(pattern))]:
    try:
      files.parse_json(path.read_text())
    except ValueError as error:
      raise ValueError(f'{path.relative_to(item)}: {files.no_json(path, error)}.') from error
  try:
    base = tensorstore.KvStore.open(_described(item)).result()
    root = tensorstore.ocdbt.dump(base).result()['versions'][-1]['root']
    extents = list(_extents(base, root['location']))
  except ValueError as error:
    raise ValueError(in_short(error)) from error
  ends: dict[str, int] = {}
  for name, end in extents:
    ends[name] = max(end, ends.get(name, 0))
  for name, end in ends.items():
    size = files.size(item / name) if (item / name).exists() else 0
    if size < end:
      raise ValueError(f'{name} has {size} bytes, expected {end} or more.')


def _described(item: pathlib.Path) -> dict[str, str]:
  """Where an item lies, in TensorStore's words."""
  if not files.is_url(item):
    return {'driver': 'file', 'path': f'{item}/'}
  bucket, _, path = str(item).partition('://')[2].partition('/')
  return {'driver': 'gcs', 'bucket': bucket, 'path': f'{path}/'}


def in_short(error: BaseException) -> str:
  """What TensorStore says, less its settings."""
  return str(error).partition(' [tensorstore_spec')[0]


def _extents(base: tensorstore.KvStore, location: str) -> Iterator[tuple[str, int]]:
  """File, relative to the item, and end in it of each array, below a node of the index.

  Args:
    base: of the item.
    location: 'btreenode:DIRECTORY:FILE:OFFSET:LENGTH', or 'value:...' of an array's bytes.
  """
  kind, directory, file, offset, length = location.split(':')
  yield urllib.parse.unquote(directory + file), int(offset) + int(length)
  if kind == 'btreenode':
    for entry in tensorstore.ocdbt.dump(base, location).result()['entries']:
      below = entry.get('location') or entry.get('indirect_value')
      if below:  # else the array is so small that it lies in the index
        yield from _extents(base, below)
