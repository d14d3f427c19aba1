"""What a dataset holds and how it would be read, for a person who sees it for the first time."""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
import functools
import os
import pathlib
import shlex
from typing import Any

import numpy as np
import rich.console
import rich.markup
import rich.tree

from aloe_jax import types
from aloe_jax.data import absent
from aloe_jax.data import cameras
from aloe_jax.data import columns as columns_lib
from aloe_jax.data import field_kinds
from aloe_jax.data import field_names
from aloe_jax.data import flags
from aloe_jax.data import image_codec
from aloe_jax.data import mapping as mappings
from aloe_jax.data import outcomes
from aloe_jax.data import records
from aloe_jax.data import remarks
from aloe_jax.data import schema
from aloe_jax.data import unread_flags
from aloe_jax.data.tools import survey as survey_lib

# What is read where the mapping names no field; see `columns`.
_WITHOUT = {
  **dict.fromkeys(types.CAMERAS, 'the camera is missing at every step'),
  'prompt': 'every prompt is empty',
  'end_reason': 'episodes end by their success, and take-overs show by who acts',
  'success': 'the end_reason counts; without one episodes are cut, or a last reward may say it',
  'source': 'every episode is a demonstration',
  'intervention': 'the source says who acted; without one all steps of an episode are of one',
  'reward': 'rewards are those of Eq. (14)',
}


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """Some steps of an episode, to be looked at.

  Attributes:
    title: where they are from and what the prompt says.
    captions: one a step.
    frames: {camera: one image a step, uint8 [H, W, 3], or None if it is missing}.
  """

  title: str
  captions: list[str]
  frames: dict[str, list[np.ndarray | None]]


@dataclasses.dataclass(frozen=True, eq=False)
class Inspection:
  """What was found in one split of a dataset.

  Attributes:
    directory: of the dataset.
    split: its name.
    layout: of the dataset.
    mapping: {key or camera: field, several with commas between, or 'none'} as it is read, or
      as it is proposed where that cannot be, and `last_action` as it was asked for.
    assigned: which camera every picture of every step is, or why it is none.
    problem: why the mapping cannot be used, or empty. Where only a camera is not known the rest is
      read without it; else nothing else is known then.
    survey: of all episodes; of images only the first of each.
    last_action: why last actions are left out or suspect if nobody has said what they are, else the
      empty string.
    absent: which shards are not there, or the empty string.
    unread: {field that looks like a flag and is not read: the key that would read it}.
    unreadable: number of episodes and files that something is wrong with.
    first_wrong: what is wrong with the first of them.
    scene: first, middle and last step of the episode asked for, if there are images.
  """

  directory: str
  split: str
  layout: schema.Layout
  mapping: dict[str, str]
  assigned: cameras.Assignment
  problem: str
  survey: survey_lib.Survey
  last_action: str = ''
  absent: str = ''
  unread: Mapping[str, str] = dataclasses.field(default_factory=dict)
  unreadable: int = 0
  first_wrong: str = ''
  scene: Scene | None = None

  def to_json(self) -> dict[str, Any]:
    """All but the images, as JSON takes it."""
    return {
      'directory': self.directory,
      'container': self.layout.container,
      'splits': {name: _records(shards) for name, shards in self.layout.splits.items()},
      'fields': {path: dataclasses.asdict(leaf) for path, leaf in self.layout.leaves.items()},
      'mapping': self.mapping,
      'images_left_out': list(self.assigned.left_out),
      'images': self.assigned.left_out
      | {name: camera for camera, name in self.assigned.roles.items() if name},
      'problem': self.problem,
      'split': self.split,
      'survey': self.survey.to_json(),
      'last_action': self.last_action,
      'absent': self.absent,
      'flags_not_read': dict(self.unread),
      'unreadable': self.unreadable,
      'first_wrong': self.first_wrong,
    }

  def show(self, console: rich.console.Console) -> None:
    """Prints all but the images for a person."""
    tell = functools.partial(console.print, markup=False, highlight=False, soft_wrap=True)
    console.print(_tree(f'{self.directory} ({self.layout.container})', self.layout.leaves))
    for name, shards in self.layout.splits.items():
      tell(f'Split {name}: {_records(shards)} episodes in {len(shards)} files')
    tell(
      '\nFields that training reads, several with commas between; options of training, and '
      'without `config.data.` of this command:'
    )
    for key, text in self.mapping.items():
      without = f'  # {_WITHOUT[key]}' if text == 'none' and key in _WITHOUT else ''
      tell(f'  --config.data.mapping.{key}={shlex.quote(text)}{without}')
    short = {path: path.removeprefix('steps/') for path in self.layout.leaves}
    if self.assigned.left_out:
      names = ', '.join(short[path] for path in self.assigned.left_out)
      tell(f'Images that no camera shows: {names}')
    for line in self.assigned.lines(short):
      tell(f'  {line}')
    for path, key in self.unread.items():
      chosen = unread_flags.choice(
        short[path], is_text=field_kinds.is_text(self.layout.leaves[path])
      )
      tell(
        f'{short[path]} looks like a flag and is not read; --config.data.mapping.{key}={chosen} '
        'reads it'
      )
    if self.problem:
      tell(f'\n{self.problem}')
    if self.unreadable:
      tell(
        f'\nWrong: {self.unreadable} episodes or files; `validate` names them all. The first: '
        f'{self.first_wrong}'
      )
    if not self.survey.lengths:
      return
    if self.last_action:
      tell(self.last_action)
    tell(f'\nSplit {self.split}, read so:')
    for table in self.survey.tables():
      console.print(table)
    if self.absent:
      tell(f'Not there: {self.absent} {absent.advice(self.layout.splits[self.split])}')
    for line in remarks.lines(self.survey.told):
      tell(line)
    told = outcomes.sentence(reason for _, reason in self.survey.ends)
    if told and self.survey.lengths:
      tell(told)


def inspect(
  directory: str | os.PathLike,
  mapping: Mapping[str, Any],
  *,
  split: str = 'train',
  episode: int = 0,
  progress: Callable[[int], None] = lambda records: None,
) -> Inspection:
  """Reads all files of a split once, decodes few images and writes nothing.

  Args:
    directory: of one dataset.
    mapping: which fields feed which key; see `mapping`.
    split: its name.
    episode: number of the one whose images are wanted.
    progress: told the records read so far.

  Raises:
    FileNotFoundError: if there is no such directory, or no shard of the split.
    ValueError: if it is no dataset, or has no such split or episode.
  """
  layout = schema.read(directory)
  if split not in layout.splits:
    raise ValueError(f'{directory}: split {split!r}: expected one of {sorted(layout.splits)}.')
  survey = survey_lib.Survey()
  found = functools.partial(Inspection, str(pathlib.Path(directory)), split, layout)
  problem, assigned = '', mappings.assignment(layout.leaves, {})
  try:
    images = mapping.get('images', {})
    images = dict.fromkeys(types.CAMERAS) if images is None else images
    assigned = mappings.assignment(layout.leaves, images)
    problem = assigned.problem(mappings.CHOICE)
    # The rest can be looked at without a camera of which it is not known which picture it is.
    known = {**mapping, 'images': images | dict.fromkeys(assigned.ties)}
    paths = mappings.resolve(layout.leaves, known)
  except ValueError as error:
    proposed = mappings.propose(layout.leaves) | {'last_action': mapping.get('last_action', '')}
    return found(_texts(proposed), assigned, f'{problem} {error}'.strip(), survey)
  wanted = paths
  shards = layout.splits[split]
  absent.check(shards, skip=True)
  paths, told = records.decided(layout, shards, paths)
  unreadable, wrong, seen, scene = 0, '', 0, None
  for read in records.read(layout, shards, paths):
    if read.problem and not read.absent:
      unreadable, wrong = unreadable + 1, wrong or read.problem
    seen += read.record is not None
    progress(seen)
    if read.columns is None:
      continue
    survey.add(read.columns, read.episode)
    for camera in read.columns.images:
      survey.add_image(camera, _size(read.frame(camera, 0)))
    if read.record is not None and read.episode == episode:
      scene = _scene(read)
  if episode >= max(seen, 1):
    raise ValueError(f'{directory}: found no episode {episode}, expected one of 0 to {seen - 1}.')
  if _is_passed_over(wanted, layout.leaves, survey):
    wanted = dataclasses.replace(wanted, intervention=None)
  return found(
    _texts(dataclasses.asdict(wanted)),
    assigned,
    problem,
    survey,
    last_action=told,
    absent=absent.told(shards),
    unread=_unread(wanted, layout.leaves),
    unreadable=unreadable,
    first_wrong=wrong,
    scene=scene,
  )


def _is_passed_over(
  paths: mappings.Resolved, leaves: Mapping[str, schema.Leaf], survey: survey_lib.Survey
) -> bool:
  """Whether sources said who acts in every episode, so that no intervention was looked at."""
  if paths.intervention is None or paths.source is None or 'intervention' in paths.named:
    return False
  demo = types.Source.DEMO.name.lower()
  return leaves[paths.source].per_step or set(survey.steps) <= {demo}


def _unread(paths: mappings.Resolved, leaves: Mapping[str, schema.Leaf]) -> dict[str, str]:
  """Fields that look like flags and are not read, though nothing better is."""
  read = [paths.success, paths.intervention, paths.reward, *paths.prompt]
  read = [flags.parse(path).name for path in read if path]
  read += field_names.SOURCE if paths.source else ()
  names = [path for path, leaf in leaves.items() if field_kinds.is_outcome(leaf)]
  found = unread_flags.find(names, read)
  return {p: key for p, key in found.items() if key != 'success' or paths.end_reason is None}


def _records(shards: list[schema.Shard]) -> int:
  return sum(shard.num_records for shard in shards)


def _tree(title: str, leaves: Mapping[str, schema.Leaf]) -> rich.tree.Tree:
  root = rich.tree.Tree(rich.markup.escape(title))
  branches = {'': root}

  def branch(path: str) -> rich.tree.Tree:
    if path not in branches:
      parent, _, name = path.rpartition('/')
      branches[path] = branch(parent).add(rich.markup.escape(name))
    return branches[path]

  for path, leaf in leaves.items():
    parent, _, name = path.rpartition('/')
    kind = leaf.kind if leaf.encoding == 'none' else f'{leaf.kind} ({leaf.encoding})'
    shape = f' {list(leaf.shape)}' if leaf.shape else ''
    branch(parent).add(rich.markup.escape(f'{name}: {kind} {leaf.dtype}{shape}'))
  return root


def _texts(mapping: Mapping[str, Any]) -> dict[str, str]:
  """A mapping as a flat table of texts, which `mapping.parse` reads."""

  def text(value: Any) -> str:
    names = [value] if isinstance(value, str) else value or []
    return ','.join(name.removeprefix('steps/') for name in names) or 'none'

  cameras = {camera: text(path) for camera, path in mapping['images'].items()}
  fields = {key: text(mapping[key]) for key in mappings.KEYS if key != 'images'}
  return cameras | fields | {'last_action': mapping['last_action'] or 'auto'}


def _size(frame: bytes | np.ndarray | None) -> str:
  """Size of an image, from its header."""
  if frame is None:
    return survey_lib.MISSING
  try:
    _, height, width = image_codec.common_format(
      [frame] if isinstance(frame, bytes) else frame[None]
    )
  except ValueError:
    return 'unreadable'
  return f'{height} x {width}'


def _scene(read: records.Read) -> Scene | None:
  """First, middle and last step of an episode."""
  columns = read.columns
  assert columns is not None
  if not columns.images:
    return None
  steps = sorted({0, (len(columns) - 1) // 2, len(columns) - 1})
  return Scene(
    title=f'{read.path.name}, episode {read.episode}: {columns.prompt[0]!r}',
    captions=list(_captions(columns, steps)),
    frames={
      camera: [_decoded(read.frame(camera, step)) for step in steps] for camera in columns.images
    },
  )


def _captions(columns: columns_lib.Columns, steps: list[int]) -> Iterator[str]:
  for step in steps:
    end = types.EndReason(columns.end_reason[step])
    ends = f', ends: {end.name.lower()}' if end else ''
    source = types.Source(columns.source[step]).name.lower()
    yield f'step {step} of {len(columns)}, {source}{ends}'


def _decoded(frame: bytes | np.ndarray | None) -> np.ndarray | None:
  """An image, or None where there is none that can be decoded."""
  if not isinstance(frame, bytes):
    return frame
  try:
    return image_codec.decode(frame)
  except (ValueError, OSError, SyntaxError):
    return None
