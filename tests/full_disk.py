"""A disk that is full, as a process meets it that may make no file longer."""

import contextlib
import resource


@contextlib.contextmanager
def of(size):
  """Takes `size` bytes a file; a write across that end is cut short there, as on a full disk."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
