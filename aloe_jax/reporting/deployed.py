"""How the checkpoints of a run did on the robot: of real episodes, as its recorder ended them.

The recorder notes which checkpoint acted (`checkpoint_step` of an episode's metadata: its updates).
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.data import index as index_lib
from aloe_jax.run import evaluation

_STEP = 'checkpoint_step'


@dataclasses.dataclass(frozen=True)
class Deployed:
  """One checkpoint.

  Attributes:
    step: updates done by then.
    alone: how the policy did by itself: an episode counts by the end of its first fragment.
    taken_over: episodes that a person took over.
    helped: of these, those that ended in success.
    cut: episodes that ended without an outcome, and count nowhere else.
  """

  step: int
  alone: evaluation.Evaluation
  taken_over: int
  helped: int
  cut: int


def of(indices: Iterable[index_lib.Index], control_hz: float) -> list[Deployed]:
  """The checkpoints that acted in episodes, by their steps; episodes that tell none are left out.

  Args:
    indices: of datasets.
    control_hz: steps a second of the robot, where an episode tells no rate.
  """
  by_step: dict[int, list[tuple[list[int], int, float]]] = {}
  for index in indices:
    for episode in index.episodes():
      step = episode.metadata.get(_STEP)
      if not isinstance(step, int) or step < 0:
        continue
      ends = np.asarray(index.end_reason[episode.start : episode.stop])
      steps = len(ends)
      hz = float(episode.metadata.get('fps') or control_hz)
      by_step.setdefault(step, []).append((ends[ends != 0].tolist(), steps, steps / hz))
  return [_summary(step, episodes, control_hz) for step, episodes in sorted(by_step.items())]


def best(found: Sequence[Deployed]) -> Deployed | None:
  """The checkpoint of the highest success by itself; the newer one of two that are alike."""
  judged = [one for one in found if one.alone.episodes]
  return max(judged, key=lambda one: (one.alone.success_rate, one.step), default=None)


def flat(found: Sequence[Deployed]) -> dict[str, Any]:
  """All numbers under their names, for `report.json`."""
  numbers: dict[str, Any] = {}
  for one in found:
    name = f'deployed_{one.step}'
    numbers |= {
      f'{name}_episodes': one.alone.episodes,
      f'{name}_taken_over': one.taken_over,
      f'{name}_helped': one.helped,
      f'{name}_cut': one.cut,
    }
    if one.alone.episodes:
      low, high = one.alone.interval
      numbers |= {
        f'{name}_success_rate': one.alone.success_rate,
        f'{name}_success_rate_low': low,
        f'{name}_success_rate_high': high,
        f'{name}_throughput': one.alone.throughput,
      }
  if (chosen := best(found)) is not None:
    numbers['deployed_best'] = chosen.step
  return numbers


HEADER = (
  'checkpoint, by its updates', 'by itself', 'success', '95 % interval', 'episodes/h',
  'taken over', 'of them succeeded', 'cut',
)  # fmt: skip


def rows(found: Sequence[Deployed]) -> Iterator[list[str]]:
  """Cells under `HEADER`."""
  for one in found:
    shown = ['-', '-', '-', '-']
    if one.alone.episodes:
      success, interval, throughput, *_ = one.alone.cells()
      shown = [f'{one.alone.successes} of {one.alone.episodes}', success, interval, throughput]
    yield [str(one.step), *shown, str(one.taken_over), str(one.helped), str(one.cut)]


def advice(found: Sequence[Deployed]) -> str:
  """Which checkpoint is best, and whether that may be chance."""
  chosen = best(found)
  if chosen is None:
    return 'No episode came to an end of its own.'
  others = [one for one in found if one.alone.episodes and one is not chosen]
  text = f'The checkpoint of {chosen.step} updates did best by itself'
  near = [one for one in others if one.alone.interval[1] > chosen.alone.interval[0]]
  if near:
    steps = ', '.join(str(one.step) for one in near)
    return f'{text}; the intervals of {steps} reach into its own, so that chance may explain it.'
  return f'{text}.'


def _summary(
  step: int, episodes: list[tuple[list[int], int, float]], control_hz: float
) -> Deployed:
  ends: dict[str, int] = {}
  taken_over = helped = cut = steps = 0
  seconds = 0.0
  for reasons, length, lasted in episodes:
    first = types.EndReason(reasons[0]) if reasons else types.EndReason.CUT
    if first == types.EndReason.CUT:
      cut += 1
      continue
    if first == types.EndReason.TAKEOVER:
      taken_over += 1
      helped += reasons[-1] == types.EndReason.SUCCESS
    name = first.name.lower()
    ends[name] = ends.get(name, 0) + 1
    steps, seconds = steps + length, seconds + lasted
  hz = steps / seconds if seconds else control_hz
  alone = evaluation.Evaluation(sum(ends.values()), ends, steps, hz)
  return Deployed(step, alone, taken_over, helped, cut)
