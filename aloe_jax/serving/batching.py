"""Requests of several robots answered together, by one thread that alone asks the model."""

from collections.abc import Callable
from concurrent import futures
import dataclasses
import queue
import threading
import time

from aloe_jax.serving import model as model_lib

_WORTH = 1 / 8  # of the model's time; a second batch for one row costs most of it again


class Busy(RuntimeError):
  """More requests wait than the server was told to keep."""


@dataclasses.dataclass(frozen=True)
class Answered:
  """An answer, and how it came about.

  Attributes:
    answer: of the model.
    seconds: that the model took, for the whole batch, until the devices were done.
    batch: rows that were answered together.
  """

  answer: model_lib.Answer
  seconds: float
  batch: int


@dataclasses.dataclass(frozen=True)
class _Waiting:
  model: model_lib.Model
  row: model_lib.Row
  answered: futures.Future[Answered]


class Batcher:
  """Gathers rows for a moment and has them answered together.

  A row is answered by the model that it was prepared by, also where a newer one has come meanwhile.
  What came while the model was busy is answered together next. Beyond that a row waits only where
  another robot's is about to come, and no longer than is made up for: an eighth of the time that
  the model takes, and `seconds` in any case.

  Args:
    largest: rows of a batch.
    seconds: that the first row of a batch waits for others at most.
    coming: tells whether a row is about to come within so many seconds.
    room: rows that may wait.
  """

  def __init__(
    self, *, largest: int, seconds: float, coming: Callable[[float], bool], room: int = 256
  ):
    self._largest, self._seconds, self._coming = largest, seconds, coming
    self._usual = 0.0  # seconds that the model takes
    self._queue: queue.Queue[_Waiting | None] = queue.Queue(room)
    self._thread = threading.Thread(target=self._run, name='batches', daemon=True)
    self._thread.start()

  @property
  def waiting(self) -> int:
    """Rows that wait, roughly."""
    return self._queue.qsize()

  def submit(self, model: model_lib.Model, row: model_lib.Row) -> futures.Future[Answered]:
    """Has a row answered by the model that prepared it.

    Raises:
      Busy: too many wait already.
    """
    waiting = _Waiting(model, row, futures.Future())
    try:
      self._queue.put_nowait(waiting)
    except queue.Full:
      raise Busy(f'{self._queue.maxsize} requests wait already; ask again later.') from None
    return waiting.answered

  def close(self) -> None:
    """Answers what waits, and ends."""
    self._queue.put(None)
    self._thread.join()

  def _run(self) -> None:
    first: _Waiting | None = None
    while True:
      first = first or self._queue.get()
      if first is None:
        return
      batch, first, ended = self._gather(first)
      self._answer(batch)
      if ended:
        return

  def _gather(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None, bool]:
    """A batch of one model, the row that is to begin the next one, and whether all is over."""
    batch = [first]
    until = time.monotonic() + min(self._seconds, _WORTH * self._usual)
    while len(batch) < self._largest:
      left = until - time.monotonic()
      try:
        if left > 0 and self._queue.empty() and self._coming(left):
          found = self._queue.get(timeout=left)
        else:
          found = self._queue.get_nowait()
      except queue.Empty:
        break
      if found is None:
        return batch, None, True
      if found.model is not first.model:
        return batch, found, False
      batch.append(found)
    return batch, None, False

  def _answer(self, batch: list[_Waiting]) -> None:
    batch = [one for one in batch if one.answered.set_running_or_notify_cancel()]
    if not batch:
      return
    began = time.perf_counter()
    try:
      answers = batch[0].model.answer([one.row for one in batch])
      told = list(zip(batch, answers, strict=True))
    except Exception as error:  # whatever it is, the next batch is answered
      for one in batch:
        one.answered.set_exception(error)
      return
    seconds = time.perf_counter() - began
    self._usual += 0.2 * (seconds - self._usual)
    for one, answer in told:
      one.answered.set_result(Answered(answer, seconds, len(batch)))
