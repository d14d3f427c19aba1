"""Episodes on the robot's disk.

    DIR/000012/           a finished episode: it appears whole, under the next number
      episode.json        prompt, end, rates, cameras, what is wrong with it; `checkpoints` that
                          acted, and the last of them as `checkpoint` and `checkpoint_step`
      steps.records       a record of MessagePack for each step, chunk and event, as they happened,
                          and for the end
      head.images         a record for each image: {step, data}; a JPEG or PNG, or no bytes where
                          the picture is the one before
      steps_before_cut.records   steps that had no pictures yet when the program died, or that
                          follow a damaged one, with the rest
    DIR/open-…/           one that is being recorded, or was when the program died: header.json, and
                          the records up to then; .sound is there unless something was lost
    DIR/discarded/…       episodes that a person took back
    DIR/.lock             held by the program that records

Times are seconds since 1970. A step holds `state`, `requested` and `executed` actions in the units
of the policy, `who` acted, whether the robot `held`, its `plan` and the `index` in it, `prompt`,
`time`, and `dt`, the seconds that it lasted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from aloe_client import records
from aloe_client import wire

STEPS, HEADER, SUMMARY, IMAGES, OPEN = (
  'steps.records',
  'header.json',
  'episode.json',
  '.images',
  'open-',
)
SOUND = '.sound'  # there while nothing of an open episode is lost: a full disk can remove a file
_BEYOND = 'steps_before_cut.records'
_UNSOUND = 'something of it was not written, as was told then'
ENDS = ('success', 'failure', 'timeout', 'cut')
TAKEN_BACK = 'taken back'  # said in place of an end, and a flag
_LOCK = '.lock'
_OF_CHECKPOINT = {'checkpoint': 'checkpoint', 'checkpoint_step': 'step'}  # by key of a summary
FORMAT = 1


class LockedError(RuntimeError):
  """Another program records in the directory."""


@dataclasses.dataclass(frozen=True)
class Episode:
  """What lies in the directory of an episode.

  Attributes:
    path: of the directory.
    summary: of episode.json; where it was never finished, of header.json, and the end is `cut`,
      or what a person had said of all of it.
    steps: one map each, of as many as have all their images where it was never finished.
    plans: {number: map} of the chunks.
  """

  path: pathlib.Path
  summary: dict[str, Any]
  steps: list[dict[str, Any]]
  plans: dict[int, dict[str, Any]]

  def images(self, camera: str) -> list[bytes]:
    """The pictures of all steps, as they are stored.

    Raises:
      ValueError: naming the step whose picture is missing.
    """
    found = _images(self.path / f'{camera}{IMAGES}')
    for step in range(len(self.steps)):
      if step not in found:
        raise ValueError(
          f'{self.path}, step {step}: the picture of {camera!r} is missing; found {len(found)} for '
          f'{len(self.steps)} steps.'
        )
    return [found[step] for step in range(len(self.steps))]

  def column(self, name: str) -> np.ndarray:
    """[T, ...] of what every step holds under a name."""
    return np.array([step[name] for step in self.steps])


def read(path: pathlib.Path) -> Episode:
  """An episode, finished or not.

  Raises:
    OSError: a file cannot be read.
    ValueError: naming the file that is damaged.
  """
  finished = (path / SUMMARY).is_file()
  summary = _json(path / (SUMMARY if finished else HEADER))
  found, whole = records.read(path / STEPS) if (path / STEPS).is_file() else ([], False)
  if finished and not whole:
    raise ValueError(f'{path / STEPS}: record {len(found)} is damaged; copy it again.')
  steps, plans, said = [], {}, 'cut'
  for content in found:
    record = wire.unpack(content)
    if record['type'] == 'step':
      steps.append(record)
    elif record['type'] == 'plan':
      plans[record['number']] = record
    elif record['type'] == 'end':
      said = record['reason']
  if finished:
    if len(steps) != summary['steps']:
      raise ValueError(f'{path}: found {len(steps)} steps, expected {summary["steps"]}.')
    return Episode(path, summary, steps, plans)
  pictures = _pictures(path, summary)
  last = min((max(there, default=-1) for there in pictures.values()), default=len(steps))
  left = steps[: last + 1]
  return _unfinished(
    path, summary, left, plans, pictures, end=said if len(left) == len(steps) else 'cut'
  )


def _pictures(path: pathlib.Path, header: Mapping[str, Any]) -> dict[str, Mapping[int, bytes]]:
  """{camera: {step: image}} of an episode that was never finished."""
  files = {camera: path / f'{camera}{IMAGES}' for camera in header['cameras']}
  return {camera: _images(file) if file.is_file() else {} for camera, file in files.items()}


def _unfinished(
  path: pathlib.Path,
  header: Mapping[str, Any],
  steps: list[dict[str, Any]],
  plans: dict[int, dict[str, Any]],
  pictures: Mapping[str, Mapping[int, bytes]],
  *,
  end: str = 'cut',
) -> Episode:
  """What was never finished, of some steps; a cut, unless a person had said how it ended."""
  missing = {c: sum(s not in there for s in range(len(steps))) for c, there in pictures.items()}
  problems = () if (path / SOUND).is_file() else (_UNSOUND,)
  if end == TAKEN_BACK:
    problems = (*problems, TAKEN_BACK)
  if end not in ENDS or _UNSOUND in problems:
    end = 'cut'
  return Episode(path, summarised(header, steps, end, missing, problems, plans), steps, plans)


def summarised(
  header: Mapping[str, Any],
  steps: list[dict[str, Any]],
  end: str,
  lost: Mapping[str, int],
  problems: tuple[str, ...] = (),
  plans: Mapping[int, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
  """What episode.json says of an episode.

  Args:
    header: as it began.
    steps: of it; `dt` and `who` are read.
    end: one of `ENDS`.
    lost: images that are missing, by camera.
    problems: what else is wrong with it; then it is not to be trained on.
    plans: {number: map} of its chunks.
  """
  flags = [f'{count} images of {camera} are missing' for camera, count in lost.items() if count]
  flags += problems
  seconds = [step['dt'] for step in steps if step['dt'] is not None]
  acted = checkpoints(steps, plans or {})
  return {
    **header,
    **{key: acted[-1][name] if acted else None for key, name in _OF_CHECKPOINT.items()},
    'checkpoints': acted,
    'end_reason': end,
    'steps': len(steps),
    'steps_of_human': sum(step['who'] == 'human' for step in steps),
    'steps_held': sum(step['held'] for step in steps),
    'steps_changed': sum(
      not np.array_equal(step['requested'], step['executed'])
      for step in steps
      if step['requested'] is not None
    ),
    'real_hz': round(1 / float(np.median(seconds)), 3) if seconds and min(seconds) > 0 else None,
    'lost_images': dict(lost),
    'flags': flags,
    'exportable': not flags,
  }


def checkpoints(
  steps: list[dict[str, Any]], plans: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
  """{checkpoint, step, steps} of all that acted: path, updates, and how many steps it acted in.

  In order, the one that acted last is the last. Steps of a person, and those in which the robot
  held, are of none.
  """
  found: dict[tuple[Any, Any], int] = {}
  for step in steps:
    plan = plans.get(step['plan'])
    if plan is not None and step['who'] == 'policy' and not step['held']:
      key = plan.get('checkpoint'), plan.get('checkpoint_step')
      found[key] = found.pop(key, 0) + 1
  return [{'checkpoint': key[0], 'step': key[1], 'steps': n} for key, n in found.items()]


def finished(root: pathlib.Path) -> list[pathlib.Path]:
  """Directories of finished episodes, in order."""
  found = [path for path in root.iterdir() if path.name.isdecimal() and path.is_dir()]
  return sorted(found, key=lambda path: int(path.name))


def unfinished(root: pathlib.Path) -> list[pathlib.Path]:
  """Directories of episodes that are being recorded, or were, in order."""
  return sorted(path for path in root.glob(f'{OPEN}*') if path.is_dir())


def close(path: pathlib.Path, summary: Mapping[str, Any]) -> pathlib.Path:
  """Finishes an episode: it gets the next number, and is whole on the disk from then on.

  Raises:
    OSError: there is no room.
  """
  root = path.parent
  numbers = [int(other.name) for other in finished(root)]
  place = root / f'{max(numbers, default=-1) + 1:06d}'
  write_json(path / SUMMARY, {**summary, 'number': int(place.name)})
  (path / SOUND).unlink(missing_ok=True)
  _sync(path)
  path.rename(place)
  _sync(root)
  return place


def discard(path: pathlib.Path) -> None:
  """Puts an episode aside, where nothing reads it."""
  place = path.parent / 'discarded'
  place.mkdir(exist_ok=True)
  numbers = [entry.name.partition('-')[0] for entry in place.iterdir()]
  number = max((int(name) for name in numbers if name.isdecimal()), default=-1) + 1
  path.rename(place / f'{number:06d}-was-{path.name}')
  _sync(path.parent)


def recover(root: pathlib.Path) -> list[str]:
  """Finishes what a program left open when it died; only under the lock.

  Returns:
    A sentence for each: where it is now. One without any step or picture is removed, and one that
    cannot be read is put aside. Steps after the last picture are cut off and kept in a file beside,
    and so is what follows a damaged step. Where a camera gave no picture at all, every step stays
    and the episode is not to be trained on.
  """
  found = []
  for path in unfinished(root):
    try:
      episode = read(path) if (path / HEADER).is_file() else None
      content, whole = records.read(path / STEPS) if (path / STEPS).is_file() else ([], True)
      steps = [record for record in map(wire.unpack, content) if record['type'] == 'step']
      if episode is not None and steps and not episode.steps:
        header = _json(path / HEADER)
        episode = _unfinished(path, header, steps, episode.plans, _pictures(path, header))
    except (KeyError, TypeError, ValueError) as error:
      discard(path)
      found.append(f'{path} was open when the program ended and is in discarded/: {error}')
      continue
    damaged = (path / STEPS).is_file() and records.is_damaged(path / STEPS)
    pictured = any(file.stat().st_size for file in path.glob(f'*{IMAGES}'))
    if not steps and not damaged and not pictured:
      shutil.rmtree(path)
      continue
    if not steps:
      discard(path)
      found.append(
        f'{path} was open when the program ended and is in discarded/: found no whole step in '
        f'{STEPS}{", which is damaged" if damaged else ""}.'
      )
      continue
    if episode is None:
      discard(path)
      found.append(
        f'{path} was open when the program ended and is in discarded/: found no {HEADER}.'
      )
      continue
    if TAKEN_BACK in episode.summary['flags']:
      discard(path)
      continue
    left = len(steps) - len(episode.steps)
    if left or not whole:
      _shorten(path, content, len(episode.steps), keep=left > 0 or damaged)
    place = close(path, {**episode.summary, 'recovered': True})
    flags = [*episode.summary['flags'], *([f'{left} more are in {_BEYOND}'] if left else [])]
    flags += [f'record {len(content)} of {STEPS} was damaged, see {_BEYOND}'] * damaged
    found.append(
      f'{place} was open when the program ended: {len(episode.steps)} steps, '
      f'{episode.summary["end_reason"]}'
      f'{"; " if flags else ""}{"; ".join(flags)}.'
    )
  return found


def _shorten(path: pathlib.Path, content: list[bytes], count: int, *, keep: bool) -> None:
  """Leaves some steps, and nothing of what was being written; `keep` keeps the file as it was."""
  temporary = path / f'{STEPS}.whole'
  temporary.unlink(missing_ok=True)
  writer = records.Writer(temporary)
  for record in content:
    if wire.unpack(record).get('step', -1) < count:
      writer.add(record)
  writer.close()
  if keep:
    (path / STEPS).replace(path / _BEYOND)
  temporary.replace(path / STEPS)


@contextlib.contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
  """Holds a directory; it is free again when the program ends, however it ends.

  Raises:
    LockedError: another program holds it.
  """
  with (root / _LOCK).open('a') as file:
    if not _hold(file):
      raise LockedError(
        f'{root}: another program records there; end it, or name another directory.'
      )
    yield


def is_held(root: pathlib.Path) -> bool:
  """Whether a program on this machine records in a directory now."""
  path = root / _LOCK
  if not path.is_file():
    return False
  try:
    with path.open('r') as file:
      return not _hold(file)
  except OSError:
    return False


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a file that appears whole or not at all."""
  temporary = path.with_name(f'.{path.name}')
  with temporary.open('w', encoding='utf-8') as file:
    json.dump(value, file, ensure_ascii=False, indent=1)
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)


def _images(path: pathlib.Path) -> dict[int, bytes]:
  """{step: picture}, up to the first record that is not whole."""
  found: dict[int, bytes] = {}
  before = b''
  for content in records.read(path)[0]:
    record = wire.unpack(content)
    before = record['data'] or before
    found[record['step']] = before
  return found


def _json(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
  except RecursionError:
    raise ValueError(f'{path.parent}: found JSON nested too deep; copy it again.') from None
  except ValueError as error:
    raise ValueError(f'{path}: found no whole JSON ({error}); copy it again.') from None
  if not isinstance(found, dict) or found.get('format') != FORMAT:
    raise ValueError(f'{path}: found no episode of format {FORMAT}; copy it again.')
  return found


def _hold(file: Any) -> bool:
  try:
    import fcntl
  except ImportError:  # Windows has none: there nothing keeps two programs apart
    return True
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True


def _sync(directory: pathlib.Path) -> None:
  opened = os.open(directory, os.O_RDONLY)
  try:
    os.fsync(opened)
  finally:
    os.close(opened)
