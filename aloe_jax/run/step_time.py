"""Where the time of updates goes, and a trace of a few of them."""

from collections.abc import Iterator
import contextlib
import pathlib
import time
from typing import Literal

import jax

from aloe_jax import metrics as metrics_lib
from aloe_jax import progress
from aloe_jax.parallel import hosts

_WRITE_SECONDS = 10.0  # between two records
_FIRST_TRACED, _TRACED = 2, 3  # calls of a phase: those before compile and fill the queues


class StepTime:
  """Splits the time of a phase's calls into waiting for data, waiting for the device, and the rest.

  The first call, which compiles, counts nowhere.

  Args:
    metrics: told `seconds` an update and the three shares of them, `data`, `device` and `host`.
    phase: 'critic' or 'actor'.
    trace: directory that a `jax.profiler` trace of a few calls is written to; None for none.
  """

  def __init__(self, metrics: metrics_lib.Writer, phase: str, trace: pathlib.Path | None):
    self._metrics, self._phase = metrics, phase
    self._trace = trace if hosts.is_first() else None
    self._calls = 0
    self._tracing = False
    self._restart()

  @contextlib.contextmanager
  def waiting(self, reason: Literal['data', 'device']) -> Iterator[None]:
    """Counts what is done meanwhile as waiting."""
    start = time.perf_counter()
    yield
    self._waited[reason] += time.perf_counter() - start

  def begin_call(self) -> None:
    """Begins the trace where it is due."""
    if self._trace is not None and self._calls == _FIRST_TRACED:
      jax.profiler.start_trace(str(self._trace))
      self._tracing = True

  def end_call(self, step: int, updates: int, out: object, *, last: bool) -> None:
    """Counts a call that was dispatched; writes a record now and then.

    Args:
      step: of the run, after the call.
      updates: of the call.
      out: of the call; the trace ends when it is there.
      last: whether it is the phase's last.
    """
    self._calls += 1
    if self._tracing and (last or self._calls == _FIRST_TRACED + _TRACED):
      self.stop_trace(out)
    if self._calls == 1:
      self._restart()
      return
    self._updates += updates
    passed = time.perf_counter() - self._start
    if last or passed > _WRITE_SECONDS:
      shares = {name: seconds / passed for name, seconds in self._waited.items()}
      shares['host'] = max(0.0, 1 - sum(shares.values()))
      numbers = {'seconds': passed / self._updates, **shares}
      self._metrics.write(step, numbers, phase=f'{self._phase}_time', measured=True)
      self._restart()

  def stop_trace(self, out: object = None) -> None:
    """Ends a trace that is being written, once what was computed is there."""
    if not self._tracing:
      return
    jax.block_until_ready(out)
    jax.profiler.stop_trace()
    self._tracing = False
    progress.CONSOLE.print(f'Trace of {_TRACED} calls: {self._trace}', soft_wrap=True)

  def _restart(self) -> None:
    self._start = time.perf_counter()
    self._waited = {'data': 0.0, 'device': 0.0}
    self._updates = 0
