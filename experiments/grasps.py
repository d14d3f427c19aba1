"""What a critic knew of drops before they came, in the embedded simulator.

  python -m experiments.grasps --workdir=runs/laundry

An item that was grasped carelessly may drop at any step of its carry, so that nothing new need be
seen just before it does. What can be known is known from the grasp on. On the episodes that
`aloe_jax.report` judges, with its flags, this compares what the critic says of an item that has
just been grasped carelessly and of one grasped safely, where as much of the task is done, with the
returns that came of both; and it says how failures held their items. The numbers are written to
`grasps.json` in --workdir, values in environment steps.

Legend of shapes: R chunks, G grasps.
"""

from collections.abc import Sequence
import json

import numpy as np

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import estimates
from aloe_jax import files
from aloe_jax import progress
from aloe_jax import report
from aloe_jax.envs import tabletop
from aloe_jax.envs import tasks
from aloe_jax.reporting import judgement
from aloe_jax.reporting import numbers as report_numbers
from aloe_jax.run import kept

HOLDING, TILT = 9, 10  # of an arm's features, see `envs/tabletop_sight.py`
AWAY_UNIT = 0.3  # metres, of the first two: the way to the goal


def measure(
  judged: judgement.Judgement, features: np.ndarray, episode: np.ndarray
) -> dict[str, estimates.Estimate]:
  """Careless grasps less safe ones, and how items were held just before failures.

  Args:
    judged: R chunks.
    features: [R, 3, F] of the states at which they start.
    episode: [R] int, that each lies in.

  Returns:
    {name: number}; 'score_gap' and 'return_gap' are means over grasps at the same stage: with the
    same items in place, by the same arm, the other arm as full. Shares of the policy's failures,
    by the worst grasp in hand: 'careless_failures', 'doubtful_failures' (a tilt between careless
    and safe), 'safe_failures'; and 'placing_failures', of any of them with an item as near to its
    target as `tabletop.RIM_RADIUS`.
  """
  rows, stage, tilt = find(judged, features)
  careless, safe = tilt < 0, tilt > tabletop.SAFE_TILT
  numbers = {
    name: estimates.estimate(_matched(x[rows], careless, safe, stage), episode[rows])
    for name, x in {'score_gap': judged.score, 'return_gap': judged.returns}.items()
  }
  failed = report_numbers.is_own(judged) & np.isin(judged.end, report_numbers.FAILED)
  last = np.flatnonzero(failed & ~np.append(_goes_on(judged)[1:], False))
  holding = features[last, :2, HOLDING] > 0.5
  worst = np.where(holding, features[last, :2, TILT], np.inf).min(axis=1)  # nothing in hand: inf
  away = np.hypot(*np.moveaxis(features[last, :2, :2], -1, 0)) * AWAY_UNIT
  ways = {
    'careless_failures': worst < 0,
    'doubtful_failures': (worst >= 0) & (worst <= tabletop.SAFE_TILT),
    'safe_failures': (worst > tabletop.SAFE_TILT) & holding.any(axis=1),
    'placing_failures': (holding & (away < tabletop.RIM_RADIUS)).any(axis=1),
  }
  for name, way in ways.items():
    numbers[name] = estimates.estimate(estimates.mean(way.astype(float)), episode[last])
  counts = dict(careless=careless.sum(), safe=safe.sum(), failures=len(last))
  return numbers | {
    name: estimates.Estimate(float(n), np.nan, np.nan) for name, n in counts.items()
  }


def find(
  judged: judgement.Judgement, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The policy's chunks that are the first to start with an item in hand.

  Args:
    judged: R chunks.
    features: [R, 3, F] of the states at which they start.

  Returns:
    [G] which of the R they are, [G] int stage of the task, equal where as much is done, and [G]
    the tilt at which the item was grasped.
  """
  holding = features[:, :2, HOLDING] > 0.5
  held_before = np.concatenate([np.ones((1, 2), bool), holding[:-1]])
  rows, arm = np.nonzero(_goes_on(judged)[:, None] & holding & ~held_before)
  done = np.column_stack([features[rows, 2] > 0.5, arm])
  _, stage = np.unique(done, axis=0, return_inverse=True)
  return rows, stage.reshape(-1), features[rows, arm, TILT]


def _goes_on(judged: judgement.Judgement) -> np.ndarray:
  """[R] bool, whether a chunk of the policy's follows another one of its fragment."""
  own = report_numbers.is_own(judged)
  same = np.append(False, judged.first[1:] == judged.first[:-1])
  return own & same


def _matched(
  x: np.ndarray, first: np.ndarray, second: np.ndarray, stage: np.ndarray
) -> estimates.Statistic:
  """Mean of x [G] over `first` [G] bool less that over `second`, stage by stage.

  Stages count by how well they tell the two apart: n m / (n + m) of n and m rows.
  """

  def statistic(count: np.ndarray) -> float:
    sizes = [np.bincount(stage, count * part) for part in (first, second)]
    sums = [np.bincount(stage, count * part * x) for part in (first, second)]
    both = (sizes[0] > 0) & (sizes[1] > 0)
    if not both.any():
      return np.nan
    (n, m), (a, b) = [size[both] for size in sizes], [total[both] for total in sums]
    return float(np.average(a / n - b / m, weights=n * m / (n + m)))

  return statistic


def main(argv: Sequence[str] | None = None) -> None:
  """Compares the grasps of the run of a command line."""
  given = command_line.parse(report.parser('experiments.grasps', __doc__), argv)
  config = kept.config(given, 'report')
  sim = config.sim
  with config_lib.user_errors():
    if sim.observation != 'objects' or sim.task not in tasks.TASKS:
      raise ValueError(
        f'found config.sim.task={sim.task!r}, sim.observation={sim.observation!r}; '
        f'expected one of {", ".join(tasks.TASKS)} and objects, as experiments with :sim have.'
      )
    examined = report.of(given, config).examine()
  features = examined.steps.features(examined.judged.row)
  numbers = measure(examined.judged, features, examined.episode)
  target = given.workdir / 'grasps.json'
  files.write_text(target, json.dumps(report_numbers.flat(numbers), indent=1))
  for name, x in numbers.items():
    interval = f' ({x.low:.2f} to {x.high:.2f})' if np.isfinite(x.low) else ''
    progress.CONSOLE.print(f'{name}: {x.value:.2f}{interval}', highlight=False)


if __name__ == '__main__':
  command_line.run(main)
