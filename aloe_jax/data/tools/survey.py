"""What the episodes of a split add up to: lengths, sources, ends, prompts and images."""

import collections
from collections.abc import Iterator
import statistics
from typing import Any

import numpy as np
import rich.markup
import rich.table

from aloe_jax import types
from aloe_jax.data import columns as columns_lib
from aloe_jax.data import holds
from aloe_jax.data import rates as rates_lib
from aloe_jax.data import remarks

MISSING = 'missing'
_PROMPTS = 10  # shown in a table


class Survey:
  """Counts over episodes.

  Attributes:
    lengths: of the episodes, in steps.
    steps: {source: steps}.
    ends: {(source of the step that ends a fragment, end reason): fragments}.
    prompts: {text: episodes that hold it}.
    rates: {steps per second: episodes that tell them}.
    no_rates: {what is told instead, and is none: likewise}.
    images: {camera: {size, such as '224 x 224', or `MISSING`: images}}.
    held: steps at which the robot held, see `holds`.
    told: {what is to be looked at: numbers of the episodes}; see `remarks`.
  """

  def __init__(self) -> None:
    self.lengths: list[int] = []
    self.steps: collections.Counter[str] = collections.Counter()
    self.ends: collections.Counter[tuple[str, str]] = collections.Counter()
    self.prompts: collections.Counter[str] = collections.Counter()
    self.rates: collections.Counter[float] = collections.Counter()
    self.no_rates: collections.Counter[str] = collections.Counter()
    self.images: dict[str, collections.Counter[str]] = {}
    self.held = 0
    self.told: dict[str, list[int]] = {}

  def add(self, columns: columns_lib.Columns, episode: int) -> None:
    """Counts the episode with this number in the split, but not its images."""
    remarks.add(self.told, episode, columns.metadata | {remarks.SUCCESS_LOST: columns.success_lost})
    self.lengths.append(len(columns))
    self.held += int(holds.read(columns.metadata, len(columns)).sum())
    for source, steps in zip(*np.unique(columns.source, return_counts=True), strict=True):
      self.steps[_name(types.Source(source))] += int(steps)
    for step in np.flatnonzero(columns.end_reason):
      source, reason = columns.source[step], columns.end_reason[step]
      self.ends[_name(types.Source(source)), _name(types.EndReason(reason))] += 1
    self.prompts.update(set(columns.prompt))
    rate = rates_lib.recorded(columns.metadata)
    if rate is not None:
      self.rates[rate] += 1
    if unusable := rates_lib.unusable(columns.metadata):
      self.no_rates[unusable] += 1

  def add_image(self, camera: str, size: str) -> None:
    """Counts an image."""
    self.images.setdefault(camera, collections.Counter())[size] += 1

  def to_json(self) -> dict[str, Any]:
    """All counts, as JSON takes them."""
    ends: dict[str, dict[str, int]] = {}
    for (source, reason), count in self.ends.items():
      ends.setdefault(source, {})[reason] = count
    return {
      'episodes': len(self.lengths),
      'steps': sum(self.lengths),
      'length': self._length(),
      'steps_held': self.held,
      'steps_by_source': dict(self.steps),
      'ends_by_source': ends,
      'prompts': dict(self.prompts),
      'rates': {f'{rate:g}': count for rate, count in self.rates.items()},
      'no_rates': dict(self.no_rates),
      'images': {camera: dict(sizes) for camera, sizes in self.images.items()},
      **self.told,
    }

  def tables(self) -> Iterator[rich.table.Table]:
    """The counts for a person."""
    length = self._length()
    facts = rich.table.Table(show_header=False)
    facts.add_row('episodes', str(len(self.lengths)))
    facts.add_row('steps', str(sum(self.lengths)))
    facts.add_row('steps an episode', ', '.join(f'{k} {v:g}' for k, v in length.items()))
    told = [f'{rate:g} ({count})' for rate, count in self.rates.most_common()]
    told += [f'{text}, which is none ({count})' for text, count in self.no_rates.most_common(2)]
    rates = ', '.join(told)
    facts.add_row('steps a second (episodes)', rates or 'not told')
    for camera, sizes in self.images.items():
      shown = ', '.join(f'{size} ({count})' for size, count in sizes.most_common())
      facts.add_row(f'images of {camera}', shown)
    yield facts
    if self.steps:
      yield self._sources()
    if self.prompts:
      yield self._texts()

  def _length(self) -> dict[str, float]:
    """Minimum, median and maximum in steps; empty if there is no episode."""
    if not self.lengths:
      return {}
    found = self.lengths
    return {'min': min(found), 'median': statistics.median(found), 'max': max(found)}

  def _sources(self) -> rich.table.Table:
    reasons = [name for name in map(_name, types.EndReason) if any(r == name for _, r in self.ends)]
    table = rich.table.Table()
    table.add_column('source')
    for column in ('steps', *(f'ends: {reason}' for reason in reasons)):
      table.add_column(column, justify='right')
    for source, steps in self.steps.items():
      table.add_row(source, str(steps), *(str(self.ends[source, reason]) for reason in reasons))
    return table

  def _texts(self) -> rich.table.Table:
    table = rich.table.Table()
    table.add_column('prompt')
    table.add_column('episodes', justify='right')
    for text, count in self.prompts.most_common(_PROMPTS):
      table.add_row(rich.markup.escape(repr(text)), str(count))
    if len(self.prompts) > _PROMPTS:
      table.add_row(f'and {len(self.prompts) - _PROMPTS} more', '')
    return table


def _name(value: types.Source | types.EndReason) -> str:
  return value.name.lower()
