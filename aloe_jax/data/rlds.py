"""Episodes as numpy arrays, and as RLDS datasets on disk in the layout TFDS reads.

The layout is Open X-Embodiment's, so that a dataset written here opens anywhere with
`tfds.builder_from_directory`, and one from elsewhere opens here:

    steps/observation/image, left_wrist_image, right_wrist_image    JPEG or PNG
    steps/observation/state [n], features [V, F] (optional)          float32
    steps/action [A]                                                 float32
    steps/reward, discount, is_first, is_last, is_terminal
    steps/language_instruction, source, end_reason                   text
    episode_metadata/...                                             scalars and text

`reward` and `discount` follow the convention of those datasets (reward 1 on the last step of
a success, else 0). Training never reads them: it relabels by Eq. (14) from `end_reason`.

A dataset is never appended to: every round of collection writes its own directory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import os
import pathlib
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.data import absent
from aloe_jax.data import columns
from aloe_jax.data import image_codec
from aloe_jax.data import mapping
from aloe_jax.data import records
from aloe_jax.data import schema
from aloe_jax.data import tfds_directory

CAMERA_FIELDS = {  # camera: its field in steps/observation
  'head': 'image',
  'left_wrist': 'left_wrist_image',
  'right_wrist': 'right_wrist_image',
}
SOURCE_TEXT = {source.name.lower(): source for source in types.Source}
END_REASON_TEXT = columns.END_REASONS

_SCALARS: dict[
  str, tuple[type, ...]
] = {  # stored type: Python types; a bool is an int too, so it comes first
  'text': (str,),
  'bool': (bool, np.bool_),
  'int64': (int, np.integer),
  'float32': (float, np.floating),
}
_INT64 = np.iinfo(np.int64)
_TEXT = schema.Leaf('text', 'string', (), 'none', per_step=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
  """One recording, from a reset of the scene to the next; T steps.

  Attributes:
    state: [T, n] float32, the robot's own n numbers: joint angles and gripper openings.
    features: [T, V, F] float32, low-dimensional blocks that stand in for images, or None.
    images: {camera: [T] encoded JPEGs or PNGs (bytes), or uint8 [T, H, W, 3]}, or None; the
      cameras are the keys of `CAMERA_FIELDS`.
    action: [T, A] float32.
    source: [T] int8, `types.Source` of every step.
    end_reason: [T] int8, `types.EndReason`; NONE except where a fragment ends.
    prompt: what the robot was asked to do, one text or [T] texts, one a step.
    metadata: {name: bool, int, float or str}; floats are kept in single precision.
  """

  state: np.ndarray
  features: np.ndarray | None
  images: Mapping[str, image_codec.Frames] | None
  action: np.ndarray
  source: np.ndarray
  end_reason: np.ndarray
  prompt: str | Sequence[str]
  metadata: Mapping[str, bool | int | float | str]

  def __len__(self) -> int:
    return len(self.action)

  @property
  def prompts(self) -> list[str]:
    """[T] texts, one a step."""
    return [self.prompt] * len(self) if isinstance(self.prompt, str) else list(self.prompt)


def write(
  directory: str | os.PathLike,
  episodes: Iterable[Episode],
  *,
  name: str,
  skip: Callable[[ValueError], None] | None = None,
) -> None:
  """Writes episodes, in the order given, as one TFDS dataset with the split `train`.

  The directory appears complete or not at all.

  Args:
    directory: a path that does not exist yet.
    episodes: all with the same cameras, image sizes, widths and metadata names.
    name: of the dataset, an identifier.
    skip: takes what is wrong with an episode that is then left out; by default it is raised.

  Raises:
    FileExistsError: if the directory exists.
    ValueError: naming the episode, the step and the field that cannot be written.
  """
  directory = pathlib.Path(directory)
  tfds_directory.check_is_new(directory)
  if not name.isidentifier():
    raise ValueError(f'name: found {name!r}, expected an identifier such as "fold_laundry".')
  episodes = iter(episodes)
  numbers = itertools.count()  # `enumerate` would hold an episode while the next is made
  held: list[Episode] = []
  for episode in episodes:
    try:
      layout = _layout(episode, _named(directory, next(numbers), episode))
    except ValueError as error:
      if skip is None:
        raise
      skip(error)
    else:
      held.append(episode)
      break
    finally:
      del episode
  if not held:
    raise ValueError(f'{directory}: there is no episode to write.')

  def examples() -> Iterator[Any]:
    yield _example(held.pop())
    for episode in episodes:
      where = _named(directory, next(numbers), episode)
      try:
        _check_same_layout(_layout(episode, where), layout, where)
      except ValueError as error:
        if skip is None:
          raise
        skip(error)
      else:
        yield _example(episode)
      del episode  # before the next is made

  tfds_directory.write(directory, examples(), name=name, fields=_fields(layout))


def read(
  directory: str | os.PathLike, *, images: bool = False, split: str = 'train'
) -> list[Episode]:
  """Reads all episodes of a split, in the order they have on disk.

  All of them are held in memory: training opens an `index.Index` instead. Fields are found as
  `mapping` and `columns` say, so that datasets of other laboratories are read too, and a last
  action that means nothing is left out (`last_action`).

  Args:
    directory: of one dataset: it holds `features.json` and `dataset_info.json`.
    images: decode the images to uint8; otherwise they stay encoded, as they are stored.
    split: name of the split.

  Raises:
    FileNotFoundError: if the directory is missing.
    ValueError: naming the file or the episode and step, and the field, that is wrong.
  """
  layout = schema.read(directory)
  if split not in layout.splits:
    raise ValueError(f'{directory}: split {split!r}: expected one of {sorted(layout.splits)}.')
  try:
    paths = mapping.resolve(layout.leaves, {})
  except ValueError as error:
    raise ValueError(f'{directory}: {error}') from error
  shards = layout.splits[split]
  if missing := absent.told(shards):
    raise ValueError(missing)
  paths, _ = records.decided(layout, shards, paths)
  return [_episode(read, images) for read in records.read(layout, shards, paths)]


# Writing


def _named(directory: pathlib.Path, index: int, episode: Episode) -> str:
  """An episode by its number, and by the recording's own name where it is kept."""
  recorded = episode.metadata.get('file_path')
  return f'{directory}, episode {index}' + (f' ({recorded})' if recorded else '')


def _layout(episode: Episode, where: str) -> dict[str, Any]:
  """What must be the same in every episode of a dataset: {field: shape, format or type}."""
  _check(episode, where)
  layout: dict[str, Any] = {
    'steps/observation/state': episode.state.shape[1:],
    'steps/action': episode.action.shape[1:],
  }
  if episode.features is not None:
    layout['steps/observation/features'] = episode.features.shape[1:]
  for camera, frames in (episode.images or {}).items():
    if camera not in CAMERA_FIELDS:
      raise ValueError(f'{where}: camera {camera!r}: expected one of {sorted(CAMERA_FIELDS)}.')
    if len(frames) != len(episode):
      raise ValueError(
        f'{where}: images of {camera!r}: found {len(frames)}, expected one a step: {len(episode)}.'
      )
    try:
      layout[f'steps/observation/{CAMERA_FIELDS[camera]}'] = image_codec.common_format(frames)
    except ValueError as error:
      raise ValueError(f'{where}: images of {camera!r}: {error}') from error
  for prompt in dict.fromkeys(episode.prompts):
    _check_text(prompt, f'{where}: prompt')
  for name, value in episode.metadata.items():
    _check_text(name, f'{where}: metadata')
    if isinstance(value, str):
      _check_text(value, f'{where}: metadata {name!r}')
    scalar = _scalar(value)
    if scalar is None:
      raise ValueError(
        f'{where}: metadata {name!r}: found a {type(value).__name__}, expected a bool, int, '
        'float or str.'
      )
    if scalar == 'int64' and not _INT64.min <= int(value) <= _INT64.max:
      raise ValueError(
        f'{where}: metadata {name!r}: found {value}, expected a number that 64 bits hold; keep '
        'it as a str.'
      )
    if '/' in name:
      raise ValueError(
        f'{where}: metadata {name!r}: found a slash, which parts names on disk; rename it.'
      )
    layout[f'episode_metadata/{name}'] = scalar
  return layout


def _check_text(text: str, what: str) -> None:
  try:
    text.encode()
  except UnicodeEncodeError as error:
    raise ValueError(
      f'{what}: found {text!a:.80}, which is no text that can be kept ({error.reason}); write it '
      'again.'
    ) from error


def _check_same_layout(found: dict[str, Any], expected: dict[str, Any], where: str) -> None:
  for field in sorted(found.keys() | expected.keys()):
    if found.get(field) != expected.get(field):
      raise ValueError(
        f'{where}: {field}: found {found.get(field, "nothing")}, expected '
        f'{expected.get(field, "nothing")} as in episode 0; all episodes of a dataset have the '
        'same fields and sizes.'
      )


def _fields(layout: Mapping[str, Any]) -> dict[str, schema.Leaf]:
  """The fields on disk of episodes with this layout: {path: field}."""
  fields = {
    'steps/observation/state': _tensor('float32', layout['steps/observation/state']),
    'steps/reward': _tensor('float32'),
    'steps/discount': _tensor('float32'),
    'steps/is_first': _tensor('bool'),
    'steps/is_last': _tensor('bool'),
    'steps/is_terminal': _tensor('bool'),
    'steps/language_instruction': _TEXT,
    'steps/source': _TEXT,
    'steps/end_reason': _TEXT,
  }
  for path, found in layout.items():
    if path.startswith('episode_metadata/'):
      fields[path] = _TEXT if found == 'text' else _tensor(found)
    elif path.rpartition('/')[-1] in CAMERA_FIELDS.values():
      encoding, height, width = found
      fields[path] = schema.Leaf('image', 'uint8', (height, width, 3), encoding, per_step=True)
    else:
      fields[path] = _tensor('float32', found)
  return fields


def _tensor(dtype: str, shape: tuple[int, ...] = ()) -> schema.Leaf:
  return schema.Leaf('tensor', dtype, shape, 'none', per_step=True)


def _example(episode: Episode) -> dict[str, np.ndarray | list[bytes]]:
  """The record of an episode; terminal where success or failure was decided."""
  length = len(episode)
  last = np.arange(length) == length - 1
  decided = np.isin(episode.end_reason, (types.EndReason.SUCCESS, types.EndReason.FAILURE))
  source_text = {value: text.encode() for text, value in SOURCE_TEXT.items()}
  end_reason_text = {value: text.encode() for text, value in END_REASON_TEXT.items()}
  example: dict[str, np.ndarray | list[bytes]] = {
    'steps/observation/state': np.asarray(episode.state, np.float32),
    'steps/action': np.asarray(episode.action, np.float32),
    'steps/reward': np.asarray(episode.end_reason == types.EndReason.SUCCESS, np.float32),
    'steps/discount': np.asarray(~(last & decided), np.float32),
    'steps/is_first': np.arange(length) == 0,
    'steps/is_last': last,
    'steps/is_terminal': last & decided,
    'steps/language_instruction': [prompt.encode() for prompt in episode.prompts],
    'steps/source': [source_text[source] for source in episode.source],
    'steps/end_reason': [end_reason_text[reason] for reason in episode.end_reason],
  }
  if episode.features is not None:
    example['steps/observation/features'] = np.asarray(episode.features, np.float32)
  for camera, frames in (episode.images or {}).items():
    example[f'steps/observation/{CAMERA_FIELDS[camera]}'] = image_codec.encoded(frames)
  for name, value in episode.metadata.items():
    stored = [value.encode()] if isinstance(value, str) else np.asarray(value, _scalar(value))
    example[f'episode_metadata/{name}'] = stored
  return example


def _scalar(value: Any) -> str | None:
  """How a value of the metadata is stored, or None if it cannot be."""
  return next((kind for kind, python in _SCALARS.items() if isinstance(value, python)), None)


# Reading


def _episode(read: records.Read, decode: bool) -> Episode:
  """The episode of a record, images encoded unless they are to be decoded."""
  if read.columns is None:
    raise ValueError(read.problem)
  found, images = read.columns, {}
  for camera in found.images:
    frames = [read.frame(camera, step) for step in range(len(found))]
    pixels = np.asarray(frames) if isinstance(frames[0], np.ndarray) else None
    if pixels is None and decode:
      pixels = image_codec.decoded(frames)
    images[camera] = frames if pixels is None else pixels
  return Episode(
    state=found.state,
    features=found.features,
    images=images or None,
    action=found.action,
    source=found.source,
    end_reason=found.end_reason,
    prompt=found.prompt if len(set(found.prompt)) > 1 else found.prompt[0],
    metadata=found.metadata,
  )


def _check(episode: Episode, where: str) -> None:
  """Raises unless ranks, widths, lengths, types and enumerations are right, numbers finite."""
  length = len(episode)
  if length == 0:
    raise ValueError(f'{where}: the episode has no steps; remove it.')
  expected: dict[str, tuple[np.ndarray, list[int | None]]] = {
    'state': (episode.state, [length, None]),
    'action': (episode.action, [length, None]),
    'source': (episode.source, [length]),
    'end_reason': (episode.end_reason, [length]),
  }
  if episode.features is not None:
    expected['features'] = (episode.features, [length, None, None])
  for field, (array, shape) in expected.items():
    fits = array.ndim == len(shape) and all(
      size in (None, found) for size, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
      wanted = str(shape).replace('None', 'any')
      raise ValueError(f'{where}: {field}: found {list(array.shape)}, expected {wanted}.')
    if not array.size:
      raise ValueError(
        f'{where}: {field}: found {list(array.shape)}, which holds no number; expected one or more '
        'a step.'
      )
    if array.dtype.kind not in 'biuf':
      raise ValueError(f'{where}: {field}: found {array.dtype}, expected real numbers.')
    for numbers, found in (
      (array, 'NaN or infinity'),
      (_in_single_precision(array), 'a number too large for float32, as which it is kept'),
    ):
      bad = ~np.isfinite(numbers.reshape(length, -1)).all(axis=1)
      if bad.any():
        raise ValueError(
          f'{where}, step {int(np.argmax(bad))}: {field}: found {found}, expected finite numbers; '
          'repair or remove the episode.'
        )
  for field, values, allowed in (
    ('source', episode.source, types.Source),
    ('end_reason', episode.end_reason, types.EndReason),
  ):
    unknown = ~np.isin(values, list(allowed))
    if unknown.any():
      step = int(np.argmax(unknown))
      raise ValueError(
        f'{where}, step {step}: {field}: found {values[step]}, expected a types.{allowed.__name__}.'
      )
  if isinstance(episode.prompt, str):
    return
  prompts = episode.prompt if isinstance(episode.prompt, Sequence) else [episode.prompt]
  if len(prompts) != length or not all(isinstance(prompt, str) for prompt in prompts):
    raise ValueError(
      f'{where}: prompt: found {episode.prompt!r:.80}, a {type(episode.prompt).__name__}; expected '
      f'one str for the episode, or one a step: {length}.'
    )


def _in_single_precision(array: np.ndarray) -> np.ndarray:
  with np.errstate(over='ignore'):
    return array.astype(np.float32, copy=False)
