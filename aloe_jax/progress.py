"""Progress of anything that takes more than a few seconds: a bar on a terminal, else lines."""

from collections.abc import Callable, Iterator
import contextlib
import time

import rich.console
import rich.progress

CONSOLE = rich.console.Console()
if not CONSOLE.is_terminal:
  CONSOLE.width = 120  # of tables in a log file
KEPT = 'kept from before'
LINE_SECONDS = 15.0  # between lines where there is no terminal to draw a bar on

Advance = Callable[..., None]  # advance(done, **numbers to show)


@contextlib.contextmanager
def bar(what: str, total: int | None, unit: str, first: int = 0) -> Iterator[Advance]:
  """Shows how far something has come, its rate and the time left.

  Args:
    what: is going on.
    total: units of all of it; None if that is not known.
    unit: in the plural, such as 'updates'.
    first: units that were done before.

  Yields:
    A function to call with the units done so far and numbers worth seeing; one that is never
    called had nothing to do, as all of it was kept from before.
  """
  start = time.monotonic()
  done_last: int | None = None

  def line(done: int, numbers: dict[str, float]) -> str:
    rate = (done - first) / max(time.monotonic() - start, 1e-6)
    shown = ''.join(f'  {name} {value:.4g}' for name, value in numbers.items())
    of_all = '' if total is None else f'/{total}'
    return f'{what}: {done}{of_all} {unit}, {rate:.1f}/s{shown}'

  if CONSOLE.is_terminal:
    columns = (
      rich.progress.TextColumn('{task.description}'),
      rich.progress.BarColumn(),
      rich.progress.MofNCompleteColumn(),
      rich.progress.TextColumn(unit),
      rich.progress.TimeElapsedColumn(),
      rich.progress.TextColumn('left'),
      rich.progress.TimeRemainingColumn(),
      rich.progress.TextColumn('{task.fields[shown]}'),
    )
    with rich.progress.Progress(*columns, console=CONSOLE) as progress:
      task = progress.add_task(what, total=total, completed=first, shown='')

      def advance(done: int, **numbers: float) -> None:
        nonlocal done_last
        done_last = done
        shown = ' '.join(f'{name} {value:.4g}' for name, value in numbers.items())
        progress.update(task, completed=done, shown=shown)

      yield advance
      if done_last is None:
        progress.update(task, completed=total or 0, shown=KEPT)
    return

  shown_at = start

  def advance_lines(done: int, **numbers: float) -> None:
    nonlocal shown_at, done_last
    done_last = done
    if (total is None or done < total) and time.monotonic() - shown_at < LINE_SECONDS:
      return
    shown_at = time.monotonic()
    CONSOLE.print(line(done, numbers), highlight=False)

  yield advance_lines
  if done_last is None and total is not None:
    CONSOLE.print(f'{what}: {total} {unit}, {KEPT}', highlight=False)
  elif done_last is not None and total is not None and done_last < total:
    CONSOLE.print(line(done_last, {}), highlight=False)
