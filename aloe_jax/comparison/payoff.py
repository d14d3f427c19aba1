"""Whether the first card of a run tells what reinforcement learning will bring in the end.

The card of iteration 1 is asked before any policy that a critic chose for has acted. It is held
against what a lab that needs no critic would have had instead: imitation of what succeeded.

Legend of shapes: R runs.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib import figure
import numpy as np

from aloe_jax import estimates
from aloe_jax import plots
from aloe_jax.comparison import foresight
from aloe_jax.comparison import paired
from aloe_jax.comparison import store
from aloe_jax.comparison import tables
from aloe_jax.reporting import foretold

METHOD = tables.REFERENCES[0]
BASELINE = 'filtered BC'
BEFORE = 'success before'
BIAS = 'bias_v in standard deviations'  # of the return: what the card's words are of
_DRAWN = {
  BIAS: 'how far V is too high (standard deviations of the return)',
  'spearman_own': "rank correlation with what came of the policy's own chunks",
}


class Told(NamedTuple):
  """A run whose first card was asked.

  Attributes:
    suite: of runs, that it belongs to.
    point: of iteration 1, see `comparison.foresight`.
    gain: final success of `METHOD` minus that of `BASELINE`, in points.
  """

  suite: str
  point: foresight.Point
  gain: float


def gains(results: tables.Results) -> dict[tuple[str, int], float]:
  """{(task, seed): final success of `METHOD` minus that of `BASELINE`, in points}."""
  first, second = (tables.values(results, name, tables.final) for name in (METHOD, BASELINE))
  return {key: first[key] - second[key] for key in first if key in second}


def match(points: foresight.Points, gain: Mapping[str, paired.Pairs]) -> list[Told]:
  """The runs of `METHOD` that have both a first card and a gain.

  Args:
    points: all that cards foretold.
    gain: {suite: its `gains`}.
  """
  return [
    Told(suite, point, own[key])
    for suite, own in gain.items()
    for point in points
    if point['iteration'] == 1
    and point['method'] == store.slug(METHOD)
    and (key := (point['task'], point['seed'])) in own
  ]


def followed(told: list[Told]) -> list[Told]:
  """The same, had `BASELINE` been taken wherever the first card could not tell.

  That is known without another run: until then both have the same warm start and episodes.
  """
  could_not = foretold.UNKNOWN
  return [
    one._replace(gain=0.0) if foresight.expected(one.point) == could_not else one for one in told
  ]


def correlations(told: list[Told]) -> dict[str, dict[str, Any]]:
  """Spearman's rank correlation of the gain with each number of the first card.

  Returns:
    {name of the number: {'value', 'low', 'high', 'runs'}}, the interval from resampling tasks, as
    runs of one task gain alike; of numbers that vary and that two runs or more have.
  """
  gain = np.array([one.gain for one in told])
  task = np.unique([one.point['task'] for one in told], return_inverse=True)[1]
  found = {}
  for name in (BEFORE, BIAS, *foresight.NUMBERS):
    number = _number(told, name)
    known = np.isfinite(number)
    if known.sum() < 2:
      continue
    value = foresight.over(estimates.spearman(number[known], gain[known]), task[known])
    if value is not None:
      found[name] = value | {'runs': int(known.sum())}
  return found


def by_verdict(told: list[Told]) -> dict[str, list[float]]:
  """{what the first card expected of the policy: gains of its runs}."""
  found: dict[str, list[float]] = {verdict: [] for verdict in foresight.VERDICTS}
  for one in told:
    if (verdict := foresight.expected(one.point)) is not None:
      found[verdict].append(one.gain)
  return found


def _number(told: list[Told], name: str) -> np.ndarray:
  """[R] a number of the first cards, NaN where there is none; or what is known without a card."""
  points = [one.point for one in told]
  if name == BEFORE:
    return np.array([point['before'] for point in points], float)
  if name == BIAS:
    return foresight.told(points, 'bias_v') / foresight.told(points, 'returns_std')
  return foresight.told(points, name)


def markdown(told: list[Told]) -> str:
  """All of it as tables."""
  lines = [
    '# What the first card tells of the end',
    '',
    f'The card of iteration 1, asked before a policy that a critic chose for has acted, of '
    f'{len(told)} runs of {METHOD} on {len({one.point["task"] for one in told})} tasks. It is held '
    f'against what {METHOD} was ahead of {BASELINE} in the end, in points of success. This page '
    'and the figure beside it are of `python -m experiments.results`.',
    '',
    f'| the card expected | runs | {METHOD} ahead in the end, mean (points) | behind |',
    '|---|---|---|---|',
  ]
  for verdict, own in by_verdict(told).items():
    mean = f'{np.mean(own):+.1f}' if own else ''
    lines.append(f'| {verdict} | {len(own)} | {mean} | {sum(x < 0 for x in own)} |')
  lines += ['', *_advice(told)]
  lines += [
    '',
    'Rank correlation (Spearman) of each number with it, with 95 % from resampling tasks. Among so '
    'many numbers some correlate by chance.',
    '',
    '| foretold by | rank correlation | runs |',
    '|---|---|---|',
  ]
  found = correlations(told)
  for name, x in sorted(found.items(), key=lambda item: -abs(item[1]['value'])):
    called = name if name in (BEFORE, BIAS) else f'`{name}`'
    lines.append(f'| {called} | {foresight.shown(x, 2)} | {x["runs"]} |')
  lines += ['', 'Every run:', '', *_runs(told)]
  return '\n'.join(lines) + '\n'


def _advice(told: list[Told]) -> list[str]:
  """A row a suite: what it brings to do as the first card says."""
  lines = [
    f'{METHOD} minus {BASELINE} in the end, in points: throughout, and had {BASELINE} been taken '
    "from iteration 1 on wherever the first card could not tell. Intervals are Student's t with "
    '95 %, of the variance between the seeds of a task; [n] is how many runs.',
    '',
    f'| suite | {METHOD} throughout | as the first card says |',
    '|---|---|---|',
  ]
  for suite in dict.fromkeys(one.suite for one in told):
    cells = [suite]
    for kind in (told, followed(told)):
      own = {(x.point['task'], x.point['seed']): x.gain for x in kind if x.suite == suite}
      cells.append(tables.signed(paired.mean(own)))
    lines.append(f'| {" | ".join(cells)} |')
  return lines


def _runs(told: list[Told]) -> list[str]:
  """A row a run, from the largest bias on."""
  bias, own = (_number(told, name) for name in (BIAS, 'spearman_own'))
  lines = [
    f'| task | seed | the card expected | {BIAS} | `spearman_own` | ahead in the end |',
    '|---|---|---|---|---|---|',
  ]
  for i in np.argsort(-bias):
    _, point, gain = told[i]
    numbers = ['' if np.isnan(x[i]) else f'{x[i]:.2f}' for x in (bias, own)]
    cells = point['task'], point['seed'], foresight.expected(point) or '', *numbers, f'{gain:+.1f}'
    lines.append(f'| {" | ".join(map(str, cells))} |')
  return lines


def draw(told: list[Told]) -> figure.Figure:
  """What a run was ahead in the end over numbers of its first card; a marker and colour a task."""
  drawing = figure.Figure(figsize=(9.6, 4.8), dpi=150, layout='constrained')
  panels = drawing.subplots(1, len(_DRAWN), sharey=True)
  gain = np.array([one.gain for one in told])
  of = np.array([one.point['task'] for one in told])
  for axes, (name, shown) in zip(panels, _DRAWN.items(), strict=True):
    number = _number(told, name)
    for index, task in enumerate(dict.fromkeys(of)):
      axes.plot(
        number[of == task],
        gain[of == task],
        linestyle='none',
        marker=plots.marker(index),
        color=plots.colour(index),
        fillstyle='none' if index >= plots.MARKERS else 'full',
        label=task if axes is panels[0] else None,
      )
    axes.axhline(0, color=plots.GREY, linewidth=1)
    axes.set_xlabel(shown)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
  panels[0].set_ylabel(f'{METHOD} ahead of {BASELINE} in the end (points)')
  drawing.legend(loc='outside lower center', ncols=6, frameon=False)
  return drawing
