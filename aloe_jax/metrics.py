"""Numbers of a run as TensorBoard events and JSON lines, and the interval of a success rate."""

from collections.abc import Mapping
import json
import math
import os
import pathlib
import time
from typing import Any

import tensorboardX

_ADVICE = 'remove that line, or move the file away: only drawings of the losses are made of it.'


class MetricsWriter:
  """Writes scalars of a run to a directory; a context manager.

  `metrics.jsonl` holds one object a line, {"step", "time" (seconds since 1970), "phase" if
  one was given, and the scalars}; every line is on disk when `write` returns. TensorBoard
  gets the same numbers under `phase/name`.

  A run that resumes passes the step it starts from again. Records of that step and later
  ones, written between the last checkpoint and the interruption, are dropped from the file
  and hidden in TensorBoard, so that every step counts once.
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
      ValueError: a record that is there is damaged.
      ModuleNotFoundError: if Weights & Biases is asked for and not installed.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    self._wandb = _start_wandb(directory, wandb_name) if wandb_name else None
    path = directory / 'metrics.jsonl'
    if path.exists():
      _drop_records(path, resume_step)
    self._lines = path.open('a', encoding='utf-8')
    purge = {} if resume_step is None else {'purge_step': resume_step}
    self._events = tensorboardX.SummaryWriter(str(directory), **purge)

  def __enter__(self) -> 'MetricsWriter':
    return self

  def __exit__(self, *unused_exception: object) -> None:
    self.close()

  def write(self, step: int, scalars: Mapping[str, float], *, phase: str = '') -> None:
    """Writes scalars, anything `float` takes, of one step.

    Args:
      step: counted over the whole run.
      scalars: {name: value}; a value that is not finite is null in the JSON line.
      phase: of the algorithm, such as `critic`; prefixes the names in TensorBoard.
    """
    values = {name: float(value) for name, value in scalars.items()}
    record: dict[str, Any] = {'step': int(step), 'time': round(time.time(), 3)}
    if phase:
      record['phase'] = phase
    record |= {name: value if math.isfinite(value) else None for name, value in values.items()}
    self._lines.write(json.dumps(record) + '\n')
    self._lines.flush()
    tagged = {f'{phase}/{name}' if phase else name: value for name, value in values.items()}
    for tag, value in tagged.items():
      self._events.add_scalar(tag, value, int(step))
    if self._wandb is not None:
      self._wandb.log(tagged, step=int(step))

  def close(self) -> None:
    """Flushes and closes everything."""
    self._lines.close()
    self._events.close()
    if self._wandb is not None:
      self._wandb.finish()


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
  """Wilson's score interval of a success rate; z = 1.96 covers it with 95 %.

  It keeps to [0, 1] and stays honest where few trials or none succeed. Without trials
  nothing is known, and it is (0, 1).
  """
  if not 0 <= successes <= trials:
    raise ValueError(f'found {successes} successes in {trials} trials, expected 0 to {trials}.')
  if trials == 0:
    return 0.0, 1.0
  rate = successes / trials
  spread = z**2 / trials
  centre = (rate + spread / 2) / (1 + spread)
  half_width = z * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
  return max(0.0, centre - half_width), min(1.0, centre + half_width)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """The records of a `metrics.jsonl`, without a last line that a crash cut short.

  Raises:
    ValueError: a line is damaged; names it.
  """
  lines = _lines(path)
  records = [_record(path, number, line) for number, line in enumerate(lines[:-1], start=1)]
  for line in lines[-1:]:
    try:
      records.append(_record(path, len(lines), line))
    except ValueError:
      if line.endswith('\n'):
        raise
  return records


def _lines(path: pathlib.Path) -> list[str]:
  try:
    return path.read_text(encoding='utf-8').splitlines(keepends=True)
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: found what is no text ({error}); {_ADVICE}') from error


def _record(path: pathlib.Path, number: int, line: str) -> dict[str, Any]:
  """The record of a line, counted from 1."""
  try:
    record = json.loads(line)
  except ValueError:
    record = None
  if not isinstance(record, dict) or type(record.get('step')) is not int:
    raise ValueError(
      f'{path}, line {number}: found {line.strip()!r:.80}, expected a JSON object with a whole '
      f'number "step"; {_ADVICE}'
    )
  return record


def _drop_records(path: pathlib.Path, resume_step: int | None) -> None:
  """Keeps the records before a step, and drops a last line that a crash cut short."""
  lines = _lines(path)
  complete = [line for line in lines if line.endswith('\n')]
  steps = [_record(path, number, line)['step'] for number, line in enumerate(complete, start=1)]
  kept = [
    line
    for step, line in zip(steps, complete, strict=True)
    if resume_step is None or step < resume_step
  ]
  if kept != lines:
    partial = path.with_name(f'.{path.name}.partial')
    partial.write_text(''.join(kept), encoding='utf-8')
    partial.replace(path)


def _start_wandb(directory: pathlib.Path, name: str) -> Any:
  import wandb  # an extra: not everyone has an account

  return wandb.init(project='aloe_jax', name=name, dir=str(directory))
