"""One error of a write that fails: the one raised, and none of those that Orbax's threads print."""

from collections.abc import Callable, Iterator
import contextlib
import logging as python_logging
import sys
import threading
from typing import Any

from absl import logging


@contextlib.contextmanager
def raised() -> Iterator[None]:
  """Writes by Orbax and TensorStore, which log and print of an error more than they raise.

  Some of their threads are still at work when one has failed, and fail after it, up to the end of
  the process: from then on nothing is shown that comes from another thread than the main one.
  """
  verbosity, hooks = logging.get_verbosity(), (sys.unraisablehook, threading.excepthook)
  logging.set_verbosity(logging.FATAL)
  sys.unraisablehook, threading.excepthook = map(_OfMainThread, hooks)
  try:
    yield
  except BaseException:
    logging.get_absl_logger().addFilter(_is_of_main_thread)
    python_logging.getLogger('asyncio').disabled = True  # tells of tasks, in any thread
    raise
  else:
    sys.unraisablehook, threading.excepthook = hooks
  finally:
    logging.set_verbosity(verbosity)


class _OfMainThread:
  """Calls a hook in the main thread alone."""

  def __init__(self, hook: Callable[[Any], Any]):
    self._hook = hook

  def __call__(self, problem: Any) -> None:
    if threading.current_thread() is threading.main_thread():
      self._hook(problem)


def _is_of_main_thread(record: python_logging.LogRecord) -> bool:
  return record.thread == threading.main_thread().ident
