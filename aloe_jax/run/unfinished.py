"""Saves inside a phase: what its updates have changed so far, and after how many of them.

They lie in `unfinished/` of the working directory, apart from the checkpoints, so that nobody takes
one for a phase that is done. The checkpoint of the phase replaces them.
"""

from collections.abc import Callable, Mapping
from concurrent import futures
import dataclasses
import pathlib
import re
import time
from typing import Any

from aloe_jax import disk
from aloe_jax import files
from aloe_jax import metrics as metrics_lib
from aloe_jax import progress
from aloe_jax.buckets import patience
from aloe_jax.buckets import twin
from aloe_jax.parallel import hosts
from aloe_jax.run import removal
from aloe_jax.run import state_items
from aloe_jax.run import writing
from aloe_jax.run import written_files

DIRECTORY = 'unfinished'
_NAME = re.compile(r'(\d+)-(\d+)')  # number of the phase's checkpoint, updates done
_LARGEST_SHARE = 0.02  # of the time of a phase that its saves may hold it up
_NEEDED = ('after', 'step', 'phase', 'iteration', 'updates')


@dataclasses.dataclass(frozen=True)
class Found:
  """A save that a run goes on from.

  Attributes:
    path: its directory.
    number: of the checkpoint that its phase leaves.
    done: updates of the phase.
    step: updates of the run.
  """

  path: pathlib.Path
  number: int
  done: int
  step: int


def directories(workdir: pathlib.Path) -> list[tuple[int, int, pathlib.Path]]:
  """(number, updates done, path) of all saves of a run, the newest last; see `_NAME`."""
  place = twin.there(workdir / DIRECTORY)
  if files.is_url(place):
    paths = [place / name for name in removal.whole_there(place)]
  else:
    paths = list(place.iterdir()) if place.is_dir() else []
  named = [(path, _NAME.fullmatch(path.name)) for path in paths]
  return sorted((int(match[1]), int(match[2]), path) for path, match in named if match)


def is_begun(workdir: pathlib.Path, done: int) -> bool:
  """Whether there are saves of a phase after a checkpoint; what tells nothing of itself is none."""
  return begun(workdir, done) > done


def begun(workdir: pathlib.Path, done: int) -> int:
  """Number of the newest phase that has saved anything, `done` being the newest checkpoint's."""
  saved = [n for n, _, path in directories(workdir) if (path / 'meta' / 'metadata').exists()]
  return max(done, *saved, -1)


def read_meta(path: pathlib.Path) -> dict[str, Any]:
  """What was said about a save.

  Raises:
    ValueError: it is damaged.
    OSError: it cannot be read.
  """
  meta = files.read_json(path / 'meta' / 'metadata', 'remove it')
  if not isinstance(meta, dict) or not set(_NEEDED) <= meta.keys():
    raise ValueError(f'{path}/meta: found {meta!r:.80}, expected {", ".join(_NEEDED)}; remove it.')
  return meta


def find(workdir: pathlib.Path, done: int | None) -> Found | None:
  """The newest whole save of the phase that follows a checkpoint, None where there is none.

  One that is damaged is told and passed over: what it held is computed again.

  Args:
    workdir: of the run.
    done: number of the newest checkpoint, None for none.
  """
  for number, updates, path in reversed(directories(workdir)):
    if number <= (-1 if done is None else done):
      break  # of a phase that has its checkpoint
    problem = ''
    try:
      meta = read_meta(path)
      written_files.check_sizes(path, 'remove it')
      damaged = [written_files.damaged(path, item) for item in state_items.names(path)]
      problem = next((f'{one} holds other bytes than were written' for one in damaged if one), '')
    except (ValueError, OSError) as error:
      problem = str(error)
    if not hosts.lowest(not problem):
      progress.CONSOLE.print(f'{path} is passed over: {problem}', soft_wrap=True, highlight=False)
    elif meta['after'] == done:
      return Found(path, number, updates, meta['step'])
  return None


class Saves:
  """The saves of one phase.

  Args:
    workdir: of the run.
    what: the phase is called on the screen.
    number: of the checkpoint that it leaves.
    meta: what its checkpoint would say.
    after: number of the newest checkpoint, which holds all that the phase does not change.
    found: save to go on from, if it is of this phase.
    minutes: between two saves; 0 for none but at a signal.
    metrics: told what the saves cost.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    what: str,
    number: int,
    meta: Mapping[str, Any],
    *,
    after: int | None,
    found: Found | None,
    minutes: float,
    metrics: metrics_lib.MetricsWriter,
  ):
    self._directory = twin.there(workdir / DIRECTORY)
    self._workdir = workdir
    self._what, self._number = what, number
    self._meta = {**meta, 'after': after}
    self._found = found if found is not None and found.number == number else None
    self._seconds = 60 * minutes
    self._metrics = metrics
    self._writer: writing.Writer | None = None
    self._writing: tuple[int, int, futures.Future[None]] | None = None  # updates done, step
    self._saved = self._found.done if self._found else 0
    self._last = time.monotonic()  # end of the last save
    self._blocked = 0.0  # seconds that it held the updates up

  @property
  def done(self) -> int:
    """Updates of the phase that are saved; 0 for none."""
    return self._saved

  def read(self, like: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the train state as they were after `done` updates; `like` as for `restore`."""
    assert self._found is not None
    return state_items.read(self._found.path, like, f'remove {self._found.path}.')

  def due(self) -> bool:
    """Whether it is time to save; tells what has become of the save before.

    Saves wait for longer where one holds the updates up for more than a fiftieth of the time.
    """
    self._hear(wait=False)
    if not self._seconds or self._writing is not None:
      return False
    wanted = max(self._seconds, self._blocked / _LARGEST_SHARE)
    return time.monotonic() > self._last + wanted

  def save(self, done: int, step: int, fields: Callable[[], Mapping[str, Any]]) -> None:
    """Begins to save, and waits for no more than a copy of the arrays.

    What goes wrong is told, and tried again when the next save is due.

    Args:
      done: updates of the phase.
      step: updates of the run.
      fields: tells {field: value} of all that the phase changes.
    """
    begin = time.monotonic()
    path = self._directory / f'{self._number}-{done}'
    meta = {**self._meta, 'step': step, 'done': done}
    try:
      with disk.writing(f'what {self._what} has learnt', self._directory):
        if not files.is_url(self._directory):
          self._directory.mkdir(parents=True, exist_ok=True)
        self._writer = self._writer or writing.Writer()
        items = state_items.of_fields(fields())
        self._writing = done, step, self._writer.start(path, items, meta)
    except Exception as error:  # whatever the disk, Orbax and TensorStore make of it
      self._tell_failure(done, step, error)
    end = time.monotonic()
    self._blocked, passed = end - begin, end - self._last
    self._last = end
    numbers = {'blocked_seconds': self._blocked, 'share': self._blocked / max(passed, 1e-6)}
    self._metrics.write(step, numbers, phase='save')

  def save_now(self, done: int, step: int, fields: Callable[[], Mapping[str, Any]]) -> bool:
    """Saves and waits for it; whether the save is whole, the same on all hosts.

    The first host finishes it, and has to have done so before another one ends the run.
    """
    self._hear(wait=True)
    if done > self._saved:
      self.save(done, step, fields)
      self._hear(wait=True)
    return bool(hosts.lowest(done <= self._saved, f'{self._what} is saved'))

  def settle(self) -> None:
    """Waits for the save that is being written."""
    self._hear(wait=True)

  def finish(self) -> None:
    """Removes the saves of this phase and of those before, once it has its checkpoint."""
    self.settle()
    if self._writer is not None:
      self._writer.close()
    if hosts.is_first():
      for number, _, path in directories(self._workdir):
        if number <= self._number:
          removal.remove(path)
      clear(self._workdir)

  def _hear(self, *, wait: bool) -> None:
    """Asks what has become of the save that is being written."""
    if self._writing is None or not (wait or self._writing[2].done()):
      return
    done, step, future = self._writing
    try:
      with patience.waiting(self._directory, 'written'):
        future.result()
    except Exception as error:  # whatever the disk, Orbax and TensorStore make of it
      self._writing = None
      self._tell_failure(done, step, error)
      return
    self._writing, self._saved = None, done
    if hosts.is_first():
      for number, updates, path in directories(self._workdir):
        if (number, updates) < (self._number, done):
          removal.remove(path)

  def _tell_failure(self, done: int, step: int, error: Exception) -> None:
    try:
      with disk.writing(f'what {self._what} has learnt', self._directory):
        raise error
    except disk.WriteError as told:
      reason = str(told).partition('. ')[0]
    except Exception as other:
      reason = f'{type(other).__name__}: {other}'
    last = f'after {self._saved} updates' if self._saved else 'of the phase before'
    again = f'tried again in {self._seconds / 60:g} minutes' if self._seconds else 'not tried again'
    progress.CONSOLE.print(
      f'{self._what}: not saved after {done} updates. {reason}. The last save is that {last}; it '
      f'is {again}.',
      soft_wrap=True,
      highlight=False,
    )
    self._metrics.write(step, {'failed': 1}, phase='save')


def clear(workdir: pathlib.Path) -> None:
  """Removes what killed saves and removals left; nothing of other names."""
  place = twin.there(workdir / DIRECTORY)
  if not files.is_url(place) and not place.is_dir():
    return
  for left in () if files.is_url(place) else place.glob('.*.writing*'):
    if _NAME.fullmatch(left.name[1:].partition('.writing')[0]):
      removal.remove(left)
  removal.sweep(place)
