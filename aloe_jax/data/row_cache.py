"""Rows of numbers on disk: computed once, gone on with after a stop, mapped when read."""

from collections.abc import Callable
import os
import pathlib

import numpy as np


def build(
  path: pathlib.Path,
  shape: tuple[int, ...],
  dtype: np.dtype | type,
  compute: Callable[[np.ndarray], np.ndarray],
  *,
  batch_size: int,
  progress: Callable[[int], None],
) -> np.ndarray:
  """Opens an array, after computing the rows that are not there yet.

  Rows are appended to a file beside `path`, which gets its name when it is whole; a run that was
  stopped goes on after the last whole row.

  Args:
    path: of the finished `.npy` file. Its name tells all that the rows depend on.
    shape: (N, ...) of all rows.
    dtype: of the numbers; bfloat16, which NumPy has no name for, is kept as its bits.
    compute: rows [B] to their numbers [B, ...].
    batch_size: rows asked for at a time.
    progress: told the rows done so far.

  Returns:
    [N, ...] mapped from the disk.
  """
  dtype = np.dtype(dtype)
  stored = dtype if dtype.kind != 'V' else np.dtype(f'<u{dtype.itemsize}')
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.partial')
    row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
    with partial.open('ab') as file:
      if not file.tell():
        header = {'descr': stored.str, 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
      start = _header_size(partial)
      done = (file.tell() - start) // row_bytes
      file.truncate(start + done * row_bytes)
      for first in range(done, shape[0], batch_size):
        rows = np.arange(first, min(first + batch_size, shape[0]))
        file.write(compute(rows).astype(dtype).tobytes())
        file.flush()
        progress(int(rows[-1]) + 1)
      os.fsync(file.fileno())
    partial.rename(path)
  return np.load(path, mmap_mode='r').view(np.ndarray).view(dtype)


def _header_size(path: pathlib.Path) -> int:
  with path.open('rb') as file:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()
