"""Figures of a run, as files."""

from collections.abc import Mapping
import os
import pathlib

from matplotlib import figure
from matplotlib import ticker

from aloe_jax import files
from aloe_jax import metrics

_COLOURS = (  # Okabe and Ito
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#000000',
  '#b8a900',
)
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
MARKERS = len(_MARKERS)
GREY = '#555555'


def learning_curves(
  path: str | os.PathLike,
  curves: Mapping[str, Mapping[int, tuple[int, int]]],
  *,
  warm_start: tuple[int, int] | None = None,
  title: str = '',
) -> None:
  """Writes the figure of `draw_learning_curves`, complete or not at all.

  Args:
    path: of the figure; its ending names the format, such as `.png` or `.svg`. An older file of
      the name is replaced.
    curves, warm_start, title: see `draw_learning_curves`, whose errors name the path.
  """
  try:
    drawing = draw_learning_curves(curves, warm_start=warm_start, title=title)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  save(drawing, pathlib.Path(path))


def draw_learning_curves(
  curves: Mapping[str, Mapping[int, tuple[int, int]]],
  *,
  warm_start: tuple[int, int] | None = None,
  title: str = '',
) -> figure.Figure:
  """The success rate of every iteration with its 95 % Wilson interval.

  Args:
    curves: {algorithm: {RL iteration: (successes, trials)}}, at most eight.
    warm_start: (successes, trials) of the policy all curves start from, drawn as a band.
    title: such as the task.

  Raises:
    ValueError: if there is nothing to draw, too much, or a count that is not possible.
  """
  if not curves or not all(curves.values()):
    raise ValueError('found a curve without points, expected one iteration at least.')
  if len(curves) > len(_COLOURS):
    raise ValueError(f'found {len(curves)} curves, expected at most {len(_COLOURS)}.')

  drawing = figure.Figure(figsize=(6.4, 4.0), dpi=150, layout='constrained')
  axes = drawing.subplots()
  if warm_start is not None:
    low, high = metrics.wilson_interval(*warm_start)
    rate = _percent(*warm_start)
    axes.axhspan(100 * low, 100 * high, color=GREY, alpha=0.15, linewidth=0)
    axes.axhline(rate, color=GREY, linestyle='--', label=f'BC warm start, {rate:.0f} %')
  for index, (name, points) in enumerate(curves.items()):
    iterations = sorted(points)
    rates = [_percent(*points[i]) for i in iterations]
    intervals = [metrics.wilson_interval(*points[i]) for i in iterations]
    below = [rate - 100 * low for rate, (low, _) in zip(rates, intervals, strict=True)]
    above = [100 * high - rate for rate, (_, high) in zip(rates, intervals, strict=True)]
    shift = 0.06 * (index - (len(curves) - 1) / 2)  # keeps the bars of curves apart
    axes.errorbar(
      [i + shift for i in iterations],
      rates,
      yerr=[below, above],
      color=colour(index),
      marker=marker(index),
      linewidth=1.8,
      elinewidth=1.2,
      capsize=3,
      label=name,
    )
  axes.set_title(title)
  axes.set_xlabel('RL iteration')
  axes.set_ylabel('Success rate (%), 95 % interval')
  axes.set_ylim(-2, 102)
  axes.margins(x=0.08)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  axes.grid(axis='y', alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  drawing.legend(loc='outside lower center', ncols=4, frameon=False)
  return drawing


def colour(index: int) -> str:
  """Of a curve; colours repeat after eight, and are told apart by the colour-blind."""
  return _COLOURS[index % len(_COLOURS)]


def marker(index: int) -> str:
  """Of a curve's points; see `colour`."""
  return _MARKERS[index % len(_MARKERS)]


def save(drawing: figure.Figure, path: pathlib.Path) -> None:
  """Writes a figure, complete or not at all, in the format that its name ends in."""
  with files.replacing(path) as temporary:
    drawing.savefig(temporary)


def _percent(successes: int, trials: int) -> float:
  """Success rate in percent."""
  if trials == 0:
    raise ValueError('found a point of 0 trials, expected at least one; leave the point out.')
  return 100 * successes / trials
