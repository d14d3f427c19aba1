"""Memory of batches that is used again: fresh pages cost as much as filling them."""

import math

import numpy as np


class Scratch:
  """Lends memory to arrays and takes it back when the last view of one is gone."""

  def __init__(self) -> None:
    self._unused: list[np.ndarray] = []

  def empty(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An array of undefined content; any number of threads may ask."""
    dtype = np.dtype(dtype)
    memory = np.asarray(_Loan(self._unused, math.prod(shape) * dtype.itemsize))
    return memory.view(dtype).reshape(shape)


class _Loan:
  """What NumPy takes for the owner of the memory: it lives as long as any view of it."""

  def __init__(self, unused: list[np.ndarray], size: int):
    memory = unused.pop() if unused else np.empty(size, np.uint8)
    self._memory = memory if memory.size == size else np.empty(size, np.uint8)
    self._unused = unused
    self.__array_interface__ = self._memory.__array_interface__

  def __del__(self) -> None:
    self._unused.append(self._memory)
