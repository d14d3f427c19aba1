"""When a person at the robot is to be warned: the threshold that Q falls below before a failure.

A fragment is announced when the critic's score of any of its chunks lies below the threshold. The
threshold is the highest that announces at most one success in ten *that is yet to come*: among n
successes a new one is as likely to have the least score as any of them, so that a threshold below
which k of n lie announces it with chance (k + 1) / (n + 1).
"""

from collections.abc import Mapping
import pathlib
from typing import Any

import numpy as np

from aloe_jax import estimates
from aloe_jax import files
from aloe_jax import types
from aloe_jax.reporting import judgement as judgement_lib
from aloe_jax.reporting import numbers as report_numbers

FALSE_ALARMS = 0.1  # share of successes that may be announced, at most


def measure(judged: judgement_lib.Judgement, episode: np.ndarray) -> dict[str, estimates.Estimate]:
  """The threshold, and what it announces of the policy's own fragments.

  Args:
    judged: R chunks.
    episode: [R] int, that each lies in: what intervals are taken over.

  Returns:
    `q_threshold`, in steps; `false_alarms`, the share of successes that are announced, each by the
    threshold that the other successes give; `alarms`, the share of failures that are announced
    before their last step, take-overs among them. NaN with fewer successes than it takes.
  """
  own = report_numbers.is_own(judged)
  first, index, place = np.unique(judged.first[own], return_index=True, return_inverse=True)
  end, least = judged.end[own][index], _least(judged.score[own], place, len(first))
  in_time = _least(np.where(judged.left[own] >= 1, judged.score[own], np.inf), place, len(first))
  success = end == types.EndReason.SUCCESS
  failure = np.isin(end, report_numbers.FAILED)
  good = least[success]
  level = threshold(good)
  others = np.array([threshold(np.delete(good, i)) for i in range(len(good))])
  if np.isnan(others).any():  # too few to say how often it would be wrong
    level = np.nan
  announced = np.full(len(first), np.nan)
  if np.isfinite(level):
    announced[failure] = in_time[failure] < level
    announced[success] = good < others  # no success lies below NaN
  of = episode[own][index]
  return {
    'q_threshold': estimates.Estimate(level, np.nan, np.nan),
    'false_alarms': estimates.share(announced, success, of),
    'alarms': estimates.share(announced, failure, of),
  }


def threshold(least: np.ndarray) -> float:
  """The highest that announces a new success with a chance of at most `FALSE_ALARMS`.

  Args:
    least: [n] lowest score of each success.

  Returns:
    One of them: those below it are announced. NaN where n is too small for any to be told.
  """
  allowed = int(FALSE_ALARMS * (len(least) + 1) + 1e-9) - 1
  return float(np.sort(least)[allowed]) if allowed >= 0 else np.nan


def sentence(numbers: Mapping[str, estimates.Estimate]) -> str:
  """The line of the page."""
  level, false, alarms = (numbers[name] for name in ('q_threshold', 'false_alarms', 'alarms'))
  if not np.isfinite(level.value):
    return (
      'A warning while a robot acts: no threshold of Q can be told; it takes '
      f'{round(1 / FALSE_ALARMS)} successes of the policy or more.'
    )
  found = 'no failure was there to be announced'
  if np.isfinite(alarms.value):
    found = f'{_percent(alarms)} of the failures are announced before they happen'
  return (
    f'A warning while a robot acts: below a Q of {level.value:.1f} steps {found}, and '
    f'{_percent(false)} of the successes falsely.'
  )


def read(workdir: pathlib.Path, iteration: int) -> tuple[float, float] | None:
  """The threshold in steps, and the share of false alarms, of a critic that a report has judged.

  Args:
    workdir: of the run.
    iteration: of the critic.

  Returns:
    None where the report is missing, is of another critic, or of episodes that it was trained on.
  """
  try:
    told: Any = files.parse_json((workdir / 'report.json').read_text(encoding='utf-8'))
  except (OSError, ValueError):  # an older one, or one that is damaged, is no reason not to serve
    return None
  if not isinstance(told, dict) or told.get('iteration') != iteration or not told.get('held_out'):
    return None
  found = told.get('q_threshold'), told.get('false_alarms')
  if not all(isinstance(x, float | int) for x in found):
    return None
  return float(found[0]), float(found[1])


def lost(level: float) -> str:
  """What to say where a report takes the place of one that told this threshold, and tells none."""
  return (
    f'The report before this one told a threshold of Q, {level:.1f} steps, below which a person at '
    f'the robot is warned. This one tells none: that takes {round(1 / FALSE_ALARMS)} successes of '
    'the policy or more, of episodes that the critic was not trained on. A server that starts now '
    'warns nobody; report on the episodes of before again to have it back.'
  )


def _least(score: np.ndarray, place: np.ndarray, count: int) -> np.ndarray:
  """[count] lowest score of each fragment; infinite where it has none."""
  found = np.full(count, np.inf)
  np.minimum.at(found, place, score)
  return found


def _percent(x: estimates.Estimate) -> str:
  interval = ''
  if np.isfinite([x.low, x.high]).all():
    interval = f' ({100 * x.low:.0f} to {100 * x.high:.0f})'
  return f'{100 * x.value:.0f} %{interval}'
