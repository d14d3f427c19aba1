"""Places where episodes are played side by side, in this process or shared out over several.

A physics engine takes most of the time of a rollout, and one process steps its environments one
after another. Shared out over processes, each steps its own while the others step theirs. Which
place plays which episode does not depend on how many processes there are, so that neither do the
episodes.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
import multiprocessing
from multiprocessing import connection
from multiprocessing import util
import os
import signal
import threading
import time
import traceback
from typing import Any, NamedTuple, Protocol

from absl import logging
import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_errors
from aloe_jax.envs import gymnasium_numbers
from aloe_jax.envs import gymnasium_place
from aloe_jax.envs import gymnasium_process
from aloe_jax.envs import gymnasium_spaces
from aloe_jax.envs import gymnasium_task

_NOTE_BYTES = 1000
_SILENT_SECONDS = 60.0  # without an answer, after which a person is told; then twice as long each

PLACES = 8  # environments side by side: enough for a batch, as each holds a whole physics engine


class Now(NamedTuple):
  """How a place stands.

  Attributes:
    sight: what a policy sees there.
    steps: of the episode so far.
    record: of the episode, once it is over.
  """

  sight: types.Sight
  steps: int
  record: gymnasium_place.Record | None


class Places(Protocol):
  """Some places, by number from 0.

  Attributes:
    is_closed: whether nothing can be played in them any more, after an error.
  """

  is_closed: bool

  def rules(self, rules: gymnasium_place.Rules) -> None:
    """Clears all places, for episodes that are played by these rules."""

  def begin(self, seeds: Mapping[int, int]) -> dict[int, Now]:
    """Begins episodes, {place: seed}; how these places stand then."""

  def play(self, planned: Mapping[int, np.ndarray]) -> dict[int, Now]:
    """Plays actions, {place: [e, A]}; how these places stand then."""

  def close(self) -> None:
    """Ends the processes of these places, each of which closes its environments."""


class Here:
  """Places in this process.

  Args:
    task: of the environments, which are made as they are needed.
  """

  is_closed = False

  def __init__(self, task: gymnasium_task.Task):
    self._task = task

  def rules(self, rules: gymnasium_place.Rules) -> None:
    self._rules = rules
    self._places: dict[int, gymnasium_place.Place] = {}

  def begin(self, seeds: Mapping[int, int]) -> dict[int, Now]:
    for place, seed in seeds.items():
      if place not in self._places:
        # By number within the task, so that each place keeps its environment.
        env = self._task.environments(place + 1)[place]
        self._places[place] = gymnasium_place.Place(self._task, env, self._rules)
      self._places[place].begin(seed)
    return self._now(seeds)

  def play(self, planned: Mapping[int, np.ndarray]) -> dict[int, Now]:
    for place, actions in planned.items():
      self._places[place].play(actions)
    return self._now(planned)

  def close(self) -> None:
    """Nothing: the environments are the task's."""

  def _now(self, numbers: Any) -> dict[int, Now]:
    places = {number: self._places[number] for number in numbers}
    return {
      number: Now(place.sight, len(place.record.action), place.record if place.is_free else None)
      for number, place in places.items()
    }


class SharedOut:
  """Places dealt out in turn over processes of this machine.

  `gymnasium.vector` has such processes too, but those break out in tracebacks when this one is
  stopped, and step all environments or none.

  Args:
    task: of the environments.
    processes: how many; at most as many as places.
  """

  is_closed = False

  def __init__(self, task: gymnasium_task.Task, processes: int):
    self._task = task
    self._silent = _SILENT_SECONDS
    # Not forked: JAX has threads, which a copy of this process would not have.
    context = multiprocessing.get_context('spawn')
    ends = [context.Pipe() for _ in range(processes)]
    self._pipes = [ours for ours, _ in ends]
    self._notes = [context.RawArray('c', _NOTE_BYTES) for _ in ends]
    # No daemons, which could have no children: some environments start processes.
    self._processes = [
      context.Process(target=_work, args=(theirs, task.name, task.spaces.ranges, note))
      for (_, theirs), note in zip(ends, self._notes, strict=True)
    ]
    # Also where nobody closes this: Python waits for processes that are no daemons.
    self._end = util.Finalize(
      self, gymnasium_process.end, (task.name, self._pipes, self._processes), exitpriority=0
    )
    for process, (_, theirs) in zip(self._processes, ends, strict=True):
      process.start()
      theirs.close()

  def rules(self, rules: gymnasium_place.Rules) -> None:
    self._call('rules', [rules] * len(self._pipes))

  def begin(self, seeds: Mapping[int, int]) -> dict[int, Now]:
    return self._deal('begin', seeds)

  def play(self, planned: Mapping[int, np.ndarray]) -> dict[int, Now]:
    return self._deal('play', planned)

  def _deal(self, what: str, by_place: Mapping[int, Any]) -> dict[int, Now]:
    count = len(self._pipes)
    hands: list[dict[int, Any]] = [{} for _ in range(count)]
    for place, value in by_place.items():
      hands[place % count][place // count] = value
    found = self._call(what, hands)
    return {place: found[place % count][place // count] for place in by_place}

  def _call(self, what: str, hands: Sequence[Any]) -> dict[int, Any]:
    """Has every process with something in its hand do it; what came of it, by process."""
    try:
      asked, start = [number for number, hand in enumerate(hands) if hand], time.monotonic()
      for number in asked:
        with self._alive(number):
          self._pipes[number].send((what, hands[number]))
      replies = {}
      for number in asked:
        with self._alive(number):
          pipe, process = self._pipes[number], self._processes[number]
          waits = functools.partial(self._waits, number, start)
          replies[number] = gymnasium_process.heard(pipe, process, waits)
    except BaseException:  # also of somebody who stops the run: they are at work still
      self.close()
      raise
    for reply in replies.values():
      for about, sentence in reply.remarks.items():
        self._task.spaces.remarks.say(about, sentence)
    for reply in replies.values():
      if reply.trace:
        self.close()
        told = f'{self._task.name}, in a process of its own: {reply.trace}'
        if reply.refusal:
          raise gymnasium_errors.Refusal(reply.refusal) from RuntimeError(told)
        raise RuntimeError(told)
    return {number: reply.found for number, reply in replies.items()}

  @contextlib.contextmanager
  def _alive(self, number: int) -> Iterator[None]:
    """Says of a process that is not there any more what it was doing, and how it ended."""
    try:
      yield
    except (EOFError, OSError) as error:
      told = gymnasium_process.told_end(
        self._task.name, self._noted(number), self._processes[number]
      )
      raise gymnasium_errors.Refusal(told) from error

  def _waits(self, number: int, start: float) -> None:
    """Says what a process is at that has not answered for long since it was asked."""
    if (seconds := time.monotonic() - start) < self._silent:
      return
    self._silent = 2 * seconds
    where, _, what = self._noted(number).partition('\n')
    logging.warning(
      '%s: the process that plays it has not answered for %.0f s, and is %s now; it is waited for. '
      'Ctrl-C ends the command.',
      where or self._task.name,
      seconds,
      f"at '{what}'" if what else 'starting',
    )

  def _noted(self, number: int) -> str:
    return bytes(self._notes[number].value).decode(errors='replace')

  def close(self) -> None:
    if not self.is_closed:
      self.is_closed = True
      for about, sentence in self._end().items():
        self._task.spaces.remarks.say(about, sentence)


def _work(
  pipe: connection.Connection, name: str, ranges: gymnasium_numbers.Ranges, note: Any
) -> None:
  """Plays what is asked for through a pipe, until nobody is there any more."""
  # Somebody who stops the run stops the process at the other end, and that one ends this one, with
  # the children of its environments.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  os.setpgid(0, 0)
  threading.Thread(target=gymnasium_process.follow_parent, daemon=True).start()
  worker = _Worker(name, ranges, note)
  with contextlib.suppress(EOFError, OSError):  # nobody is there any more
    while not (reply := worker.reply(*pipe.recv())).is_last:
      pipe.send(reply)
    pipe.send(reply)
  worker.close()


class _Worker:
  """Does what is asked for.

  Args:
    name: of the task, which is made as it is needed.
    ranges: of its numbers where the run is.
    note: memory that the process at the other end reads, with what goes on here.
  """

  def __init__(self, name: str, ranges: gymnasium_numbers.Ranges, note: Any):
    self._name, self._ranges, self._note = name, ranges, note
    self._task: gymnasium_task.Task | None = None

  def reply(self, what: str, hand: Any) -> gymnasium_process.Reply:
    reply = gymnasium_process.Reply()
    try:
      if what == 'close':
        self.close()
        reply = gymnasium_process.Reply(is_last=True)
      else:
        reply = gymnasium_process.Reply(getattr(self._made(), what)(hand))
    except Exception as error:  # whatever a simulator raises is raised where the run is
      refusal = str(error) if isinstance(error, ValueError) else ''
      reply = gymnasium_process.Reply(refusal=refusal, trace=traceback.format_exc())
    self._note.value = b''
    return reply._replace(remarks=self._task.spaces.remarks.said if self._task else {})

  def close(self) -> None:
    if self._task is not None:
      self._task.close()

  def _made(self) -> Here:
    if self._task is None:
      self._noted(self._name, 'making it')
      self._task = gymnasium_task.Task(self._name, is_quiet=True)
      self._task.note = self._noted
      with gymnasium_errors.reading(f'{self._name}, in a process of its own'):
        gymnasium_spaces.compare(self._ranges, self._task.spaces.ranges)
      self._places = Here(self._task)
    return self._places

  def _noted(self, where: str, what: str) -> None:
    self._note.value = f'{where}\n{what}'.encode()[: _NOTE_BYTES - 1]


def cores() -> int:
  """Processor cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def make(task: gymnasium_task.Task, processes: int) -> Places:
  """The places of a task; those of as many processes are made once and kept by the task.

  Args:
    task: of the environments.
    processes: over which they are shared out; 0 for as many as there are cores.
  """
  count = min(processes or cores(), PLACES)
  if count not in task.places or task.places[count].is_closed:
    task.places[count] = SharedOut(task, count) if count > 1 else Here(task)
  return task.places[count]
