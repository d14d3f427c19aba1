"""Figures of the report: an episode through the critic's eyes, and the card's numbers as curves.

All values are in environment steps. Figures are drawn on nothing, in black where the page will put
the colour of its text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure
from matplotlib import ticker
import numpy as np

from aloe_jax import plots
from aloe_jax import types
from aloe_jax.reporting import judgement as judgement_lib
from aloe_jax.reporting import numbers
from aloe_jax.reporting import traces

_WIDTH = 4.8  # inches, at which text is readable on a phone
_SOURCES = {types.Source.DEMO: 2, types.Source.POLICY: 0, types.Source.HUMAN: 1}  # colours
_SUCCESS, _FAILURE = plots.colour(2), plots.colour(1)
_BAND = (10, 90)  # percentiles


def trajectory(trace: traces.Trace, title: str) -> figure.Figure:
  """Q and V along an episode, its end marked, over what the head camera saw (Figs. 3 and 9)."""
  strip = len(trace.frames) > 0
  drawing = figure.Figure(figsize=(_WIDTH, 3.4 if strip else 2.7), layout='constrained')
  grid = drawing.add_gridspec(2 if strip else 1, max(len(trace.frames), 1), hspace=0.02)
  if strip:
    grid.set_height_ratios([3, 1])
  axes = drawing.add_subplot(grid[0, :])
  for number, q in enumerate(trace.q):
    label = 'Q of each member' if number == 0 else None
    axes.plot(trace.step, q, color=plots.colour(5), linewidth=0.8, label=label)
  told = 'pessimistic Q' if len(trace.q) else 'V'
  axes.plot(trace.step, trace.score, color=plots.colour(0), linewidth=1.8, label=told)
  if len(trace.q):
    axes.plot(trace.step, trace.v, color=plots.colour(4), linestyle='--', label='V of the policy')
  success = trace.end_reason == types.EndReason.SUCCESS
  axes.axvline(trace.end, color=_SUCCESS if success else _FAILURE, linewidth=1.4)
  if trace.human.any():
    start = trace.step[trace.human][0]
    axes.axvspan(start, trace.step[-1], color='#888888', alpha=0.15, linewidth=0)
    axes.text(start, 1, ' human', transform=axes.get_xaxis_transform(), va='top', fontsize=8)
  axes.set(title=title, xlabel='step', ylabel='return to come (steps)')
  axes.title.set_fontsize(10)
  _legend(axes)
  _clean(axes)
  for number, (step, frame) in enumerate(zip(trace.frame_steps, trace.frames, strict=True)):
    below = drawing.add_subplot(grid[1, number])
    below.imshow(frame, interpolation='none')
    below.set(xticks=[], yticks=[])
    marked = step == trace.end
    below.set_xlabel(f'{step}', fontsize=8, fontweight='bold' if marked else 'normal')
    for spine in below.spines.values():
      spine.set_color((_SUCCESS if success else _FAILURE) if marked else '#888888')
      spine.set_linewidth(2.5 if marked else 0.5)
  return drawing


def calibration(judged: judgement_lib.Judgement) -> figure.Figure:
  """Realised against predicted return, in bins of equally many chunks of each source."""
  drawing, axes = _single(2.9)
  values = []
  for source, colour in _SOURCES.items():
    rows = judged.terminal & (judged.source == source)
    if not rows.any():
      continue
    predicted, realised, _ = numbers.calibration(judged.score[rows], judged.returns[rows])
    values += [predicted, realised]
    name = source.name.lower()
    axes.plot(predicted, realised, marker='o', color=plots.colour(colour), label=name)
  if values:
    ends = [np.concatenate(values).min(), np.concatenate(values).max()]
    axes.plot(ends, ends, color='#888888', linestyle=':', label='as predicted')
    _legend(axes)
  axes.set(xlabel='predicted (steps)', ylabel='realised return (steps)')
  return drawing


def towards_the_end(judged: judgement_lib.Judgement, width: int) -> figure.Figure:
  """Score and ensemble spread against steps to the end of the policy's fragments.

  Args:
    judged: R chunks.
    width: of the bins, in steps.
  """
  panels = {'score (steps)': judged.score}
  if judged.q is not None:
    panels['ensemble spread (steps)'] = judged.q.std(axis=0)
  drawing = figure.Figure(figsize=(_WIDTH, 2.2 * len(panels) + 0.4), layout='constrained')
  grid = drawing.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
  own = judged.terminal & (judged.source == types.Source.POLICY)
  success = judged.end == types.EndReason.SUCCESS
  failure = np.isin(judged.end, numbers.FAILED)
  for axes, (label, x) in zip(grid, panels.items(), strict=True):
    for name, rows, colour in (('success', success, _SUCCESS), ('failure', failure, _FAILURE)):
      _band(axes, judged.left[own & rows], x[own & rows], width, colour, name)
    axes.set_ylabel(label)
    _clean(axes)
  _legend(grid[0])
  grid[-1].set_xlabel('steps to the end')
  grid[-1].invert_xaxis()
  return drawing


def weights(weight: np.ndarray, source: np.ndarray) -> figure.Figure:
  """Histogram of the weights w [R] of Eq. (11), by source [R]."""
  drawing, axes = _single(2.4)
  edges = np.geomspace(max(weight.min(), 1e-4), max(weight.max(), 1e-3) * 1.001, 30)
  for kind, colour in _SOURCES.items():
    chosen = weight[source == kind]
    if chosen.size:
      part = np.full(chosen.size, 1 / chosen.size)
      axes.hist(
        chosen.clip(min=edges[0]),
        edges,
        weights=part,
        histtype='step',
        linewidth=1.5,
        color=plots.colour(colour),
        label=kind.name.lower(),
      )
  axes.set(xscale='log', xlabel='weight', ylabel='share of chunks')
  _legend(axes)
  return drawing


def losses(records: Sequence[Mapping[str, Any]], phase: str) -> figure.Figure:
  """The loss of a phase over all updates of a run.

  Args:
    records: of `metrics.jsonl`, in order.
    phase: 'critic' or 'actor'.
  """
  drawing, axes = _single(2.2)
  points = [(r['step'], r['loss']) for r in records if r.get('phase') == phase and r.get('loss')]
  step, loss = np.array(points).T
  if len(step) > 1:
    loss[1:][np.diff(step) > 4 * np.median(np.diff(step))] = np.nan  # where another phase ran
  axes.plot(step, loss, color=plots.colour(0), marker='' if len(step) > 1 else 'o')
  axes.set(xlabel='update', ylabel=f'{phase} loss', yscale='log')
  axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
  return drawing


def _single(height: float) -> tuple[figure.Figure, Any]:
  drawing = figure.Figure(figsize=(_WIDTH, height), layout='constrained')
  axes = drawing.subplots()
  _clean(axes)
  return drawing, axes


def _clean(axes: Any) -> None:
  axes.grid(alpha=0.25)
  axes.spines[['top', 'right']].set_visible(False)


def _legend(axes: Any) -> None:
  if axes.get_legend_handles_labels()[0]:  # else Matplotlib warns
    axes.legend(frameon=False, fontsize=8)


def _band(axes: Any, left: np.ndarray, x: np.ndarray, width: int, colour: str, name: str) -> None:
  """Mean and band of x by steps to the end, wherever five chunks say what it is."""
  places = left // width
  shown = [place for place in np.unique(places) if (places == place).sum() >= 5]
  if not shown:
    return
  centre = [width * (place + 0.5) - 0.5 for place in shown]
  parts = [x[places == place] for place in shown]
  low, high = np.transpose([np.percentile(part, _BAND) for part in parts])
  axes.fill_between(centre, low, high, color=colour, alpha=0.2, linewidth=0)
  axes.plot(centre, [part.mean() for part in parts], color=colour, label=name)
