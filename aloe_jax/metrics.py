"""Numbers of a run as TensorBoard events and JSON lines, and the interval of a success rate."""

from collections.abc import Mapping
import contextlib
import json
import math
import os
import pathlib
import time
from typing import Any, Protocol

from tensorboardX import event_file_writer
from tensorboardX import summary
from tensorboardX.proto import event_pb2

from aloe_jax import disk
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.parallel import hosts

_FLUSH_SECONDS = 30.0  # between two times that TensorBoard's events are made safe
_ADVICE = 'remove that line, or move the file away: only drawings of the losses are made of it.'


class Writer(Protocol):
  """Takes the scalars of a run; a context manager."""

  def __enter__(self) -> 'Writer': ...

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None: ...

  def write(
    self, step: int, scalars: Mapping[str, float], *, phase: str = '', measured: bool = False
  ) -> None:
    """See `MetricsWriter.write`."""


class MetricsWriter:
  """Writes scalars of a run to a directory; a context manager.

  `metrics.jsonl` holds one object a line, {"step", "time" (seconds since 1970), "phase" if
  one was given, and the scalars}; every line is on disk when `write` returns. TensorBoard
  gets the same numbers under `phase/name`, at the latest half a minute after.

  A run that resumes passes the step it starts from again. Records of that step and later
  ones, written between the last checkpoint and the interruption, are dropped from the file
  and hidden in TensorBoard, so that every step counts once. So is an end of the file that is no
  record, as a power cut leaves it, and said. What the run does again comes to the same numbers: a
  record that was kept is not written twice.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    *,
    resume_step: int | None = None,
    wandb_name: str = '',
  ):
    """Opens the directory, creating it if it is new.

    Args:
      directory: of the run.
      resume_step: the first step that will be written again; None keeps all records.
      wandb_name: if given, everything is also sent to a new Weights & Biases run of this name.

    Raises:
      ValueError: a record that is there is damaged, and whole ones follow.
      disk.FullError: there is no room; so may `write` and `close`.
      ModuleNotFoundError: if Weights & Biases is asked for and not installed.
    """
    directory = pathlib.Path(directory)
    self._path = directory / 'metrics.jsonl'
    with self._full_disk_is_told():
      directory.mkdir(parents=True, exist_ok=True)
      self._wandb = _start_wandb(directory, wandb_name) if wandb_name else None
      kept = _drop_records(self._path, resume_step) if self._path.exists() else []
      self._kept = {_numbers(record) for record in kept}
      self._lines = self._path.open('ab', buffering=0)
      self._times = (directory / 'times.jsonl').open('ab', buffering=0)
      # In this thread, unlike `SummaryWriter`: an error would not be heard of in another.
      self._events = event_file_writer.EventsWriter(str(directory / 'events'))
      self._flushed = time.monotonic()
      if resume_step is not None:
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._events.write_event(event_pb2.Event(step=resume_step, session_log=log))
      self._events.flush()

  def __enter__(self) -> 'MetricsWriter':
    return self

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
    if kind is None:
      self.close()
      return
    with contextlib.suppress(OSError):  # the first error counts
      self.close()

  def write(
    self, step: int, scalars: Mapping[str, float], *, phase: str = '', measured: bool = False
  ) -> None:
    """Writes scalars, anything `float` takes, of one step.

    Args:
      step: counted over the whole run.
      scalars: {name: value}; a value that is not finite is null in the JSON line.
      phase: of the algorithm, such as `critic`; prefixes the names in TensorBoard.
      measured: they are times, which the same run would not come to again: they are not in
        `metrics.jsonl` but in `times.jsonl` beside it, and no record of that is ever dropped.
    """
    values = {name: float(value) for name, value in scalars.items()}
    record: dict[str, Any] = {'step': int(step), 'time': round(time.time(), 3)}
    if phase:
      record['phase'] = phase
    record |= {name: value if math.isfinite(value) else None for name, value in values.items()}
    tagged = {f'{phase}/{name}' if phase else name: value for name, value in values.items()}
    if not measured and _numbers(record) in self._kept:
      return
    with self._full_disk_is_told():
      line = memoryview((json.dumps(record) + '\n').encode())
      while line:
        line = line[(self._times if measured else self._lines).write(line) :]
      for tag, value in tagged.items():
        event = event_pb2.Event(wall_time=time.time(), summary=summary.scalar(tag, value))
        event.step = int(step)
        self._events.write_event(event)
      if time.monotonic() > self._flushed + _FLUSH_SECONDS:
        self._events.flush()
        self._flushed = time.monotonic()
    if self._wandb is not None:
      self._wandb.log(tagged, step=int(step))

  def close(self) -> None:
    """Flushes and closes everything."""
    self._lines.close()
    self._times.close()
    with self._full_disk_is_told():
      self._events.close()
    if self._wandb is not None:
      self._wandb.finish()

  def _full_disk_is_told(self) -> contextlib.AbstractContextManager[None]:
    return disk.writing('what was measured', self._path)


class _Nowhere:
  """The `Writer` of a host whose numbers another one writes."""

  def __enter__(self) -> '_Nowhere':
    return self

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None: ...

  def write(
    self, step: int, scalars: Mapping[str, float], *, phase: str = '', measured: bool = False
  ) -> None: ...


def open_writer(directory: str | os.PathLike, **settings: Any) -> Writer:
  """A `MetricsWriter` on the first host, which takes the same; the others write nothing."""
  return MetricsWriter(directory, **settings) if hosts.is_first() else _Nowhere()


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
  """Wilson's score interval of a success rate; z = 1.96 covers it with 95 %.

  It keeps to [0, 1], holds the rate itself, and stays honest where few trials or none succeed.
  Without trials nothing is known, and it is (0, 1).
  """
  if not 0 <= successes <= trials:
    raise ValueError(f'found {successes} successes in {trials} trials, expected 0 to {trials}.')
  if trials == 0:
    return 0.0, 1.0
  rate = successes / trials
  spread = z**2 / trials
  centre = (rate + spread / 2) / (1 + spread)
  half_width = z * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
  # At rates of 0 and 1 an end is the rate, but for rounding.
  low = 0.0 if successes == 0 else centre - half_width
  high = 1.0 if successes == trials else centre + half_width
  return min(low, rate), max(high, rate)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The records of a `metrics.jsonl`, without an end that a crash left damaged.

  Raises:
    ValueError: a line before the last whole one is damaged; names it.
  """
  return [record for _, record in _records(path)]


def _records(path: pathlib.Path) -> list[tuple[bytes, dict[str, Any]]]:
  """Lines and what they hold, without an end of the file that is no record."""
  lines = path.read_bytes().splitlines(keepends=True)
  records = [_record(line) for line in lines]
  whole = [number for number, record in enumerate(records) if record is not None]
  found = []
  for number in range(whole[-1] + 1 if whole else 0):
    record = records[number]
    if record is None:
      shown = lines[number].decode(errors='replace').strip()
      raise ValueError(
        f'{path}, line {number + 1}: found {shown!r:.80}, expected a JSON object with a whole '
        f'number "step"; {_ADVICE}'
      )
    found.append((lines[number], record))
  return found


def _record(line: bytes) -> dict[str, Any] | None:
  """What a line holds, None where it is damaged."""
  try:
    record = json.loads(line.decode())
  except ValueError:
    return None
  return record if isinstance(record, dict) and type(record.get('step')) is int else None


def _numbers(record: Mapping[str, Any]) -> str:
  """A record but for when it was written."""
  return json.dumps({name: x for name, x in record.items() if name != 'time'})


def _drop_records(path: pathlib.Path, resume_step: int | None) -> list[dict[str, Any]]:
  """Keeps the records before a step, and drops a damaged end; those that are kept."""
  records = _records(path)
  whole = sum(len(line) for line, _ in records)
  size = path.stat().st_size
  if whole < size:
    progress.CONSOLE.print(
      f'{path}: dropped its last {size - whole} bytes, which a crash left damaged.', soft_wrap=True
    )
  wanted = [
    (line, record)
    for line, record in records
    if resume_step is None or record['step'] < resume_step
  ]
  # A crash may have cut off no more than the end of a line.
  kept = b''.join(line.rstrip(b'\r\n') + b'\n' for line, _ in wanted)
  if len(kept) != size:
    with files.replacing(path) as temporary:
      temporary.write_bytes(kept)
  return [record for _, record in wanted]


def _start_wandb(directory: pathlib.Path, name: str) -> Any:
  import wandb  # an extra: not everyone has an account

  return wandb.init(project='aloe_jax', name=name, dir=str(directory))
