"""How the checkpoints of a run did on the robot: of real episodes, as its recorder ended them.

The recorder notes which checkpoint acted: an episode's metadata has its updates, `checkpoint_step`,
where it lay, `checkpoint`, and how many acted, `checkpoints`. Two runs may have done as many
updates, so that a checkpoint is told by both.
"""

from collections.abc import Iterable, Iterator, Sequence
import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.data import index as index_lib
from aloe_jax.run import evaluation

_SEVERAL = -1  # in place of the updates of one


@dataclasses.dataclass(frozen=True)
class Deployed:
  """One checkpoint.

  Attributes:
    step: updates done by then.
    alone: how the policy did by itself: an episode counts by the end of its first fragment, and one
      in which a person acted at any step as taken over.
    taken_over: episodes in which a person acted, before the policy or after it.
    helped: of these, those that ended in success.
    cut: episodes that ended without an outcome, and count nowhere else.
    checkpoint: where it lay as it was served; '' where that is not known.
  """

  step: int
  alone: evaluation.Evaluation
  taken_over: int
  helped: int
  cut: int
  checkpoint: str = ''

  @property
  def is_one(self) -> bool:
    """Whether one checkpoint acted alone; else these are episodes in which several did."""
    return self.step != _SEVERAL


@dataclasses.dataclass(frozen=True)
class _Episode:
  """What counts of an episode: ends of its fragments, whether a person acted, steps, seconds."""

  ends: list[int]
  by_human: bool
  steps: int
  seconds: float


def of(indices: Iterable[index_lib.Index], control_hz: float) -> list[Deployed]:
  """The checkpoints that acted in episodes, by their steps and places.

  Episodes that tell none are left out, and those in which no policy acted. Those in which several
  did count for none of them, and come last.

  Args:
    indices: of datasets.
    control_hz: steps a second of the robot, where an episode tells no rate.
  """
  found: dict[tuple[bool, int, str], list[_Episode]] = {}
  for index in indices:
    for episode in index.episodes():
      told, rows = episode.metadata, slice(episode.start, episode.stop)
      by_human = np.asarray(index.source[rows]) != types.Source.POLICY
      key = _checkpoint(told)
      if key is None or by_human.all():
        continue
      ends, hz = np.asarray(index.end_reason[rows]), float(told.get('fps') or control_hz)
      found.setdefault(key, []).append(
        _Episode(ends[ends != 0].tolist(), bool(by_human.any()), len(ends), len(ends) / hz)
      )
  return [
    _summary(step, checkpoint, episodes, control_hz)
    for (_, step, checkpoint), episodes in sorted(found.items())
  ]


def best(found: Sequence[Deployed]) -> Deployed | None:
  """The checkpoint of the highest success by itself; the newer one of two that are alike."""
  judged = [one for one in found if one.is_one and one.alone.episodes]
  return max(judged, key=lambda one: (one.alone.success_rate, one.step), default=None)


def flat(found: Sequence[Deployed]) -> dict[str, Any]:
  """All numbers under their names, for `report.json`."""
  numbers: dict[str, Any] = {}
  chosen = best(found)
  for one, short in zip(found, _short_names(found), strict=True):
    name = f'deployed_{short}'
    numbers |= {
      f'{name}_episodes': one.alone.episodes,
      f'{name}_taken_over': one.taken_over,
      f'{name}_helped': one.helped,
      f'{name}_cut': one.cut,
    }
    if one.checkpoint:
      numbers[f'{name}_checkpoint'] = one.checkpoint
    if one.alone.episodes:
      low, high = one.alone.interval
      numbers |= {
        f'{name}_success_rate': one.alone.success_rate,
        f'{name}_success_rate_low': low,
        f'{name}_success_rate_high': high,
        f'{name}_throughput': one.alone.throughput,
      }
    if one is chosen:
      numbers['deployed_best'] = one.step
      if one.checkpoint:
        numbers['deployed_best_checkpoint'] = one.checkpoint
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
    yield [_named(one, found), *shown, str(one.taken_over), str(one.helped), str(one.cut)]


def advice(found: Sequence[Deployed]) -> str:
  """Which checkpoint is best, and whether that may be chance."""
  chosen = best(found)
  several = sum(one.alone.episodes + one.cut for one in found if not one.is_one)
  aside = ''
  if several:
    aside = (
      f' {several} episode{"s" * (several != 1)} in which more than one checkpoint acted '
      f'count{"s" * (several == 1)} for none of them.'
    )
  if chosen is None:
    return f'No episode came to an end of its own.{aside}'
  others = [one for one in found if one.is_one and one.alone.episodes and one is not chosen]
  text = f'The checkpoint of {_named(chosen, found, " updates")} did best by itself'
  near = [one for one in others if one.alone.interval[1] > chosen.alone.interval[0]]
  if near:
    steps = ', '.join(_named(one, found) for one in near)
    text += f'; the intervals of {steps} reach into its own, so that chance may explain it'
  return f'{text}.{aside}'


def _checkpoint(told: dict[str, Any]) -> tuple[bool, int, str] | None:
  """Whether several acted, and else which; None where that is not known."""
  count = told.get('checkpoints')
  if isinstance(count, int) and count > 1:
    return True, _SEVERAL, ''
  step, checkpoint = told.get('checkpoint_step'), told.get('checkpoint')
  if not isinstance(step, int) or step < 0:
    return None
  return False, step, checkpoint if isinstance(checkpoint, str) else ''


def _short_names(found: Sequence[Deployed]) -> list[str]:
  """Updates of each, with its place among those of as many updates where there are several."""
  steps, names = [one.step for one in found], []
  for i, one in enumerate(found):
    among = f'_{1 + steps[:i].count(one.step)}' if steps.count(one.step) > 1 else ''
    names.append(f'{one.step}{among}' if one.is_one else 'several')
  return names


def _named(one: Deployed, found: Sequence[Deployed], unit: str = '') -> str:
  """A checkpoint for a person: by its updates, and by its place where these do not tell it."""
  if not one.is_one:
    return 'more than one'
  alike = sum(other.step == one.step for other in found) > 1
  place = f' ({one.checkpoint or "place unknown"})' if alike else ''
  return f'{one.step}{unit}{place}'


def _summary(step: int, checkpoint: str, episodes: list[_Episode], control_hz: float) -> Deployed:
  ends: dict[str, int] = {}
  taken_over = helped = cut = steps = 0
  seconds = 0.0
  for episode in episodes:
    first = types.EndReason(episode.ends[0]) if episode.ends else types.EndReason.CUT
    if first == types.EndReason.CUT:
      cut += 1
      continue
    if episode.by_human:
      first = types.EndReason.TAKEOVER
      taken_over += 1
      helped += episode.ends[-1] == types.EndReason.SUCCESS
    name = first.name.lower()
    ends[name] = ends.get(name, 0) + 1
    steps, seconds = steps + episode.steps, seconds + episode.seconds
  hz = steps / seconds if seconds else control_hz
  alone = evaluation.Evaluation(sum(ends.values()), ends, steps, hz)
  return Deployed(step, alone, taken_over, helped, cut, checkpoint)
