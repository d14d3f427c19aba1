"""A .npy file that grows row by row, for arrays that do not fit in memory."""

import os
import pathlib

import numpy as np


class GrowingArray:
  """Writes an array whose number of rows is not known yet; `close` makes the file valid.

  NumPy leaves room in the header for any number of rows, so it is corrected in place.
  """

  def __init__(self, path: pathlib.Path, shape: tuple[int, ...], dtype: np.dtype | type):
    """Creates the file.

    Args:
      path: of the file.
      shape: of one row.
      dtype: of the numbers.
    """
    self._shape = shape
    self._dtype = np.dtype(dtype)
    self._rows = 0
    self._file = path.open('wb')
    self._write_header()

  def append(self, rows: np.ndarray) -> None:
    """Adds [n, ...] rows."""
    if rows.shape[1:] != self._shape:
      raise ValueError(f'found rows of {list(rows.shape[1:])}, expected {list(self._shape)}.')
    self._file.write(np.ascontiguousarray(rows, self._dtype).data)
    self._rows += len(rows)

  def close(self) -> None:
    """Corrects the header and waits for the disk."""
    with self._file:
      self._file.seek(0)
      self._write_header()
      self._file.flush()
      os.fsync(self._file.fileno())

  def _write_header(self) -> None:
    header = {
      'descr': np.lib.format.dtype_to_descr(self._dtype),
      'fortran_order': False,
      'shape': (self._rows, *self._shape),
    }
    np.lib.format.write_array_header_1_0(self._file, header)
