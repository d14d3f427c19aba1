"""The evaluations of a run: kept as JSON, shown as a table and as learning curves."""

from collections.abc import Sequence
import json
import pathlib
from typing import Any

import rich.table

from aloe_jax import files
from aloe_jax import progress
from aloe_jax.buckets import twin
from aloe_jax.parallel import hosts
from aloe_jax.run import appended as appended_lib
from aloe_jax.run import evaluation
from aloe_jax.run import phases
from aloe_jax.run import plausible

_FIELDS = tuple(evaluation.Evaluation.__dataclass_fields__)
_SHOWN = ('iteration', 'successes', 'episodes', 'success_rate', 'low', 'high', 'throughput')
_ADVICE = (
  'put back the file as the run wrote it, or start another --workdir: the policies of past '
  'iterations are not evaluated again.'
)


class Results:
  """Evaluations by RL iteration; 0 is the BC warm start.

  Args:
    path: of the JSON file; read if it exists.

  Raises:
    ValueError: the file is damaged, or holds a number that cannot be.
  """

  def __init__(self, path: pathlib.Path):
    self._path = path
    self._evaluations: dict[int, evaluation.Evaluation] = {}
    for entry in _entries(path, ('iteration', *_FIELDS)):
      found = evaluation.Evaluation(**{name: entry[name] for name in _FIELDS})
      self._evaluations[entry['iteration']] = found

  def __contains__(self, iteration: int) -> bool:
    return iteration in self._evaluations

  @property
  def best(self) -> int | None:
    """The iteration whose policy succeeds most often, the latest of equals; None without any."""
    rated = [(e.success_rate, iteration) for iteration, e in self._evaluations.items()]
    return max(rated)[1] if rated else None

  def forget(self, done: int | None, *, warms_up: bool) -> list[int]:
    """Drops what was measured of policies that are not there any more, and are learnt once more.

    Args:
      done: number of the newest checkpoint, None for none.
      warms_up: whether imitation comes first, which leaves checkpoint 0.

    Returns:
      Their iterations.
    """
    newest = (-1 if warms_up else 0) if done is None else done
    gone = [i for i in sorted(self._evaluations) if phases.actor_number(i) > newest]
    for iteration in gone:
      del self._evaluations[iteration]
    if gone:
      self._keep()
    return gone

  def add(self, iteration: int, result: evaluation.Evaluation) -> None:
    """Keeps an evaluation, on disk when this returns."""
    self._evaluations[iteration] = result
    self._keep()

  def _keep(self) -> None:
    entries = [{'iteration': i} | e.summary() for i, e in sorted(self._evaluations.items())]
    if hosts.is_first():
      files.write_text(self._path, json.dumps(entries, indent=2))

  def report(
    self,
    path: pathlib.Path,
    agent: str,
    task: str,
    appended: Sequence[appended_lib.Appended] = (),
  ) -> None:
    """Draws the learning curve and prints the table; the first host does.

    Args:
      path: of the drawing.
      agent: name of the algorithm.
      task: what the robot is asked to do.
      appended: the iterations that a user has appended, which are called what they are.
    """
    if not hosts.is_first():
      return
    from aloe_jax import plots  # a second of every program's start

    by_iteration = sorted(self._evaluations.items())
    counts = {iteration: (e.successes, e.episodes) for iteration, e in by_iteration}
    plots.learning_curves(path, {agent.upper(): counts}, warm_start=counts[0], title=task)
    table = rich.table.Table(title=f'{agent.upper()}: {task}')
    for column in evaluation.COLUMNS:
      table.add_column(column, justify='left' if column in ('policy', 'ends') else 'right')
    for iteration, e in by_iteration:
      table.add_row(appended_lib.policy_name(iteration, appended), *e.cells())
    progress.CONSOLE.print(table)
    first, last = by_iteration[0][1], by_iteration[-1][1]
    gain = 100 * (last.success_rate - first.success_rate)
    apart = last.interval[0] > first.interval[1] or last.interval[1] < first.interval[0]
    if len(by_iteration) > 1:
      progress.CONSOLE.print(
        f'{agent.upper()} ends {gain:+.1f} points from its BC warm start over '
        f'{last.episodes} episodes; the 95 % intervals {"do not overlap" if apart else "overlap"}.'
      )
    progress.CONSOLE.print(f'Learning curve: {twin.shown(path)}', soft_wrap=True)


def read(path: pathlib.Path) -> list[dict]:
  """What was kept of each evaluation, see `Evaluation.summary`; [] where there is none.

  Raises:
    ValueError: the file is damaged, or holds a number that cannot be.
  """
  return _entries(path, _SHOWN)


def _entries(path: pathlib.Path, needed: Sequence[str]) -> list[dict[str, Any]]:
  """The entries of a file, each with the names that are needed, and looked through."""
  entries = files.read_entries(path, needed, _ADVICE)
  for index, entry in enumerate(entries):
    if wrong := plausible.fault_of_run(f'entry {index}', entry):
      raise ValueError(f'{path}: {wrong}; {_ADVICE}')
  iterations = [entry['iteration'] for entry in entries]
  if twice := [i for i in iterations if iterations.count(i) > 1]:
    raise ValueError(
      f'{path}: found {iterations.count(twice[0])} evaluations of iteration {twice[0]}, expected '
      f'one; {_ADVICE}'
    )
  return entries


def check(path: pathlib.Path, done: int | None) -> None:
  """Looks whether all policies were evaluated that have learnt further since.

  Args:
    path: of the JSON file.
    done: number of the newest checkpoint, None for none.

  Raises:
    ValueError: one was not, or the file is damaged.
  """
  evaluated = {entry['iteration'] for entry in read(path)}
  for iteration in range(((done or 0) + 1) // 2):
    if iteration not in evaluated:
      raise ValueError(
        f'{path} {"lacks" if path.exists() else "is missing, and with it"} the evaluation of '
        f'iteration {iteration}, whose policy has learnt further since, up to checkpoint {done}; '
        f'{_ADVICE}'
      )
