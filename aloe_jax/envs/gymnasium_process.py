"""A process that plays episodes for this one: what it answers, and how it ends."""

from collections.abc import Callable, Mapping, Sequence
import contextlib
import multiprocessing
from multiprocessing import connection
from multiprocessing import context
import os
import signal
import time
from typing import Any, NamedTuple

_CLOSE_SECONDS = 10.0  # in which it has to end what it does, and to close its environments
_LOOK_SECONDS = 0.5


class Reply(NamedTuple):
  """What a process says when it has been asked for something.

  Attributes:
    found: by it.
    remarks: that observations there have called for so far, see `gymnasium_observation.Remarks`.
    refusal: what a person has to mend; '' if nothing.
    trace: of whatever went wrong there; '' if nothing.
    is_last: whether it has closed its environments and ends now.
  """

  found: Any = None
  remarks: Mapping[str, str] = {}
  refusal: str = ''
  trace: str = ''
  is_last: bool = False


def heard(
  pipe: connection.Connection, process: context.SpawnProcess, waits: Callable[[], None]
) -> Reply:
  """The next reply of a process.

  Args:
    pipe: to it.
    process: that was asked for something.
    waits: called every half second without an answer.

  Raises:
    EOFError: there is none any more, nor the process.
  """
  # A child that an environment forked may keep the pipe open, so that its end tells too little.
  while not pipe.poll(_LOOK_SECONDS):
    if not process.is_alive() and not pipe.poll():
      raise EOFError
    waits()
  return pipe.recv()


def told_end(name: str, note: str, process: context.SpawnProcess) -> str:
  """What a person is told of a process that has ended by itself.

  Args:
    name: of the task.
    note: where it was, and in another line what was called; '' where it waited.
    process: that has ended.
  """
  _wait(process, time.monotonic() + _CLOSE_SECONDS)
  where, _, what = note.partition('\n')
  told = f'{where or name}: the process that plays it {_how_ended(process)}'
  told += f", during '{what}'" if what else ', while it waited for what to do'
  if process.exitcode == -signal.SIGKILL:
    return (
      f'{told}. The system does that where memory is short, and each process holds physics engines '
      'of its own: try --config.sim.processes=1.'
    )
  return (
    f'{told}. Mend that in the environment, or on this machine; with --config.sim.processes=1 it '
    'is played in one process, where a debugger can look.'
  )


def end(
  name: str,
  pipes: Sequence[connection.Connection],
  processes: Sequence[context.SpawnProcess],
) -> dict[str, str]:
  """Has processes close their environments and end; kills those that do not.

  Returns:
    Remarks: {what each is about: the sentence}.
  """
  remarks: dict[str, str] = {}
  deadline = time.monotonic() + _CLOSE_SECONDS
  started = [pair for pair in zip(pipes, processes, strict=True) if pair[1].pid is not None]
  live = [pair for pair in started if pair[1].is_alive()]
  for _, process in started:
    if not process.is_alive():
      _kill_group(process)
  for pipe, _ in live:
    with contextlib.suppress(OSError):
      pipe.send(('close', None))
  for pipe, process in live:
    is_closed = False
    with contextlib.suppress(EOFError, OSError):
      while not is_closed and pipe.poll(max(0.0, deadline - time.monotonic())):
        reply = pipe.recv()  # perhaps of what it was asked before
        remarks |= reply.remarks
        is_closed = reply.is_last
    _wait(process, deadline)
    if process.is_alive():
      _kill_group(process)
      process.kill()  # also where it has not come so far as to have a group
      remarks['killed'] = (
        f'{name}: a process that plays it did not end within {_CLOSE_SECONDS:.0f} s and was '
        'killed: step, reset or close of an environment takes longer.'
      )
    elif not is_closed:
      remarks['ended'] = (
        f'{name}: a process that plays it {_how_ended(process)}, before all its environments were '
        'closed.'
      )
      _kill_group(process)
  for pipe in pipes:
    pipe.close()
  return remarks


def follow_parent() -> None:
  """Ends this process and its children after its parent, also one that hangs in a step."""
  parent = multiprocessing.parent_process()
  while parent is not None and os.getppid() == parent.pid:
    time.sleep(_LOOK_SECONDS)
  time.sleep(_CLOSE_SECONDS)  # in which it ends by itself, if it can
  os.killpg(os.getpid(), signal.SIGKILL)


def _kill_group(process: context.SpawnProcess) -> None:
  """Ends the children that the environments of a process have, and the process."""
  with contextlib.suppress(OSError):  # there are none any more
    os.killpg(process.pid, signal.SIGKILL)


def _how_ended(process: context.SpawnProcess) -> str:
  if process.exitcode is None:
    return 'closed its connection to this one'
  if process.exitcode < 0:
    return f'was ended by {_signal_name(-process.exitcode)}'
  return f'ended with exit code {process.exitcode}'


def _signal_name(number: int) -> str:
  try:
    return signal.Signals(number).name
  except ValueError:
    return f'signal {number}'


def _wait(process: context.SpawnProcess, deadline: float) -> None:
  """Waits for the end of a process, but not of children that it forked, as `join` may."""
  while process.is_alive() and time.monotonic() < deadline:
    time.sleep(0.01)
