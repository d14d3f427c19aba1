"""What cards foretold, held against what evaluation then measured.

A point is an iteration of a run: {'task', 'seed', 'method', 'iteration', 'before', 'after' (success
in percent, of the policy before and of the one that the iteration has learnt), 'episodes' (of an
evaluation), 'card' (what `report.json` held before that policy acted)}.

Legend of shapes: P points, I iterations.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from aloe_jax import estimates
from aloe_jax import metrics
from aloe_jax.comparison import records
from aloe_jax.reporting import card
from aloe_jax.reporting import foretold
from aloe_jax.run import plausible

Points = Sequence[Mapping[str, Any]]
Point = Mapping[str, Any]
Number = dict[str, float | None]

GAINS = ('foretold_gain', 'foretold_gain_start', 'fqe_gain', 'fqe_points')
NUMBERS = tuple(
  dict.fromkeys((*GAINS, *(rule.name for rule in card.RULES), 'advantage_slope_full'))
)
_NO_INTERVAL = 'clipped'  # whose low and high are the shares at either end of the clip
# What anybody foretells without a card: early iterations gain more, and so do poor policies.
PLAIN = {'-iteration': 'the earlier', '-before': 'the lower the success before'}
VERDICTS = (foretold.BETTER, foretold.NO_DIFFERENCE, foretold.UNKNOWN, foretold.WORSE)
CHOICES = (*GAINS, 'foretold', 'the newest', 'the warm start')


def fault(point: Point) -> str:
  """The first thing of a point that cannot be, '' where there is none; see `comparison.records`."""
  for name, lowest in {'seed': 0, 'iteration': 1, 'episodes': 1}.items():
    if not plausible.is_count(point[name], lowest):
      return plausible.told(name, point[name], f'a whole number of {lowest} or more')
  for name in ('task', 'method'):
    if not isinstance(point[name], str):
      return plausible.told(name, point[name], 'a text')
  for name in ('before', 'after'):
    if not (plausible.is_number(point[name]) and 0 <= point[name] <= 100):
      return plausible.told(name, point[name], 'percent, from 0 to 100')
  if not records.is_commands(point['commands']):
    return plausible.told('commands', point['commands'], 'lists of texts')
  card_ = point['card']
  if wrong := records.of_report('card', card_) or ('card: found null' if card_ is None else ''):
    return wrong
  if card_.get('iteration', point['iteration']) != point['iteration']:
    return plausible.told('card.iteration', card_['iteration'], str(point['iteration']))
  if (verdict := card_.get('foretold')) not in (*VERDICTS, None):
    return plausible.told('card.foretold', verdict, f'one of {", ".join(VERDICTS)}')
  for name in (*NUMBERS, 'returns_std'):
    ends = [card_.get(f'{name}{end}') for end in ('', '_low', '_high')]
    if not all(x is None or plausible.is_number(x) for x in ends):
      return plausible.told(f'card.{name}', ends, 'numbers or null, with its low and high')
    if None not in ends[1:] and ends[1] > ends[2] and name != _NO_INTERVAL:
      return plausible.told(f'card.{name}_low', ends[1], f'{ends[2]} at most, which is its high')
  return ''


def asked(point: Point) -> str:
  """How a card was asked: the options of its command that its numbers depend on."""
  flags = [part for command in point['commands'] for part in command]
  return ' '.join(part for part in flags if part.startswith(('--count=', '--foretell=')))


def run_of(point: Point) -> tuple[str, int, str]:
  """What tells its run."""
  return point['task'], point['seed'], point['method']


def change(points: Points) -> np.ndarray:
  """[P] measured, in points of success."""
  return np.array([point['after'] - point['before'] for point in points], float)


def told(points: Points, name: str) -> np.ndarray:
  """[P] a number of the cards; NaN where it is missing or null."""
  found = [point['card'].get(name) for point in points]
  return np.array([np.nan if x is None else x for x in found], float)


def expected(point: Point) -> str | None:
  """What a card expected, by the rule of today where it has the numbers for that."""
  found, numbers = point['card'], {}
  for name in (*GAINS, 'advantage_slope', 'bias_v', 'returns_std', 'advantage', 'advantage_std'):
    if name in found:
      three = (found[name], found.get(f'{name}_low'), found.get(f'{name}_high'))
      numbers[name] = estimates.Estimate(*(np.nan if x is None else x for x in three))
  if not {'foretold_gain', 'advantage_slope', 'bias_v', 'returns_std'} <= numbers.keys():
    return found.get('foretold')
  return foretold.verdict(numbers)


def correlations(points: Points) -> dict[str, dict[str, Any]]:
  """Spearman's rank correlation of the measured change with each number of a card.

  Returns:
    {name of the number: {'value', 'low', 'high', 'points', 'within'}}, the interval from resampling
    runs; of those that vary and that two points or more have. 'within' is {'value', 'low', 'high'}
    of places among the points of the same iteration, or None where these do not vary: what a number
    tells beyond that early iterations gain more. With `PLAIN`, which need no card.
  """
  numbers = {name: told(points, name) for name in NUMBERS}
  numbers |= {f'-{x}': np.array([-point[x] for point in points]) for x in ('iteration', 'before')}
  measured = change(points)
  found: dict[str, dict[str, Any]] = {}
  iteration = np.array([point['iteration'] for point in points])
  run = np.unique([str(run_of(point)) for point in points], return_inverse=True)[1]
  for name, number in numbers.items():
    known = np.isfinite(number)
    if known.sum() < 2:
      continue
    x, y = number[known], measured[known]
    value = over(estimates.spearman(x, y), run[known])
    if value is not None:
      places = (_places_within(iteration[known], z) for z in (x, y))
      within = over(estimates.spearman(*places), run[known])
      found[name] = value | {'points': int(known.sum()), 'within': within}
  return found


def _places_within(group: np.ndarray, x: np.ndarray) -> np.ndarray:
  """[P] the place of each x among those of its group, between 0 and 1."""
  places = np.zeros(len(x))
  for one in np.unique(group):
    among = group == one
    places[among] = (scipy.stats.rankdata(x[among]) - 0.5) / among.sum()
  return places


def verdicts(points: Points) -> dict[str, Number]:
  """What came of the policies of which the card expected the same.

  Returns:
    {verdict: 'points', 'change' (mean), 'worse' and 'better': how many measured so, and of them
    'clearly_worse' and 'clearly_better': beyond what evaluations differ by chance, 95 %}.
  """
  measured, found = change(points), {}
  sure = np.array([_clear(point) for point in points], bool)
  said = np.array([expected(point) for point in points])
  for verdict in VERDICTS:
    among = said == verdict
    x, clear = measured[among], sure[among]
    found[verdict] = {
      'points': int(among.sum()),
      'change': float(x.mean()) if x.size else None,
      'worse': int((x < 0).sum()),
      'clearly_worse': int((clear & (x < 0)).sum()),
      'better': int((x > 0).sum()),
      'clearly_better': int((clear & (x > 0)).sum()),
    }
  return found


def regrets(points: Points) -> dict[str, Number]:
  """Success that is lost by choosing a run's checkpoint by its cards and not by rollouts.

  By a gain the checkpoint is chosen up to which the gains sum up to the most; by verdicts, the one
  before the first 'worse'. Rollouts choose the highest of noisy numbers, so that even the best
  choice has a regret above zero.

  Returns:
    {what it is chosen by: {'value', 'low', 'high' in points of success, 'runs'}}; of runs whose
    iterations from 1 on all have a card with that number.
  """
  runs: dict[tuple, list] = {}
  for point in sorted(points, key=lambda point: point['iteration']):
    runs.setdefault(run_of(point), []).append(point)
  found = {}
  for choice in CHOICES:
    lost = []
    for own in runs.values():
      success = np.array([own[0]['before'], *(point['after'] for point in own)])
      chosen = _chosen(own, choice)
      if chosen is not None and [p['iteration'] for p in own] == list(range(1, len(own) + 1)):
        lost.append(success.max() - success[chosen])
    if lost:
      x = over(estimates.mean(np.array(lost)), np.arange(len(lost)))
      found[choice] = (x or {}) | {'runs': len(lost)}
  return found


def over(statistic: estimates.Statistic, group: np.ndarray) -> Number | None:
  """A statistic and its interval, which a single group lacks; None where it is not defined.

  Args:
    statistic: of P points.
    group: [P] int, such as the run of each, which are resampled.
  """
  x = estimates.estimate(statistic, group)
  if not np.isfinite(x.value):
    return None
  low, high = (end if np.isfinite(end) else None for end in (x.low, x.high))
  return {'value': x.value, 'low': low, 'high': high}


def _chosen(own: Points, choice: str) -> int | None:
  """Iteration of a run's points [I] that is chosen, 0 for the warm start; None if nothing tells."""
  if choice == 'the newest':
    return len(own)
  if choice == 'the warm start':
    return 0
  if choice == 'foretold':
    said = [expected(point) for point in own]
    if None in said:
      return None
    return said.index(foretold.WORSE) if foretold.WORSE in said else len(own)
  gains = told(own, choice)
  return None if np.isnan(gains).any() else int(np.argmax(np.append(0, np.cumsum(gains))))


def _clear(point: Point) -> bool:
  """Whether before and after differ by more than two evaluations do by chance, 95 % (Newcombe)."""
  rates = [point['before'] / 100, point['after'] / 100]
  counts = [round(rate * point['episodes']) for rate in rates]
  (a, b), (c, d) = (metrics.wilson_interval(count, point['episodes']) for count in counts)
  before, after = rates
  low = after - before - np.hypot(after - c, b - before)
  high = after - before + np.hypot(d - after, before - a)
  return bool(low > 0 or high < 0)


def markdown(points: Points) -> str:
  """All of it as tables."""
  runs = len({run_of(point) for point in points})
  how = collections.Counter(map(asked, points))
  listed = ', '.join(f'`{flags}` ({count})' for flags, count in how.items())
  made_at = [(point.get('commit') or 'not told').split(' and ') for point in points]
  commits = ', '.join(f'`{x}`' for x in sorted({one for each in made_at for one in each}))
  lines = [
    '# What cards foretold',
    '',
    f'{_many(len(points), "iteration")} of {_many(runs, "run")}, asked by {listed}, at commit '
    f'{commits}. This page and the figure beside it are of `python -m experiments.results`, the '
    'answers of `python -m experiments.foretold`.',
    '',
    'Rank correlation (Spearman) of what the card said before a policy acted with the change of '
    'success that evaluation then measured, with 95 % from resampling runs: over all iterations, '
    'and of places among the points of the same iteration. Early iterations gain more whatever a '
    'card says, which the first rows tell. Among so many numbers some correlate by chance.',
    '',
    '| foretold by | rank correlation | within iterations | iterations |',
    '|---|---|---|---|',
  ]
  found = correlations(points)

  def order(item: tuple[str, Any]) -> tuple:
    return item[0] not in PLAIN, item[0] not in GAINS, -abs(item[1]['value'])

  for name, x in sorted(found.items(), key=order):
    within = '' if x['within'] is None or name == '-iteration' else shown(x['within'], 2)
    lines.append(f'| {PLAIN.get(name, f"`{name}`")} | {shown(x, 2)} | {within} | {x["points"]} |')
  lines += [
    '',
    'What came of the policies by what was expected of them, by the words that a card of today has '
    'for its numbers; in brackets, beyond what evaluations differ by chance.',
    '',
    '| expected | iterations | mean change (points) | measured worse | measured better |',
    '|---|---|---|---|---|',
  ]
  for verdict, count in verdicts(points).items():
    mean = '' if count['change'] is None else f'{count["change"]:+.1f}'
    lines.append(
      f'| {verdict} | {count["points"]} | {mean} | {count["worse"]} ({count["clearly_worse"]}) | '
      f'{count["better"]} ({count["clearly_better"]}) |'
    )
  lines += [
    '',
    "Points of success lost by choosing a run's checkpoint otherwise than by rollouts.",
    '',
    '| chosen by | regret | runs |',
    '|---|---|---|',
  ]
  for choice, x in regrets(points).items():
    name = f'`{choice}`' if choice in GAINS else _CHOSEN.get(choice, choice)
    lines.append(f'| {name} | {shown(x, 1)} | {x["runs"]} |')
  return '\n'.join(lines) + '\n'


def _many(count: int, what: str) -> str:
  return f'{count} {what}{"s" * (count != 1)}'


_CHOSEN = {'foretold': 'the one before the first "worse"'}


def shown(x: Number, digits: int) -> str:
  """A number with its interval, as tables have it."""
  interval = '' if x['low'] is None else f' ({x["low"]:.{digits}f} to {x["high"]:.{digits}f})'
  return f'{x["value"]:.{digits}f}{interval}'
