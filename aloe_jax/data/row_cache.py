"""Features of every frame on disk: computed once, gone on with after a stop, mapped when read."""

from collections.abc import Callable
import os
import pathlib

import jax.numpy as jnp
import numpy as np


def build(
  path: pathlib.Path,
  shape: tuple[int, ...],
  encode: Callable[[np.ndarray], np.ndarray],
  *,
  batch_size: int,
  progress: Callable[[int], None],
) -> np.ndarray:
  """Opens the features of a dataset, after computing those that are not there yet.

  Rows are appended to a file beside `path`, which gets its name when it is whole; a run that was
  stopped goes on after the last whole row.

  Args:
    path: of the finished `.npy` file. Its name tells all that the features depend on.
    shape: (N, ...) of all features.
    encode: rows [B] to features [B, ...].
    batch_size: rows asked for at a time.
    progress: told the rows done so far.

  Returns:
    [N, ...] bfloat16, mapped from the disk.
  """
  if not path.exists():
    partial = path.with_name(f'.{path.name}.partial')
    row_bytes = 2 * int(np.prod(shape[1:]))
    with partial.open('ab') as file:
      if not file.tell():
        # NumPy has no bfloat16 of its own to keep.
        header = {'descr': '<u2', 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
      start = _header_size(partial)
      done = (file.tell() - start) // row_bytes
      file.truncate(start + done * row_bytes)
      for first in range(done, shape[0], batch_size):
        rows = np.arange(first, min(first + batch_size, shape[0]))
        file.write(encode(rows).astype(jnp.bfloat16).tobytes())
        file.flush()
        progress(int(rows[-1]) + 1)
      os.fsync(file.fileno())
    partial.rename(path)
  return np.load(path, mmap_mode='r').view(np.ndarray).view(jnp.bfloat16)


def _header_size(path: pathlib.Path) -> int:
  with path.open('rb') as file:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()
