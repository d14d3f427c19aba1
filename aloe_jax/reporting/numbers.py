"""The numbers of the critic's report card, each with its interval over episodes.

"Own" is what the policy that the critic judges did itself, up to where its fragment ended for good:
there alone the realised return is a sample of what the critic predicts. A fragment "failed" if it
ended in failure or a human took over; a timeout is no success either, but has no failing step.

Legend of shapes: R chunks, F fragments, K critics.
"""

from collections.abc import Mapping

import numpy as np

from aloe_jax import estimates
from aloe_jax import types
from aloe_jax.reporting import judgement as judgement_lib

Estimate = estimates.Estimate
Judgement = judgement_lib.Judgement

FAILED = (types.EndReason.FAILURE, types.EndReason.TAKEOVER)
BINS = 10  # of the calibration
EARLY = 0.25  # of the mean length of a fragment


def measure(
  judged: Judgement, episode: np.ndarray, *, horizon: int, discount: float
) -> dict[str, Estimate]:
  """All that can be said of a critic by chunks and what came of them; values are in steps.

  Args:
    judged: R chunks.
    episode: [R] int, that each lies in: what intervals are taken over.
    horizon: h, steps before a failure in which a chunk contains it.
    discount: gamma.

  Returns:
    {name: number}; `reporting.card` says what each is. What the episodes do not define is NaN; what
    a critic of states does not define is left out.
  """
  own = is_own(judged)
  numbers = _ranking(judged, own, episode)
  numbers |= _calibration(judged, own, episode)
  numbers |= _foresight(judged, own, episode, horizon)
  if judged.q is not None:
    numbers |= _doubts(judged, own, episode, horizon)
  return numbers | _reach(judged, own, episode, discount)


def is_own(judged: Judgement) -> np.ndarray:
  """[R] bool, chunks of the policy's fragments that ended for good."""
  return judged.terminal & (judged.source == types.Source.POLICY)


def before_end(judged: Judgement, horizon: int) -> np.ndarray:
  """[R] bool, chunks that start before their fragment's last step and contain it."""
  return (judged.left >= 1) & (judged.left < max(horizon, 2))


def rises(judged: Judgement, rows: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
  """How the critic's opinion of a fragment changes before it ends.

  Args:
    judged: R chunks.
    rows: [R] bool, those of the fragments that are asked about.
    horizon: h.

  Returns:
    [F] int, which of the R chunks each fragment that is longer than h starts with; and [F] how
    far the mean score of the chunks of `before_end` lies above that of all earlier ones, in steps.
  """
  first, place = np.unique(judged.first[rows], return_inverse=True)
  score, late = judged.score[rows], before_end(judged, horizon)[rows]
  early = judged.left[rows] >= max(horizon, 2)
  counts = [np.bincount(place, part, len(first)) for part in (late, early)]
  totals = [np.bincount(place, part * score, len(first)) for part in (late, early)]
  both = (counts[0] > 0) & (counts[1] > 0)
  means = [total[both] / count[both] for total, count in zip(totals, counts, strict=True)]
  return np.searchsorted(judged.row, first[both]), means[0] - means[1]


def calibration(
  score: np.ndarray, returns: np.ndarray, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Mean score, mean return and number of chunks in bins [<= bins] of equally many chunks."""
  parts = [part for part in np.array_split(np.argsort(score, kind='stable'), bins) if part.size]
  return (
    np.array([score[part].mean() for part in parts]),
    np.array([returns[part].mean() for part in parts]),
    np.array([part.size for part in parts]),
  )


def calibration_error(score: np.ndarray, returns: np.ndarray) -> float:
  """Mean distance of score and return over the bins of `calibration`, each by its chunks."""
  predicted, realised, count = calibration(score, returns)
  return float(np.average(np.abs(predicted - realised), weights=count))


def of_weights(
  told: Mapping[str, float], weight: np.ndarray, source: np.ndarray
) -> dict[str, Estimate]:
  """Of `weights.diagnostics`, with each source's share of the weights [R] and those clipped."""
  numbers = {name: _exact(x) for name, x in told.items()}
  if 'clipped_high' in told:
    numbers['clipped'] = _exact(told['clipped_high'] + told['clipped_low'])
    for kind in types.Source:
      if (source == kind).any():
        share = weight[source == kind].sum() / weight.sum()
        numbers[f'share_{kind.name.lower()}'] = _exact(share)
  return numbers


def flat(numbers: Mapping[str, Estimate]) -> dict[str, float | None]:
  """For JSON: {name, name_low, name_high}, without bounds where there are none, NaN as null."""
  found: dict[str, float | None] = {}
  for name, x in numbers.items():
    found[name] = float(x.value) if np.isfinite(x.value) else None
    if np.isfinite([x.low, x.high]).all():
      found |= {f'{name}_low': x.low, f'{name}_high': x.high}
  return found


def _ranking(judged: Judgement, own: np.ndarray, episode: np.ndarray) -> dict[str, Estimate]:
  """Whether what the critic thinks more of comes out better."""

  def spearman(rows: np.ndarray) -> Estimate:
    statistic = estimates.spearman(judged.score[rows], judged.returns[rows])
    return estimates.estimate(statistic, episode[rows])

  early = own & (judged.age <= EARLY * _mean_length(judged, own))
  _, index, place = np.unique(judged.first[early], return_index=True, return_inverse=True)
  opinion = np.bincount(place, judged.score[early]) / np.bincount(place)  # [F]
  succeeded = judged.end[early][index] == types.EndReason.SUCCESS
  auroc = estimates.auroc(opinion, succeeded)
  return {
    'spearman': spearman(judged.terminal),
    'spearman_own': spearman(own),
    'spearman_early': spearman(early),
    'auroc_early': estimates.estimate(auroc, episode[early][index]),
  }


def _calibration(judged: Judgement, own: np.ndarray, episode: np.ndarray) -> dict[str, Estimate]:
  """Whether the critic's numbers are returns that come true, by source."""
  score, returns = judged.score, judged.returns
  numbers = {'returns_std': _exact(returns[own].std() if own.any() else np.nan)}
  for source in types.Source:
    rows, name = judged.terminal & (judged.source == source), source.name.lower()
    if rows.any():
      bias = estimates.mean(score - returns, rows)
      numbers[f'bias_{name}'] = estimates.estimate(bias, episode)
      numbers[f'calibration_error_{name}'] = _exact(calibration_error(score[rows], returns[rows]))
  return numbers


def _foresight(
  judged: Judgement, own: np.ndarray, episode: np.ndarray, horizon: int
) -> dict[str, Estimate]:
  """Whether the score falls before failures, and how often it does before successes."""
  start, rise = rises(judged, own, horizon)
  fell, end = (rise < 0).astype(float), judged.end[start]
  failure, success = np.isin(end, FAILED), end == types.EndReason.SUCCESS
  of = episode[start]
  return {
    'falls_failure': estimates.share(fell, failure, of),
    'falls_success': estimates.share(fell, success, of),
    'falls_gap': estimates.share_difference(fell, failure, success, of),
  }


def _doubts(
  judged: Judgement, own: np.ndarray, episode: np.ndarray, horizon: int
) -> dict[str, Estimate]:
  """What only Q of actions tells: advantages, overestimation, and where the critic is unsure."""
  success = own & (judged.end == types.EndReason.SUCCESS)
  failure = own & np.isin(judged.end, FAILED) & before_end(judged, horizon)
  sampled_q, q, td_error = judged.sampled_q, judged.q, judged.td_error
  assert sampled_q is not None and q is not None and td_error is not None
  told = {
    'advantage': judged.advantage,
    'spread': q.std(axis=0),
    'td_error': np.abs(td_error),
  }
  statistics = {
    'bias_v': estimates.mean(judged.v - judged.returns, own),
    'overestimation': estimates.mean(sampled_q.mean(axis=0) - judged.returns, own),
  }
  top, bottom = _fifths(judged.advantage, judged.v, own)
  for name, x in {'kept': judged.returns, 'promised': judged.advantage}.items():
    statistics[f'advantage_{name}'] = estimates.difference(x, top, bottom)
  for name, x in told.items():
    statistics[name] = estimates.mean(x, own)
    statistics[f'{name}_failure'] = estimates.mean(x, failure)
    statistics[f'{name}_success'] = estimates.mean(x, success)
    statistics[f'{name}_gap'] = estimates.difference(x, failure, success)
  return {name: estimates.estimate(x, episode) for name, x in statistics.items()}


def _fifths(x: np.ndarray, alike: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """[R] bool each, the highest and the lowest fifth of x [R] among rows of like numbers.

  Args:
    x: [R].
    alike: [R]; ten groups of equally many rows are made by it, and each has its own fifths. What
      is wrong with these numbers can then not look like what x tells.
    among: [R] bool, the rows that count.
  """
  top, bottom = np.zeros(len(x), bool), np.zeros(len(x), bool)
  rows = np.flatnonzero(among)
  for group in np.array_split(rows[np.argsort(alike[rows], kind='stable')], 10):
    order = group[np.argsort(x[group], kind='stable')]
    count = len(order) // 5
    top[order[len(order) - count :]] = True
    bottom[order[:count]] = True
  return top, bottom


def _reach(
  judged: Judgement, own: np.ndarray, episode: np.ndarray, discount: float
) -> dict[str, Estimate]:
  """How far the discount looks, and what is left of an outcome at the start."""
  start = own & (judged.age == 0)
  success = judged.end == types.EndReason.SUCCESS
  gaps = {
    name: estimates.difference(x, start & success, start & ~success)
    for name, x in {'return_gap': judged.returns, 'score_gap': judged.score}.items()
  }
  length = _mean_length(judged, own & success)
  return {name: estimates.estimate(x, episode) for name, x in gaps.items()} | {
    'effective_horizon': _exact(1 / (1 - discount)),
    'success_length': _exact(length),
    'end_weight': _exact(discount**length),
  }


def _mean_length(judged: Judgement, rows: np.ndarray) -> float:
  """Mean steps of the fragments that some rows [R] bool belong to; NaN without any."""
  first, index = np.unique(judged.first[rows], return_index=True)
  last = (judged.row + judged.left)[rows][index]
  return float((last - first + 1).mean()) if first.size else np.nan


def _exact(value: float) -> Estimate:
  return Estimate(float(value), np.nan, np.nan)
