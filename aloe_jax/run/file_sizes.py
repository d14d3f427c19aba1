"""Sizes of a checkpoint's arrays on disk, kept beside them: a copy that was cut short is named.

All that is read may be whole although a file has lost its end, and then nothing else tells.
"""

from collections.abc import Sequence
import json
import pathlib

from aloe_jax import files

NAME = 'sizes.json'


def write(directory: pathlib.Path, items: Sequence[str]) -> None:
  """Notes the size in bytes of every file of some items of a checkpoint.

  Args:
    directory: of the checkpoint.
    items: names of directories in it; those that are not there are passed over.
  """
  sizes = {
    str(path.relative_to(directory)): path.stat().st_size
    for item in items
    for path in sorted((directory / item).rglob('*'))
    if path.is_file()
  }
  files.write_text(directory / NAME, json.dumps(sizes, indent=1))


def check(directory: pathlib.Path, advice: str) -> None:
  """Compares the files of a checkpoint with what `write` noted; older ones have no notes.

  Args:
    directory: of the checkpoint.
    advice: what is to be done about a damaged one, for messages.

  Raises:
    ValueError: naming the file that is missing, cut or longer than it was.
  """
  notes = directory / NAME
  if not notes.exists():
    return
  sizes = files.read_json(notes, advice)
  if not isinstance(sizes, dict):
    raise ValueError(f'{notes}: found {type(sizes).__name__}, expected an object; {advice}')
  for name, expected in sizes.items():
    path = directory / name
    if not path.exists():
      raise ValueError(f'{path} is missing; {advice}')
    if (found := path.stat().st_size) != expected:
      raise ValueError(f'{path}: found {found} bytes, expected {expected}; {advice}')
