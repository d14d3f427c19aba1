"""Rows of numbers on disk: computed once, gone on with after a stop, mapped when read."""

from collections.abc import Callable
import io
import os
import pathlib
import time
from typing import IO

from absl import logging
import jax
from jax.experimental import multihost_utils
import numpy as np

from aloe_jax import disk
from aloe_jax.parallel import hosts
from aloe_jax.parallel import shared_disk

_SYNC_SECONDS = 5.0  # between two times that what was computed is made safe


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

  Every host computes its share and writes it to its place in one file, which gets its name when it
  is whole; where hosts share no disk, each writes the shares of all to a file of its own. All of
  them call `compute` equally often, so that it may run on the devices of all. A run that was
  stopped goes on after the last batch that was safe on disk; with another number of hosts it
  begins anew.

  Args:
    path: of the finished `.npy` file. Its name tells all that the rows depend on.
    shape: (N, ...) of all rows.
    dtype: of the numbers; bfloat16, which NumPy has no name for, is kept as its bits.
    compute: rows [batch_size] to their numbers [batch_size, ...]; past the end it is asked for
      the last row again, so that one program serves all calls.
    batch_size: rows that each host computes at a time.
    progress: told the rows done so far, by all hosts.

  Returns:
    [N, ...] mapped from the disk.

  Raises:
    FileNotFoundError: a host has lost it.
    disk.FullError: there is no room; the same call goes on later.
  """
  dtype = np.dtype(dtype)
  stored = dtype if dtype.kind != 'V' else np.dtype(f'<u{dtype.itemsize}')
  if not hosts.lowest(_is_whole(path, shape, stored)):
    with disk.writing('rows that are computed once', path):
      path.parent.mkdir(parents=True, exist_ok=True)
      shared = shared_disk.is_shared(path.parent)
      _compute(path, shape, dtype, stored, compute, batch_size, progress, shared=shared)
  if not hosts.lowest(path.exists()):
    raise FileNotFoundError(
      f'{path}: it was written, but not every host finds it; look at its disk.'
    )
  return np.load(path, mmap_mode='r').view(np.ndarray).view(dtype)


def _is_whole(path: pathlib.Path, shape: tuple[int, ...], stored: np.dtype) -> bool:
  """Whether all rows are there; says so of a file that was damaged since."""
  if not path.exists():
    return False
  try:
    found = np.load(path, mmap_mode='r')
  except (ValueError, EOFError):  # another header, or fewer bytes than it says
    found = None
  if found is not None and (found.shape, found.dtype) == (shape, stored):
    return True
  logging.warning('%s is damaged; what it held is computed again.', path)
  return False


def _compute(
  path: pathlib.Path,
  shape: tuple[int, ...],
  dtype: np.dtype,
  stored: np.dtype,
  compute: Callable[[np.ndarray], np.ndarray],
  batch_size: int,
  progress: Callable[[int], None],
  *,
  shared: bool,
) -> None:
  host, count = jax.process_index(), jax.process_count()
  header = io.BytesIO()
  description = {'descr': stored.str, 'fortran_order': False, 'shape': shape}
  np.lib.format.write_array_header_1_0(header, description)
  row_bytes = stored.itemsize * int(np.prod(shape[1:]))
  partial = path.with_name(f'.{path.name}.partial')
  # One byte for each of this host's batches that is safe.
  marks = path.with_name(f'{partial.name}.{host}-of-{count}')
  with _opened(partial) as file, marks.open('ab') as safe:
    done = hosts.lowest(safe.tell() if partial.stat().st_size else 0)
    safe.truncate(done)
    file.write(header.getvalue())
    file.flush()
    unsafe, synced = 0, time.monotonic()
    try:
      for first in range(done * count * batch_size, shape[0], count * batch_size):
        own = np.arange(batch_size) + first + host * batch_size
        numbers = compute(np.minimum(own, shape[0] - 1)).astype(dtype)
        begin = int(own[0])
        if not shared:
          numbers, begin = _of_all(numbers), first
        numbers = numbers[: max(shape[0] - begin, 0)]
        offset = header.tell() + begin * row_bytes
        disk.write_all(file.fileno(), numbers.tobytes(), offset)
        unsafe += 1
        if time.monotonic() > synced + _SYNC_SECONDS:
          _make_safe(file, safe, unsafe)
          unsafe, synced = 0, time.monotonic()
        progress(min(first + count * batch_size, shape[0]))
    finally:
      _make_safe(file, safe, unsafe)
  hosts.wait(f'{path.name} is written')
  if host == 0 or not shared:
    partial.rename(path)
    for marks in path.parent.glob(f'{partial.name}.*-of-*'):
      marks.unlink()
  hosts.wait(f'{path.name} has its name')


def _of_all(numbers: np.ndarray) -> np.ndarray:
  """What all hosts have computed, [hosts * B, ...] in the order of their numbers."""
  with jax.transfer_guard('allow'):  # from every host to every other, through the devices
    found = np.asarray(multihost_utils.process_allgather(numbers))
  return found.reshape(-1, *numbers.shape[1:])


def _opened(path: pathlib.Path) -> IO[bytes]:
  """A file to write into, new or with what it holds."""
  return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), 'r+b')


def _make_safe(file: IO[bytes], marks: IO[bytes], batches: int) -> None:
  os.fsync(file.fileno())
  marks.write(b'.' * batches)
  marks.flush()
