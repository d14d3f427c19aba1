"""One process at a time works in a run's directory: the others are told which, and stop.

`train.lock` in the directory names the process, and the system's own lock on the file says whether
it is still there: that one ends with the process, whatever ended it. A file system that has no such
locks is gone by what the file says.
"""

from collections.abc import Iterator
import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import shlex
import signal
import socket
import stat
import sys
import threading
import time
from typing import Any

from aloe_jax import disk
from aloe_jax import progress
from aloe_jax.parallel import hosts

NAME = 'train.lock'
_UNSUPPORTED = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)
_UNTOLD_SECONDS = 2.0  # for whoever has just made the file to say who it is
_SINCE = '%Y-%m-%d %H:%M:%S %z'


@contextlib.contextmanager
def held(workdir: pathlib.Path, name: str = NAME) -> Iterator[int | None]:
  """Keeps every other `train` out of a working directory, which is created if it is new.

  Of several hosts the first takes the lock for all. It goes at the end, at an error, at Ctrl-C and
  at SIGTERM; what a process that was killed leaves is taken over, and said.

  Args:
    workdir: of the run.
    name: of the file; another one is a lock of its own, for others than `train`.

  Yields:
    The descriptor of the file, None on other hosts than the first: a process that it is passed to
    holds the lock too, and keeps it if this one is killed.

  Raises:
    FileExistsError: another process works there; names it.
  """
  with contextlib.ExitStack() as stack:
    problem, descriptor = '', None
    if hosts.is_first():
      try:
        with _undisturbed():  # between the lock and what is to release it
          lock = _Lock(workdir / name)
          stack.callback(lock.release)
          descriptor = lock.descriptor
      except OSError as error:  # the other hosts wait for the answer
        problem = disk.told(error) or str(error)
    if problem := hosts.exchange('the working directory is locked', problem)[0]:
      raise FileExistsError(problem)
    yield descriptor


class _Lock:
  """The lock of a directory, held from its making to `release`."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    self._made = not path.parent.exists()
    self.descriptor = _take(self._path)

  def release(self) -> None:
    """Removes the file, and a directory in which nothing came to be.

    Where the system refuses, as in a directory that has become read-only, the file stays: the next
    process takes it over, and what the run ends with is told.
    """
    with contextlib.suppress(OSError):
      self._path.unlink(missing_ok=True)
    os.close(self.descriptor)
    if self._made:
      with contextlib.suppress(OSError):
        self._path.parent.rmdir()


def _take(path: pathlib.Path) -> int:
  """Makes the file ours; its descriptor, on which the system's lock lies where there is one."""
  own = me()
  while True:
    descriptor, is_new = _open(path)
    try:
      locks = _lock(descriptor)
      if locks is False:
        raise FileExistsError(_refusal(path, _told(descriptor)))
      if locks and not _is_there(path, descriptor):
        os.close(descriptor)  # whoever held it has ended just now, and removed it
        continue
      other = {} if is_new else _told(descriptor, waits=locks is None)
      if other and not is_dead(other, own, locks=bool(locks)):
        raise FileExistsError(_refusal(path, other))
      os.ftruncate(descriptor, 0)
      os.pwrite(descriptor, json.dumps(own, indent=1).encode(), 0)
    except BaseException:
      os.close(descriptor)
      raise
    if other:
      text = f'Taking over from {named(other)}, which no longer works here.'
      progress.CONSOLE.print(text, soft_wrap=True)
    return descriptor


def _open(path: pathlib.Path) -> tuple[int, bool]:
  """The file, and whether it is this process that made it."""
  while True:
    path.parent.mkdir(parents=True, exist_ok=True)  # whoever ended has removed it if it was empty
    with contextlib.suppress(FileExistsError, FileNotFoundError):
      return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
    with contextlib.suppress(FileNotFoundError):  # removed in between
      if not stat.S_ISREG(path.lstat().st_mode):
        raise FileExistsError(
          f'{path}: found a directory, a link or a device, expected a file that says who works '
          'here, or none; remove it.'
        )
      return os.open(path, os.O_RDWR), False


def _lock(descriptor: int) -> bool | None:
  """Whether the system gives its lock; None where the file system has none."""
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno in _UNSUPPORTED:
      return None
    raise
  return True


def _is_there(path: pathlib.Path, descriptor: int) -> bool:
  """Whether a path still names an open file."""
  try:
    return os.path.samestat(path.stat(), os.fstat(descriptor))
  except FileNotFoundError:
    return False


def me() -> dict[str, Any]:
  """What tells this process from any other."""
  return {
    'host': socket.gethostname(),
    'process': os.getpid(),
    'since': datetime.datetime.now().astimezone().strftime(_SINCE),
    'command': shlex.join(sys.orig_argv),
    'started': _started(os.getpid()),
    'boot': _read('/proc/sys/kernel/random/boot_id'),
    'machine': _read('/etc/machine-id'),
  }


def _told(descriptor: int, *, waits: bool = True) -> dict[str, Any]:
  """Who the file names; {} if it stays empty, as a crash or a full disk may leave it."""
  stop = time.monotonic() + (_UNTOLD_SECONDS if waits else 0)
  while True:
    try:
      told = json.loads(os.pread(descriptor, 1 << 16, 0))
      return told if isinstance(told, dict) else {}
    except ValueError:
      if time.monotonic() > stop:
        return {}
      time.sleep(0.05)


def is_dead(other: dict[str, Any], me: dict[str, Any], *, locks: bool) -> bool:
  """Whether the process that a file names has ended for certain.

  Args:
    other: what the file says.
    me: the same of this process.
    locks: whether the system's lock was free; on one machine, containers or not, that settles it.
  """
  alike = other.get('host') == me['host']
  if me['boot'] and other.get('boot') == me['boot']:
    return locks or (alike and not _runs(other))
  if not alike or other.get('machine') != me['machine']:
    return False
  return bool(me['boot']) or locks or not _runs(other)  # else the machine was started anew


def _runs(other: dict[str, Any]) -> bool:
  """Whether a process of this machine is there, and not another that got its number."""
  number = other.get('process')
  if type(number) is not int or number <= 0:
    return False
  try:
    os.kill(number, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    pass  # it is somebody else's
  return _started(number) == other.get('started')


def _started(number: int) -> int | None:
  """When a process began, in ticks since the machine did; None where nothing tells."""
  fields = _read(f'/proc/{number}/stat').rpartition(')')[2].split()
  return int(fields[19]) if len(fields) > 19 else None


def _read(path: str) -> str:
  try:
    return pathlib.Path(path).read_text().strip()
  except OSError:  # another kind of system
    return ''


def named(other: dict[str, Any]) -> str:
  """What a person reads of who a lock names."""
  if not other:
    return 'a process that did not say which'
  return (
    f'process {other.get("process")} on {other.get("host")} (since {other.get("since")}: '
    f'{other.get("command")!s:.160})'
  )


def _refusal(path: pathlib.Path, other: dict[str, Any]) -> str:
  here = other.get('host') == socket.gethostname() or not other
  advice = (
    'wait for it, or stop it: the same command then goes on after what was finished.'
    if here
    else f'wait for it, or stop it there. If it has surely ended, remove {path}.'
  )
  what = 'a command that was started by ' if here and other and not _runs(other) else ''
  return (
    f'{path.parent} is being worked in by {what}{named(other)}; expected one `{path.stem}` at a '
    f'time. Give another --workdir, {advice}'
  )


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
  """Puts off what SIGINT and SIGTERM do until the end."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  came: list[int] = []
  before = {
    number: signal.signal(number, lambda number, frame: came.append(number))
    for number in (signal.SIGINT, signal.SIGTERM)
  }
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  for one in came[:1]:
    signal.raise_signal(one)
