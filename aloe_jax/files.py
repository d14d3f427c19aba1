"""Files that appear whole or not at all."""

import os
import pathlib

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
