"""What differs between datasets that are to be trained on together.

Each is held against the first. Widths have to be the same. All else may be meant, and is noted with
its numbers: rates, cameras, sizes of images, and numbers of the state or the action that look like
those of another unit, sign or order (`likeness`).
"""

from collections.abc import Iterator, Sequence
import itertools

import numpy as np

from aloe_jax.data.tools import likeness
from aloe_jax.data.tools import survey
from aloe_jax.data.tools import validation
from aloe_jax.preprocessing import normalize


def compare(reports: Sequence[validation.Report]) -> None:
  """Adds problems and notes to the reports of datasets that differ from the first."""
  known = [report for report in reports if 'action' in report.ranges]
  for report in known[1:]:
    if report.directory != known[0].directory:
      report.problems += map(validation.Problem, _widths(report, known[0]))
      notes = itertools.chain(_recordings(report, known[0]), _numbers(report, known[0]))
      report.notes += map(validation.Note, notes)


def _widths(report: validation.Report, first: validation.Report) -> Iterator[str]:
  for key in ('state', 'action'):
    found, expected = (len(r.ranges[key].low) for r in (report, first))
    if found != expected and not (key == 'state' and _is_padded(report, first)):
      yield (
        f'{report.directory}: {key}: found {found} numbers a step, expected {expected} as in '
        f'{first.directory}.'
      )


def _is_padded(report: validation.Report, first: validation.Report) -> bool:
  """Whether the wider of two states is zeros from where the other one ends."""
  narrow, wide = sorted((r.ranges['state'] for r in (report, first)), key=lambda r: len(r.low))
  rest = slice(len(narrow.low), None)
  return not wide.low[rest].any() and not wide.high[rest].any()


def _recordings(report: validation.Report, first: validation.Report) -> Iterator[str]:
  """What differs in how it was recorded."""
  there = f'in {first.directory}'
  told, told_first = report.survey.rates, first.survey.rates
  rates, expected = (_listed(f'{rate:g}' for rate in sorted(r)) for r in (told, told_first))
  if told and told_first and rates != expected:
    yield f'{rates} steps a second, but {expected} {there}: a chunk spans another time.'
  cameras, others = (set(r.survey.images) for r in (report, first))
  if cameras != others:
    yield f'Cameras: {_listed(sorted(cameras))}, but {_listed(sorted(others))} {there}.'
  for camera in sorted(cameras & others):
    sizes, before = (
      sorted(set(r.survey.images[camera]) - {survey.MISSING}) for r in (report, first)
    )
    if sizes and before and sizes != before:
      yield f'Images of {camera}: {_listed(sizes)}, but {_listed(before)} {there}.'


def _numbers(report: validation.Report, first: validation.Report) -> Iterator[str]:
  """What differs in the numbers of state and action."""
  for key in ('state', 'action'):
    ranges = [r.ranges[key] for r in (report, first)]
    n = min(len(values.low) for values in ranges)
    here, there = (likeness.profile(values, n) for values in ranges)
    scaled = likeness.scaled(here, there)
    moves = ~(normalize.is_narrow(here.low, here.high) | normalize.is_narrow(there.low, there.high))
    for i, ratio in scaled.items():
      yield (
        f'{key}: number {i} spans {_times(ratio)} what it does in {first.directory}'
        f'{_spans(here, there, i)}; is it in another unit?'
      )
    others = [i for i in np.flatnonzero(moves).tolist() if i not in scaled]
    mirrored = likeness.mirrored(here, there, others)
    for i in mirrored:
      yield (
        f'{key}: number {i} looks mirrored beside {first.directory}{_spans(here, there, i)}; is '
        'its sign another one?'
      )
    order = likeness.reordered(here, there, others)
    if order:
      yield (
        f'{key}: numbers {list(order)} look like the numbers {list(order.values())} of '
        f'{first.directory} (number {next(iter(order))}{_spans(here, there, next(iter(order)))}); '
        'is their order another one?'
      )
    for i in likeness.turned(here, there, [i for i in others if i not in mirrored]):
      yield (
        f'{key}: number {i} is near its upper end in {here.ends[1, i]:.0%} of the steps, and in '
        f'{there.ends[1, i]:.0%} in {first.directory}{_spans(here, there, i)}; is a gripper open '
        'at 1 in one, and at 0 in the other?'
      )


def _spans(here: likeness.Profile, there: likeness.Profile, i: int) -> str:
  """What 98 in 100 values of a number lie within."""
  own, others = (f'{p.bounds[0, i]:.4g} to {p.bounds[1, i]:.4g}' for p in (here, there))
  return f': {own} here, {others} there'


def _times(ratio: float) -> str:
  return f'{ratio:.3g} times' if ratio > 1 else f'a {1 / ratio:.3g}th of'


def _listed(names: Sequence[str] | Iterator[str]) -> str:
  return ', '.join(names) or 'none'
