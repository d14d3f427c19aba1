"""Plain folders, the format to write when a recorder has none of its own.

    DIR/<episode>/            one folder an episode, T steps; read in the order of their names
      episode.json            {"prompt": "fold the t-shirt", "end_reason": "success"}
      state.npy               [T, n] numbers, n at most 32: joint angles and gripper openings
      action.npy              [T, A] numbers
      head/000000.jpg ...     T JPEGs or PNGs numbered without a gap; or head.npy, uint8
                              [T, H, W, 3]; likewise left_wrist and right_wrist
      source.npy              optional, [T] text: demo, policy or human
      end_reason.npy          optional, [T] text: '' except where a fragment ends

The arrays may lie together in an `episode.npz` instead. `episode.json` may hold

    prompt        what the robot was asked to do
    end_reason    success, failure, timeout, takeover or cut; or
    success       true or false: a success or a failure
    source        of every step: demo, policy or human
    fps           steps per second
    metadata      {name: bool, int, float or str}, the same names in every episode

What it leaves out is taken from the command line.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
import contextlib
import itertools
import math
import pathlib
from typing import Any
import zipfile

import numpy as np

from aloe_jax import files
from aloe_jax import types
from aloe_jax.data import cameras as cameras_lib
from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import rates
from aloe_jax.data import rlds
from aloe_jax.data.importers import importer
from aloe_jax.data.importers import plain_look
from aloe_jax.data.importers import settings as settings_lib

_JSON = 'episode.json'
_NPZ = 'episode.npz'
_FIELDS = {  # of episode.json
  'prompt': str,
  'end_reason': str,
  'success': bool,
  'source': str,
  'fps': object,
  'metadata': dict,
}
_OUTCOMES = ('outcome', *(path.rpartition('/')[-1] for path in field_names.SUCCESS))  # in metadata


class Folder:
  """The episodes of a folder of plain recordings, read one at a time.

  Attributes:
    left_out: pictures that are not imported, where the cameras were chosen; all else that is
      neither imported nor expected is refused.
    notes: of every picture, which camera it is, or why it is none.
  """

  def __init__(self, directory: pathlib.Path, settings: settings_lib.Settings):
    """Finds the episodes.

    Raises:
      FileNotFoundError: if the folder does not exist or holds none.
    """
    if not directory.is_dir():
      raise FileNotFoundError(f'{directory}: there is no such folder; expected plain episodes.')
    self._settings = settings
    self._folders = sorted(
      path for path in directory.iterdir() if path.is_dir() and not path.name.startswith('.')
    )
    if not self._folders:
      raise FileNotFoundError(f'{directory}: found no folders in it, expected one an episode.')
    self._parts = {
      what: settings_lib.parts(getattr(settings, what) or what, f'--{what}')
      for what in ('state', 'action')
    }
    wanted = settings.cameras
    self._pictures = set().union(*(plain_look.pictures(folder) for folder in self._folders))
    assigned = cameras_lib.assign(
      dict.fromkeys(sorted(self._pictures if wanted else self._pictures & {*types.CAMERAS}), ''),
      dict.fromkeys(types.CAMERAS) | dict(wanted) if wanted else None,
    )
    self.left_out = list(assigned.left_out)
    self.notes = [f'images: {line}' for line in assigned.lines()]
    parts = [part for found in self._parts.values() for part in found]
    numbers = {part.name for part in parts if part == field_path.FieldPath(part.name)}
    named = wanted.values() if wanted else types.CAMERAS
    self._layouts = plain_look.layouts(self._folders, numbers | {*named})

  def __len__(self) -> int:
    return len(self._folders)

  def __iter__(self) -> Iterator[rlds.Episode]:
    """Yields the episodes.

    Raises:
      ValueError: naming the folder, the file and the field that is wrong.
    """
    expected = plain_look.common(self._layouts)
    for folder, layout in zip(self._folders, self._layouts, strict=True):
      episode = None
      with self._settings.log.reading():
        found = _episode(folder, self._settings, self._parts, self._pictures)
        plain_look.check(folder, layout, expected)
        episode = found
        del found
      if episode is not None:
        yield episode
      del episode


def _episode(
  folder: pathlib.Path,
  settings: settings_lib.Settings,
  parts: Mapping[str, Sequence[field_path.FieldPath]],
  pictures: Collection[str],
) -> rlds.Episode:
  told = _told(folder / _JSON)
  arrays = _arrays(folder)
  numbers = [part.name for found in parts.values() for part in found]
  folders = {path.name for path in folder.iterdir() if path.is_dir()}
  cameras = settings.cameras or {
    camera: camera for camera in types.CAMERAS if camera in arrays or camera in folders
  }
  known = {*numbers, 'source', 'end_reason', *types.CAMERAS}
  if settings.cameras:  # other pictures are left out, and a state may go by several names
    known |= {'state', 'action', *settings.cameras.values(), *pictures}
  _check_known(folder, arrays.keys() | folders, known)
  for name in numbers:
    if name not in arrays:
      raise ValueError(f'{folder}: {name} is missing, expected {name}.npy, or {name} in {_NPZ}.')
  prompt = told.get('prompt') if settings.prompt is None else settings.prompt
  if not prompt or not prompt.strip():
    raise ValueError(
      f'{folder / _JSON}: prompt: found none, expected what the robot was asked to do; write it '
      'there or pass --prompt.'
    )
  return settings_lib.make_episode(
    str(folder),
    state=settings_lib.joined(arrays, parts['state'], str(folder)),
    action=settings_lib.joined(arrays, parts['action'], str(folder)),
    images={
      camera: arrays[name] if name in arrays else _images(folder / name)
      for camera, name in cameras.items()
    },
    source=_source(folder, told, arrays, settings.source),
    end_reason=_end_reason(folder, told, arrays, settings.end_reason),
    prompt=prompt,
    metadata={'file_path': f'{folder.parent.name}/{folder.name}'}
    | told.get('metadata', {})
    | ({'fps': _rate(folder / _JSON, told)} if 'fps' in told else {}),
  )


def _told(path: pathlib.Path) -> dict[str, Any]:
  """What episode.json says, once every field of it is known."""
  if not path.exists():
    return {}
  told = files.read_json(path, 'write it again, or remove it if it has nothing to say.')
  if not isinstance(told, dict):
    raise ValueError(f'{path}: found a {type(told).__name__}, expected an object in braces.')
  _check_known(path, told.keys(), _FIELDS.keys())
  for field, value in told.items():
    if not isinstance(value, _FIELDS[field]):
      raise ValueError(f'{path}: {field}: found {value!r}, expected a {_FIELDS[field].__name__}.')
  return told


def _rate(path: pathlib.Path, told: Mapping[str, Any]) -> float:
  """Steps per second, as nothing else tells them otherwise."""
  fps = told['fps']
  if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps < math.inf:
    raise ValueError(f'{path}: fps: found {fps!r}, expected the steps per second, more than 0.')
  for name in rates.NAMES:
    other = told.get('metadata', {}).get(name, fps)
    if isinstance(other, str):
      with contextlib.suppress(ValueError):
        other = float(other)
    if other != fps:
      raise ValueError(
        f'{path}: found fps {fps!r} and metadata {name} {other!r}, expected one rate; take out the '
        'one that is wrong.'
      )
  return float(fps)


def _arrays(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """{name: array} of the .npy files and of episode.npz; large ones stay on disk."""
  arrays: dict[str, np.ndarray] = {}
  for path in sorted(folder.glob('*.np[yz]')):
    try:
      loaded = np.load(path, mmap_mode='r' if path.suffix == '.npy' else None)
      found = {path.stem: loaded} if path.suffix == '.npy' else dict(loaded)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
      raise ValueError(f'{path}: found no arrays that can be read: {error}.') from error
    for name in found.keys() & arrays.keys():
      raise ValueError(f'{folder}: {name}: found both {name}.npy and {name} in {_NPZ}; remove one.')
    arrays |= found
  return arrays


def _check_known(where: pathlib.Path, found: Iterable[str], known: Iterable[str]) -> None:
  for name in sorted(set(found) - set(known)):
    raise ValueError(f'{where}: found {name!r}, expected only {", ".join(sorted(known))}.')


def _images(folder: pathlib.Path) -> list[bytes]:
  """The image files of a camera in the order of their numbers."""
  if not folder.is_dir():
    raise ValueError(f'{folder}: there are no such images, expected a folder or {folder.name}.npy.')
  paths: dict[int, pathlib.Path] = {}
  for path in folder.iterdir():
    if path.suffix.lower() in plain_look.IMAGE_SUFFIXES:
      if not path.stem.isdecimal():
        raise ValueError(f'{path}: found the name {path.stem!r}, expected a number as in 000000.')
      if int(path.stem) in paths:
        raise ValueError(f'{path}: found {paths[int(path.stem)].name} too; remove one.')
      paths[int(path.stem)] = path
  numbers = sorted(paths)
  for before, number in itertools.pairwise(numbers):
    if number != before + 1:
      raise ValueError(f'{folder}: found {paths[number].name} after {paths[before].name}.')
  return [paths[number].read_bytes() for number in numbers]


def _source(
  folder: pathlib.Path,
  told: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  default: types.Source,
) -> np.ndarray | types.Source:
  """Of every step, else of the episode."""
  if 'source' in arrays:
    sources = _enumerated(arrays['source'], f'{folder}: source', rlds.SOURCE_TEXT)
    if 'source' in told and set(arrays['source'].tolist()) != {told['source']}:
      raise ValueError(
        f'{folder}: source: found {told["source"]!r} in {_JSON} and another at some steps, '
        'expected one of the two; remove the other.'
      )
    return sources
  if 'source' in told:
    return _value(told['source'], f'{folder / _JSON}: source', rlds.SOURCE_TEXT)
  return default


def _end_reason(
  folder: pathlib.Path,
  told: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  default: types.EndReason,
) -> np.ndarray | types.EndReason:
  """Of every step, else of the last one, as nothing else tells it otherwise."""
  found = _ends(folder, told, arrays, default)
  last = found if isinstance(found, types.EndReason) else found[-1:]
  end = types.EndReason(int(np.ravel(last)[0])) if np.size(last) else default
  if told.get('end_reason', end.name.lower()) != end.name.lower():
    raise ValueError(
      f'{folder}: end_reason: found {end.name.lower()!r} at the last step and '
      f'{told["end_reason"]!r} in {_JSON}, expected the same; take out the one that is wrong.'
    )
  others = {'success': told.get('success')}
  others |= {f'metadata {name}': told.get('metadata', {}).get(name) for name in _OUTCOMES}
  for name, value in others.items():
    word = field_names.OUTCOMES.get(value.lower()) if isinstance(value, str) else value
    if word in (0, 1) and bool(word) != (end == types.EndReason.SUCCESS):
      raise ValueError(
        f'{folder / _JSON}: found {name} {value!r}, but the episode ends by {end.name.lower()}, as '
        'told elsewhere or by --end-reason; take out the one that is wrong, or write success or '
        'end_reason there.'
      )
  return found


def _ends(
  folder: pathlib.Path,
  told: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  default: types.EndReason,
) -> np.ndarray | types.EndReason:
  if 'end_reason' in arrays:
    end_reason = _enumerated(arrays['end_reason'], f'{folder}: end_reason', rlds.END_REASON_TEXT)
    if not end_reason[-1:].all():
      raise ValueError(
        f"{folder}: end_reason: found '' at the last step, expected why the episode ended; cut "
        'if only the recording did.'
      )
    return end_reason
  if 'end_reason' in told and 'success' in told:
    raise ValueError(f'{folder / _JSON}: found both end_reason and success, expected one of them.')
  if 'success' in told:
    return types.EndReason.SUCCESS if told['success'] else types.EndReason.FAILURE
  if 'end_reason' in told:
    ends = {text: reason for text, reason in rlds.END_REASON_TEXT.items() if reason}
    return _value(told['end_reason'], f'{folder / _JSON}: end_reason', ends)
  return default


def _enumerated(texts: np.ndarray, what: str, values: Mapping[str, int]) -> np.ndarray:
  """[T] int8 from [T] text."""
  if texts.ndim != 1 or texts.dtype.kind != 'U':
    raise ValueError(f'{what}: found {texts.dtype} {list(texts.shape)}, expected text [T].')
  numbers = [_value(text, f'{what}, step {t}', values) for t, text in enumerate(texts.tolist())]
  return np.array(numbers, np.int8)


def _value(text: str, what: str, values: Mapping[str, Any]) -> Any:
  if text not in values:
    raise ValueError(f'{what}: found {text!r}, expected one of {list(values)}.')
  return values[text]


IMPORTER = importer.Importer(
  'plain folders',
  Folder,
  instead={'intervention': 'source.npy', 'success': 'success in episode.json'},
)
