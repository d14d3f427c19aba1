"""Files that appear whole or not at all, and JSON of which a damaged file is named."""

from collections.abc import Collection
import json
import os
import pathlib
from typing import Any

import numpy as np


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes or replaces a text file by a rename, creating the directory it lies in."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  temporary.write_text(text)
  temporary.replace(path)


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes or replaces an .npz file by a rename."""
  temporary = path.with_name(f'.{os.getpid()}.{path.name}')
  with temporary.open('wb') as file:
    np.savez(file, **arrays)
  temporary.replace(path)


def read_json(path: pathlib.Path, advice: str) -> Any:
  """What a JSON file holds.

  Args:
    path: of the file.
    advice: what is to be done where it is damaged; ends the message.

  Raises:
    OSError: it cannot be read.
    ValueError: it is not text, or no JSON.
  """
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: found no whole JSON ({error}); {advice}') from error


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
