"""Figures of a comparison: the paper's Figs. 3 to 5, with what runs of other seeds found.

`results` is what `comparison.tables` describes.
"""

from collections.abc import Callable, Mapping
import dataclasses
import pathlib

from matplotlib import axes as axes_lib
from matplotlib import figure
from matplotlib import ticker
import numpy as np

from aloe_jax import plots
from aloe_jax.comparison import paired
from aloe_jax.comparison import tables

_ALL = 'mean'
_MANY = 8  # methods that colours still tell apart
_ABREAST = 5  # panels in a row
_PERCENT = 100.0  # where axes of success rates end: an interval of few seeds may reach beyond


def draw(results: tables.Results, directory: pathlib.Path) -> None:
  """Writes the figures as PNG files; older ones of these names are replaced, or go.

  Of more methods than colours tell apart, only their differences are drawn; and these only where
  there is something that they are from. Where runs are missing, all is of the methods that
  `tables.compared` has, and of the seeds of a task that have runs of each of them, or where none
  has, of those there are. Warm starts alone are not drawn.
  """
  for name, make in _FIGURES.items():
    drawing = make(results)
    if drawing is None:
      (directory / name).unlink(missing_ok=True)
    else:
      plots.save(drawing, directory / name)


def _is_legible(results: tables.Results) -> bool:
  """Whether there are methods, and no more than colours tell apart."""
  return 0 < len(results['methods']) <= _MANY


def _differences(results: tables.Results) -> figure.Figure | None:
  """A row a method: how far the first reference is ahead, in every run and on average."""
  reference = next(iter(tables.references(results)), None)
  if reference is None:
    return None
  methods = [tables.WARM_START, *results['methods']]
  methods.remove(reference)
  methods = [method for method in methods if tables.values(results, method, tables.final)]
  if not methods:
    return None
  first = tables.values(results, reference, tables.final)
  means = [tables.ahead(results, reference, method, tables.final) for method in methods]
  label = 'mean' if all(np.isnan(mean.low) for mean in means) else 'mean and 95 % interval'
  size = (7.2, 1.2 + 0.32 * len(methods))
  drawing = figure.Figure(figsize=size, dpi=150, layout='constrained')
  axes = drawing.subplots()
  for row, (method, mean) in enumerate(zip(methods, means, strict=True)):
    found = tables.values(results, method, tables.final)
    for index, task in enumerate(results['tasks']):
      ahead = [first[key] - x for key, x in found.items() if key[0] == task and key in first]
      axes.plot(
        ahead,
        np.full(len(ahead), row - 0.18),
        linestyle='none',
        marker=plots.marker(index),
        markersize=3.5,
        color=plots.colour(index),
        alpha=0.6,
        label=f'{task}, a seed' if row == 0 else None,
      )
    axes.errorbar(
      mean.mean,
      row + 0.1,
      xerr=_errors([mean]),
      color='black',
      marker='D',
      markersize=4,
      capsize=3,
      label=label if row == 0 else None,
    )
  shown = [tables.SHOWN.get(name, name) for name in methods]
  axes.set_yticks(range(len(methods)), shown)
  axes.set_ylim(len(methods) - 0.5, -0.5)
  axes.axvline(0, color=plots.GREY, linewidth=1)
  axes.set_xlabel(f'final success of {reference} minus that of the method (points)')
  axes.grid(axis='x', alpha=0.3)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  drawing.legend(loc='outside lower center', ncols=2, frameon=False)
  return drawing


def _by_iteration(results: tables.Results) -> figure.Figure | None:
  """One panel a task and one for their mean, in brackets the number of runs; a line a method.

  The bars of a task span its runs, as an interval of so few would be wider than the axes; those of
  the mean are 95 % intervals.
  """
  if not _is_legible(results):
    return None
  methods = tables.compared(results)
  panels = [*results['tasks'], *([_ALL] if tables.common(results) else [])]
  columns = min(len(panels), _ABREAST)
  rows = -(-len(panels) // columns)
  size = (max(9.6, 3.2 * columns), 3.6 * rows)
  drawing = figure.Figure(figsize=size, dpi=150, layout='constrained')
  last = max(len(run['iterations']) for run in results['runs']) - 1
  grid = drawing.subplots(rows, columns, sharey=True, squeeze=False)
  for axes in grid.flat[len(panels) :]:
    axes.remove()
  for axes, task in zip(grid.flat, panels, strict=False):
    for index, method in enumerate(methods):
      measures = [tables.rate_of(number) for number in range(last + 1)]
      found = [_mean(results, task, method, measure) for measure in measures]
      shift = 0.04 * (index - (len(methods) - 1) / 2)  # keeps the bars apart
      errors = np.array(_errors(found))
      if task != _ALL:
        spans = [_span(results, task, method, measure) for measure in measures]
        errors = np.abs(np.transpose(spans) - [x.mean for x in found])
      if index:
        errors[:, 0] = np.nan  # the warm start is that of all methods
      axes.errorbar(
        np.arange(last + 1) + np.where(np.arange(last + 1) > 0, shift, 0),
        [x.mean for x in found],
        yerr=errors,
        color=plots.colour(results['colours'][method]),
        marker=plots.marker(results['colours'][method]),
        markersize=4,
        linewidth=2.4 if method == tables.REFERENCES[0] else 1.3,
        elinewidth=0.9,
        capsize=2,
        label=method if axes is grid[0, 0] else None,
      )
    counts = {_mean(results, task, x, tables.final).pairs for x in methods}
    runs = sorted(counts - {0}) or [0]  # of a task that has warm starts alone
    axes.set_title(f'{task} [{" to ".join(map(str, dict.fromkeys((runs[0], runs[-1]))))}]')
    axes.set_xlabel('RL iteration')
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    _clean(axes, _PERCENT)
  for axes in grid[:, 0]:
    axes.set_ylabel('success rate (%)')
  title = 'bars: of a task from its lowest run to its highest, of the mean the 95 % interval'
  drawing.legend(loc='outside lower center', ncols=4, frameon=False, title=title)
  return drawing


def _by_method(results: tables.Results) -> figure.Figure | None:
  return _bars(results, {'final success rate (%)': tables.final}, most=_PERCENT)


def _throughput(results: tables.Results) -> figure.Figure | None:
  return _bars(results, {'successes per hour': tables.last('successes_per_hour')})


def _conditions(results: tables.Results) -> figure.Figure | None:
  measures = {
    f'{tables.CONDITIONS[condition]}: success rate (%)': tables.rate_under(condition)
    for condition in tables.under(results)
  }
  return _bars(results, measures, most=_PERCENT) if measures else None


def _bars(
  results: tables.Results,
  measures: Mapping[str, Callable[[dict], float]],
  most: float = np.inf,
) -> figure.Figure | None:
  """A row a measure, a group of bars a task."""
  if not _is_legible(results):
    return None
  groups = [*results['tasks'], _ALL]
  methods = [tables.WARM_START, *tables.compared(results)]
  size = (max(9.6, 1.6 * len(groups)), 3.4 * len(measures))
  drawing = figure.Figure(figsize=size, dpi=150, layout='constrained')
  rows = drawing.subplots(len(measures), 1, squeeze=False)[:, 0]
  for axes, (title, measure) in zip(rows, measures.items(), strict=True):
    for index, method in enumerate(methods):
      found = [_mean(results, task, method, measure) for task in groups]
      if np.isinf(most):  # tasks have no common scale, and so no common variance
        found[-1] = dataclasses.replace(found[-1], low=np.nan, high=np.nan)
      axes.bar(
        np.arange(len(groups)) + 0.8 * ((index + 0.5) / len(methods) - 0.5),
        [x.mean for x in found],
        width=0.8 / len(methods),
        yerr=_errors(found),
        color=plots.GREY if index == 0 else plots.colour(results['colours'][method]),
        alpha=0.9,
        error_kw=dict(elinewidth=0.9, capsize=2),
        label=tables.SHOWN.get(method, method) if axes is rows[0] else None,
      )
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(title)
    _clean(axes, most)
  drawing.legend(loc='outside lower center', ncols=5, frameon=False)
  return drawing


def _mean(
  results: tables.Results, task: str, method: str, measure: Callable[[dict], float]
) -> paired.Difference:
  return paired.mean(_values(results, task, method, measure))


def _span(
  results: tables.Results, task: str, method: str, measure: Callable[[dict], float]
) -> tuple[float, float]:
  """What the lowest and the highest of the runs measured that `_mean` is of."""
  found = _values(results, task, method, measure).values()
  return min(found, default=np.nan), max(found, default=np.nan)


def _values(
  results: tables.Results, task: str, method: str, measure: Callable[[dict], float]
) -> paired.Pairs:
  """Of the runs of a task that are compared, of every task for the mean."""
  found = tables.common_values(results, method, measure)
  if task != _ALL:
    found = {key: x for key, x in found.items() if key[0] == task}
  return found or tables.values(results, method, measure, [task])


def _errors(found: list[paired.Difference]) -> list[list[float]]:
  return [[x.mean - x.low for x in found] for _ in range(2)]  # not a number: no bar is drawn


def _clean(axes: axes_lib.Axes, most: float) -> None:
  axes.set_ylim(0, 1.02 * most if np.isfinite(most) else max(axes.get_ylim()[1], 1))
  axes.grid(axis='y', alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)


_FIGURES = {
  'differences.png': _differences,
  'success_by_iteration.png': _by_iteration,
  'success_by_method.png': _by_method,
  'throughput.png': _throughput,
  'conditions.png': _conditions,
}
