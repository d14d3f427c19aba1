"""What `meta/` says of a LeRobot dataset of version 2.0, 2.1 or 3.0, and its parquet files."""

from collections.abc import Collection, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import itertools
import math
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from aloe_jax import files
from aloe_jax.data.importers import lerobot_fields
from aloe_jax.data.importers import video

_COPY = 'copy the whole dataset again.'
_VERSIONS = ('v2.0', 'v2.1', 'v3.0')
_PLACES = ('chunk_index', 'file_index', 'from_timestamp')


@dataclasses.dataclass(frozen=True)
class Recording:
  """Where an episode lies.

  Attributes:
    length: in steps.
    videos: {feature: where its pictures lie}.
    problems: {feature: why it is not known where its pictures lie}.
  """

  length: int
  videos: dict[str, video.Clip]
  problems: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Meta:
  """What is known before a row is read.

  Attributes:
    path: of `info.json`.
    features: {name: its dtype and shape, among others}.
    fps: steps and frames per second.
    tasks: {task_index: text}.
    recordings: {episode_index: where it lies}.
  """

  path: pathlib.Path
  features: Mapping[str, Mapping[str, Any]]
  fps: float
  tasks: dict[int, str]
  recordings: dict[int, Recording]


def read(directory: pathlib.Path) -> Meta:
  """Reads all but the statistics.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: naming the file and what is wrong in it.
  """
  path = directory / 'meta/info.json'
  if not path.is_file():
    raise FileNotFoundError(f'{path}: the file is missing; expected a LeRobot dataset.')
  info = files.read_json(path, _COPY)
  if not isinstance(info, dict):
    raise ValueError(f'{path}: found {type(info).__name__}, expected an object; {_COPY}')
  _check_fields(path, info, ['codebase_version', 'features', 'fps'])
  fps = info['fps']
  if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps < math.inf:
    raise ValueError(
      f'{path}: fps: found {fps!r}, expected the steps per second, more than 0; write the rate of '
      'the recording there.'
    )
  if info['codebase_version'] not in _VERSIONS:
    raise ValueError(
      f'{path}: codebase_version: found {info["codebase_version"]!r}, expected one of '
      f'{", ".join(_VERSIONS)}; convert it with the scripts of LeRobot.'
    )
  features = lerobot_fields.features(info['features'], path)
  videos = [name for name, feature in features.items() if feature['dtype'] == 'video']
  if videos:
    _check_fields(path, info, ['video_path'])
    lerobot_fields.text(info['video_path'], f'{path}: video_path')
  if info['codebase_version'].startswith('v3'):
    tasks = _tasks_v3(directory)
    recordings = _recordings_v3(directory, videos, info)
  else:
    _check_fields(path, info, ['chunks_size'])
    tasks = {}
    for where, line in _lines(directory / 'meta/tasks.jsonl', ['task_index', 'task']):
      _add_task(tasks, line['task_index'], line['task'], where)
    recordings = _recordings_v2(directory, videos, info)
  return Meta(path, features, float(fps), tasks, recordings)


def clips(
  recordings: Mapping[int, Recording], features: Collection[str]
) -> dict[pathlib.Path, list[video.Clip]]:
  """The clips of every file with videos of these features."""
  found: dict[pathlib.Path, list[video.Clip]] = {}
  for recording in recordings.values():
    for feature in recording.videos.keys() & set(features):
      clip = recording.videos[feature]
      found.setdefault(clip.path, []).append(clip)
  return found


def _recordings_v2(
  directory: pathlib.Path, videos: list[str], info: Mapping[str, Any]
) -> dict[int, Recording]:
  """One video an episode and camera."""
  info_path = directory / 'meta/info.json'
  chunk = lerobot_fields.integer(info['chunks_size'], f'{info_path}: chunks_size', at_least=1)
  if videos and '{episode_index' not in info['video_path']:
    raise ValueError(
      f'{info_path}: video_path: found {info["video_path"]!r}, expected a gap {{episode_index}}, '
      'as every episode has a video of its own.'
    )
  recordings: dict[int, Recording] = {}
  for where, line in _lines(directory / 'meta/episodes.jsonl', ['episode_index', 'length']):
    number = lerobot_fields.integer(line['episode_index'], f'{where}: episode_index')
    found = {}
    for feature in videos:
      name = lerobot_fields.filled(
        info['video_path'],
        f'{info_path}: video_path',
        video_key=feature,
        episode_index=number,
        episode_chunk=number // chunk,
      )
      found[feature] = video.Clip(directory / name)
    length = lerobot_fields.integer(line['length'], f'{where}: length')
    _add_recording(recordings, number, Recording(length, found), where)
  return recordings


def _recordings_v3(
  directory: pathlib.Path, videos: list[str], info: Mapping[str, Any]
) -> dict[int, Recording]:
  """Several episodes a video, one after the other."""
  columns = ['episode_index', 'length']
  columns += [f'videos/{feature}/{place}' for feature in videos for place in _PLACES]
  also = [f'videos/{feature}/to_timestamp' for feature in videos]
  recordings: dict[int, Recording] = {}
  for path in parquet_files(directory / 'meta/episodes'):
    count = 0
    for batch in batches(path, columns, also=also):
      for row in batch.to_pylist():
        where, count = f'{path}, row {count}', count + 1
        number = lerobot_fields.integer(row['episode_index'], f'{where}: episode_index')
        length = lerobot_fields.integer(row['length'], f'{where}: length')
        found, problems = {}, {}
        for feature in videos:
          try:
            found[feature] = _clip(directory, info, row, feature, where)
          except ValueError as error:  # of this episode alone
            problems[feature] = str(error)
        _add_recording(recordings, number, Recording(length, found, problems), where)
  for feature in videos:
    _part_clips(recordings, feature, 0.5 / info['fps'])
  return recordings


def _clip(
  directory: pathlib.Path,
  info: Mapping[str, Any],
  row: Mapping[str, Any],
  feature: str,
  where: str,
) -> video.Clip:
  """Where a row of `meta/episodes` says that the pictures of a feature lie."""
  what = f'{where}: videos/{feature}'
  chunk, file, start = (row[f'videos/{feature}/{place}'] for place in _PLACES)
  name = lerobot_fields.filled(
    info['video_path'],
    f'{directory}/meta/info.json: video_path',
    video_key=feature,
    chunk_index=lerobot_fields.integer(chunk, f'{what}/chunk_index'),
    file_index=lerobot_fields.integer(file, f'{what}/file_index'),
  )
  start = lerobot_fields.seconds(start, f'{what}/from_timestamp')
  stop = row.get(f'videos/{feature}/to_timestamp')
  if stop is not None and lerobot_fields.seconds(stop, f'{what}/to_timestamp') <= start:
    raise ValueError(f'{what}/to_timestamp: found {stop}, expected more than {start}; {_COPY}')
  return video.Clip(directory / name, start, stop)


def _add_recording(
  recordings: dict[int, Recording], number: int, recording: Recording, where: str
) -> None:
  if number in recordings:
    raise ValueError(f'{where}: episode_index: found {number} twice, expected it once; {_COPY}')
  recordings[number] = recording


def _part_clips(recordings: dict[int, Recording], feature: str, half: float) -> None:
  """Ends clips where the next of the same file begins, and notes those that overlap.

  Args:
    recordings: changed in place.
    feature: whose clips they are.
    half: of a frame, in seconds.
  """
  files: dict[pathlib.Path, list[int]] = {}
  for number, recording in recordings.items():
    if feature in recording.videos:
      files.setdefault(recording.videos[feature].path, []).append(number)
  for path, numbers in files.items():
    numbers.sort(key=lambda number: recordings[number].videos[feature].start)
    for number, following in itertools.pairwise(numbers):
      recording, start = recordings[number], recordings[following].videos[feature].start
      clip = recording.videos[feature]
      if start < (clip.start if clip.stop is None else clip.stop - 2 * half) + half:
        problem = (
          f'{feature}: found it to begin at {start:.4f} s of {path}, within episode {number}, '
          f'which begins at {clip.start:.4f} s: from_timestamp is wrong.'
        )
        problems = recordings[following].problems | {feature: problem}
        recordings[following] = dataclasses.replace(recordings[following], problems=problems)
      elif clip.stop is None:
        clips = recording.videos | {feature: dataclasses.replace(clip, stop=start)}
        recordings[number] = dataclasses.replace(recording, videos=clips)


def _tasks_v3(directory: pathlib.Path) -> dict[int, str]:
  """The texts are the index of a table, which goes by several names in files."""
  path = directory / 'meta/tasks.parquet'
  tasks: dict[int, str] = {}
  count = 0
  for batch in batches(path, ['task_index'], also=('task', '__index_level_0__')):
    if batch.num_columns < 2:
      raise ValueError(f'{path}: column task is missing; found only task_index.')
    for number, text in zip(*(column.to_pylist() for column in batch.columns[:2]), strict=True):
      _add_task(tasks, number, text, f'{path}, row {count}')
      count += 1
  return tasks


def _add_task(tasks: dict[int, str], number: Any, text: Any, where: str) -> None:
  """Adds the text of a task; a second one of the same number would change what rows say."""
  number = lerobot_fields.integer(number, f'{where}: task_index')
  if text is None:
    return  # rows of it are refused, unless a prompt is given
  text = lerobot_fields.text(text, f'{where}: task')
  if tasks.setdefault(number, text) != text:
    raise ValueError(
      f'{where}: task_index {number}: found two texts, {tasks[number]!r} and {text!r}, expected '
      'one: which of them its rows mean is not told; take the wrong one out.'
    )


# Files


def parquet_files(directory: pathlib.Path) -> list[pathlib.Path]:
  """The files of all chunks, in order."""
  paths = sorted(directory.glob('*/*.parquet'))
  if not paths:
    raise FileNotFoundError(f'{directory}: found no parquet files; copy the whole dataset again.')
  return paths


def column_names(path: pathlib.Path) -> list[str]:
  """The columns of a file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is corrupt.
  """
  with _corrupt_is_named(path):
    return pq.read_schema(path).names


def batches(
  path: pathlib.Path, columns: Sequence[str], *, also: Sequence[str] = (), rows: int = 4096
) -> Iterator[pa.RecordBatch]:
  """Yields rows of a file.

  Args:
    path: of the file.
    columns: that it must have.
    also: columns that are read where it has them, after the others.
    rows: at most so many at a time.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is corrupt or lacks a column.
  """
  with _corrupt_is_named(path):
    file = pq.ParquetFile(path)
  names = file.schema_arrow.names
  _check_fields(path, names, columns)
  wanted = [*columns, *(name for name in also if name in names)]
  iterator = file.iter_batches(rows, columns=wanted)
  while True:
    with _corrupt_is_named(path):
      batch = next(iterator, None)
    if batch is None:
      return
    yield batch.select(wanted)


@contextlib.contextmanager
def _corrupt_is_named(path: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'{path}: the file is missing; copy the whole dataset again.'
    ) from error
  except (pa.ArrowException, OSError) as error:
    raise ValueError(f'{path}: the file is corrupt ({error}); copy it again.') from error


def _lines(path: pathlib.Path, fields: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """Yields the file and line, for messages, and the object of every line."""
  if not path.is_file():
    raise FileNotFoundError(f'{path}: the file is missing; copy the whole dataset again.')
  objects = files.read_json_lines(path, _COPY)
  lines = path.read_text(encoding='utf-8').splitlines()
  numbers = [number for number, line in enumerate(lines, start=1) if line.strip()]
  for number, found in zip(numbers, objects, strict=True):
    _check_fields(f'{path}, line {number}', found, fields)
    yield f'{path}, line {number}', found


def _check_fields(
  path: pathlib.Path | str, found: Collection[str], expected: Sequence[str]
) -> None:
  for name in expected:
    if name not in found:
      raise ValueError(f'{path}: {name} is missing; found {", ".join(sorted(found))}.')
