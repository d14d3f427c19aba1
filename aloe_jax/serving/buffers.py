"""Memory of large messages, kept for the next one."""

import ctypes
import sys

_TRIM, _MAP = -1, -3  # of mallopt, in malloc.h
_KEPT = 256 * 2**20  # bytes at the end of the heap
_MAPPED = 64 * 2**20  # bytes of a buffer from which on it is mapped on its own


def keep() -> bool:
  """Has the C library keep what it freed; whether it can be told so.

  Every message with camera images takes a few buffers of megabytes. glibc gives these back to the
  system at once, and a page that comes anew has to be cleared: that took longer than all else that
  is done with a message.
  """
  if not sys.platform.startswith('linux'):
    return False
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # musl has none
  return mallopt is not None and bool(mallopt(_TRIM, _KEPT)) and bool(mallopt(_MAP, _MAPPED))
