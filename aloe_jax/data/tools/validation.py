"""Reads every byte of a dataset and lists all that is wrong with it.

Wrong is what training would stop at or learn wrongly from: a damaged file, a field that is not
what it should be, a number that is not finite, an image that cannot be decoded, a fragment
without its end. What may be meant, such as an empty prompt, is noted only.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
import dataclasses
import functools
import os
from typing import Any

import numpy as np
import rich.console

from aloe_jax.data import absent
from aloe_jax.data import fragments
from aloe_jax.data import holds
from aloe_jax.data import image_codec
from aloe_jax.data import mapping as mappings
from aloe_jax.data import padding
from aloe_jax.data import records
from aloe_jax.data import remarks
from aloe_jax.data import schema
from aloe_jax.data.tools import survey as survey_lib
from aloe_jax.data.tools import value_range


@dataclasses.dataclass(frozen=True)
class Problem:
  """What is wrong with a dataset, a file or an episode.

  Attributes:
    message: all of it, for a person.
    file: name, or empty.
    record: number in the file, or None.
    episode: number in the split, or None.
    absent: the file is not there.
  """

  message: str
  file: str = ''
  record: int | None = None
  episode: int | None = None
  absent: bool = False


@dataclasses.dataclass(frozen=True)
class Note:
  """What is worth a look.

  Attributes:
    message: for a person.
    episodes: that it is about, by their numbers in the split; empty if it is about all.
  """

  message: str
  episodes: tuple[int, ...] = ()

  def __str__(self) -> str:
    if not self.episodes:
      return self.message
    return f'{self.message}: {remarks.named(self.episodes)}.'


@dataclasses.dataclass
class Report:
  """What was found in one split of a dataset.

  Attributes:
    directory: of the dataset.
    split: its name.
    size: of its files, bytes.
    absent: which of its files are not there, and what to do, or the empty string.
    problems: all of them, in the order of the files.
    notes: on what may be meant.
    survey: of the episodes without problems of their own.
    ranges: of 'state' and 'action' over the same, unless there are less than two steps.
  """

  directory: str
  split: str
  size: int = 0
  absent: str = ''
  problems: list[Problem] = dataclasses.field(default_factory=list)
  notes: list[Note] = dataclasses.field(default_factory=list)
  survey: survey_lib.Survey = dataclasses.field(default_factory=survey_lib.Survey)
  ranges: dict[str, value_range.ValueRange] = dataclasses.field(default_factory=dict)

  def to_json(self) -> dict[str, Any]:
    """All that was found, as JSON takes it."""
    return {
      'directory': self.directory,
      'split': self.split,
      'bytes': self.size,
      'problems': [dataclasses.asdict(problem) for problem in self.problems],
      'notes': [dataclasses.asdict(note) for note in self.notes],
      'survey': self.survey.to_json(),
      'ranges': {key: values.to_json() for key, values in self.ranges.items()},
    }

  def show(self, console: rich.console.Console) -> None:
    """Prints all that was found for a person."""
    tell = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    tell(f'{self.directory}, split {self.split}: {self.size / 1e6:.1f} MB')
    for table in self.survey.tables():
      console.print(table)
    for key, values in self.ranges.items():
      console.print(values.table(key))
    for note in self.notes:
      tell(f'Note: {note}')
    absent = [self.absent] if any(problem.absent for problem in self.problems) else []
    for message in absent + [problem.message for problem in self.problems if not problem.absent]:
      tell(f'Wrong: {message}')


def validate(
  directory: str | os.PathLike,
  mapping: Mapping[str, Any],
  *,
  split: str | None = None,
  on_error: str = 'raise',
  progress: Callable[[int], None] = lambda records: None,
) -> list[Report]:
  """Reads all files of a dataset once and decodes all images that the mapping names.

  Args:
    directory: of one dataset.
    mapping: which fields feed which key; see `mapping`.
    split: the only one to read; None reads all.
    on_error: 'skip' if shards that are not there are left out and not wrong, unless all are.
    progress: told the records read so far.

  Returns:
    One for each split.

  Raises:
    FileNotFoundError: if there is no such directory.
    ValueError: if it is no dataset, or the mapping does not fit it.
  """
  layout, paths = _open(directory, mapping, split)
  reports, done, wanted = [], 0, paths
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for name in layout.splits if split is None else [split]:
      checker = _Checker(Report(str(directory), name), pool)
      shards = layout.splits[name]
      paths, told = records.decided(layout, shards, wanted)
      if told:
        checker.report.notes.append(Note(told))
      missing, skips = absent.told(shards), on_error == 'skip'
      if missing and skips:
        checker.report.notes.append(Note(missing))
      elif missing:
        checker.report.absent = f'{missing} {absent.advice(shards)}'
      for read in records.read(layout, shards, paths):
        if not (read.absent and skips):
          checker.check(read)
        done += read.record is not None
        progress(done)
      checker.report.size = sum(s.path.stat().st_size for s in shards if s.path.exists())
      checker.finish()
      reports.append(checker.report)
  return reports


def _open(
  directory: str | os.PathLike, mapping: Mapping[str, Any], split: str | None
) -> tuple[schema.Layout, mappings.Resolved]:
  """The layout of a dataset that has this split, and the fields that a mapping names in it."""
  layout = schema.read(directory)
  if split is not None and split not in layout.splits:
    raise ValueError(
      f'{directory}: found no split {split!r}, expected one of {sorted(layout.splits)}.'
    )
  try:
    return layout, mappings.resolve(layout.leaves, mapping)
  except ValueError as error:
    raise ValueError(f'{directory}: {error}') from error


class _Checker:
  """Checks the records of a split one after the other."""

  def __init__(self, report: Report, pool: futures.Executor):
    self.report = report
    self._pool = pool
    self._width = 0  # of the state
    self._single: list[int] = []  # episodes of one step
    self._silent: list[int] = []  # episodes with an empty prompt

  def check(self, read: records.Read) -> None:
    """Adds what a record holds, or what is wrong with it."""
    if read.problem:
      self._add(read, read.problem)
    if read.columns is None:
      return
    columns = read.columns
    self._width = columns.state.shape[1]
    self.report.survey.add(columns, read.episode)
    for key, vectors in (('state', columns.state), ('action', columns.action)):
      values = self.report.ranges.setdefault(key, value_range.ValueRange(vectors.shape[1]))
      values.update(vectors, read.episode)
    is_last = np.arange(len(columns)) == len(columns) - 1
    for step, problem in fragments.lost_ends(columns.source, columns.end_reason, is_last):
      self._add(read, f'{read.where}: step {step} {problem}')
    for problem in self._images(read):
      self._add(read, problem)
    if len(columns) == 1:
      self._single.append(read.episode)
    if not all(columns.prompt):
      self._silent.append(read.episode)

  def finish(self) -> None:
    """Notes what only all episodes together show."""
    report, survey = self.report, self.report.survey
    if not survey.lengths:
      report.problems.append(Problem(f'{report.directory}: there is no episode that can be used.'))
    if self._single:
      report.notes.append(Note('One step only in the episodes', tuple(self._single)))
    if self._silent:
      report.notes.append(Note('An empty prompt in the episodes', tuple(self._silent)))
    for name, episodes in survey.told.items():
      report.notes.append(Note(remarks.text(name), tuple(episodes)))
    if told := holds.sentence(survey.held, sum(survey.lengths)):
      report.notes.append(Note(told))
    if len(survey.rates) > 1:
      found = ', '.join(f'{n} at {rate:g} steps a second' for rate, n in survey.rates.most_common())
      report.notes.append(Note(f'Episodes of different rates: {found}.'))
    if survey.no_rates:
      found = ', '.join(f'{text} ({n} episodes)' for text, n in survey.no_rates.most_common(3))
      report.notes.append(Note(f'Found as steps a second, and no number above 0: {found}.'))
    for camera, sizes in survey.images.items():
      if len(sizes) > 1:
        found = ', '.join(f'{count} {size}' for size, count in sizes.most_common())
        report.notes.append(Note(f'Images of {camera} differ: {found}.'))
    if self._width > padding.WIDTH:
      message = (
        f'The state has {self._width} numbers, of which training takes at most {padding.WIDTH}: '
        f"choose them, as with --config.data.mapping.state='observation/state[0:{padding.WIDTH}]'."
      )
      report.notes.append(Note(message))
    if sum(survey.lengths) < 2:
      report.ranges.clear()
    for key, values in report.ranges.items():
      report.notes += [Note(remark) for remark in values.remarks(key)]

  def _add(self, read: records.Read, message: str) -> None:
    if read.record is None:
      self.report.problems.append(Problem(message, read.path.name, absent=read.absent))
      return
    number = read.record.number
    self.report.problems.append(Problem(message, read.path.name, number, read.episode))

  def _images(self, read: records.Read) -> Iterator[str]:
    """Decodes the images of an episode; yields what is wrong with them."""
    assert read.columns is not None
    for camera in read.columns.images:
      frames = (read.frame(camera, step) for step in range(len(read.columns)))
      for step, (size, problem) in enumerate(self._pool.map(_decoded, frames)):
        if problem:
          yield f'{read.where}, step {step}: image of {camera}: {problem}'
        else:
          self.report.survey.add_image(camera, size)


def _decoded(frame: bytes | np.ndarray | None) -> tuple[str, str]:
  """Size of an image, and what is wrong with it."""
  if frame is None:
    return survey_lib.MISSING, ''
  try:
    height, width, _ = np.shape(image_codec.decode(frame) if isinstance(frame, bytes) else frame)
  except (ValueError, OSError, SyntaxError) as error:  # the last is Pillow's for a broken PNG
    return '', f'{error}; the image is damaged, or neither JPEG nor PNG.'
  return f'{height} x {width}', ''
