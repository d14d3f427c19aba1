"""LeRobot datasets of the versions 2.0, 2.1 and 3.0.

    meta/info.json                      version, features, frames a second, places of videos
    meta/episodes.jsonl, tasks.jsonl    in version 3 episodes/*/*.parquet and tasks.parquet
    data/*/*.parquet                    the steps, with images where there is no video
    videos/...                          in version 3 several episodes a file

Rows are found by their `episode_index`, in whichever data file they lie, and pictures by the time
of their row; where rows are missing in the middle, the episode is cut. `lerobot_flags` says what
the rows tell of who acts and of the end; `lerobot_cameras` finds the cameras.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
import contextlib
import itertools
import os
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa

from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import fragments
from aloe_jax.data import image_codec
from aloe_jax.data import rlds
from aloe_jax.data.importers import importer
from aloe_jax.data.importers import lerobot_cameras
from aloe_jax.data.importers import lerobot_fields
from aloe_jax.data.importers import lerobot_flags
from aloe_jax.data.importers import lerobot_meta
from aloe_jax.data.importers import lerobot_rows
from aloe_jax.data.importers import lerobot_widths
from aloe_jax.data.importers import settings as settings_lib
from aloe_jax.data.importers import video

_ROWS = 256  # decoded at a time: images in columns take much memory
_STATE = field_names.LEROBOT_STATE
_ACTION = field_names.LEROBOT_ACTION


class Dataset:
  """The episodes of a LeRobot dataset, read one at a time.

  Attributes:
    left_out: features with images that are not imported.
    notes: of every feature with images, which camera it is, or why it is none; and the flags.
  """

  def __init__(self, directory: pathlib.Path, settings: settings_lib.Settings):
    """Reads what there is.

    Raises:
      FileNotFoundError: if a file of `meta/` is missing.
      ValueError: naming the file and what is wrong in it.
    """
    self._directory = directory
    self._settings = settings
    self._meta = lerobot_meta.read(directory)
    self._state = self._numbers('state', settings.state, _STATE)
    self._action = self._numbers('action', settings.action, _ACTION)
    self._files = lerobot_meta.parquet_files(directory / 'data')
    self._widths = lerobot_widths.Widths(self._meta, self._files)
    self._flags = lerobot_flags.Flags(self._columns(), settings, self._meta.path, self._files)
    assigned = lerobot_cameras.assign(self._meta.features, settings.cameras, self._meta.path)
    self._cameras = {camera: name for camera, name in assigned.roles.items() if name}
    self.left_out = list(assigned.left_out)
    self.notes = [f'images: {line}' for line in assigned.lines()] + self._flags.notes
    self._broken: list[str] = []  # what is wrong with files of rows
    # Taken out once their frames that belong to no episode are counted.
    self._clips = lerobot_meta.clips(self._meta.recordings, self._cameras.values())
    settings.log.steps = sum(recording.length for recording in self._meta.recordings.values())

  def __len__(self) -> int:
    return len(self._meta.recordings)

  def __iter__(self) -> Iterator[rlds.Episode]:
    """Yields the episodes in the order they have in the data files.

    Raises:
      FileNotFoundError: if a file is missing.
      ValueError: naming the file, the episode and the field that is wrong.
    """
    log = self._settings.log
    missing = dict(self._meta.recordings)
    for number, path, rows in self._runs():
      episode = None
      with log.reading():
        episode = self._episode(number, missing, rows, f'{path}, episode {number}')
      del rows
      if episode is not None:
        yield episode
      del episode
    for number in sorted(missing):
      log.skip(
        ValueError(
          f'{self._directory}/data: found no rows of episode {number}, which meta/ holds; '
          + (
            f'found broken files: {"; ".join(self._broken)}'
            if self._broken
            else 'copy the whole dataset again.'
          )
        )
      )

  # Features

  def _numbers(
    self, what: str, wanted: str | None, names: Sequence[str]
  ) -> list[field_path.FieldPath]:
    """The features, or parts of them, that make the state or the action."""
    if wanted is None:
      found = [field_path.FieldPath(name) for name in names if name in self._meta.features][:1]
    else:
      found = settings_lib.parts(wanted, f'--{what}')
    for part in found:
      if part.name not in self._meta.features:
        found = []
    if not found:
      raise ValueError(
        f'{self._meta.path}: features: found {", ".join(sorted(self._meta.features))}, expected '
        f'{wanted or " or ".join(names)}; choose one by --{what}.'
      )
    return found

  def _columns(self) -> dict[str, Mapping[str, Any]]:
    """The columns that any file has: writers do not describe all, nor write all."""
    names: set[str] = set()
    for path in self._files:
      with contextlib.suppress(OSError, ValueError):  # of a broken file, as its rows are read
        names |= set(lerobot_meta.column_names(path))
    features = self._meta.features
    return {name: features.get(name, {}) for name in names or features}

  # Rows

  def _runs(self) -> Iterator[tuple[int, pathlib.Path, pa.Table]]:
    """Yields number, first file and rows of one episode after the other."""
    columns = ['episode_index', 'task_index']
    columns += [part.name for part in (*self._state, *self._action)]
    columns += [
      name for name in self._cameras.values() if self._meta.features[name]['dtype'] == 'image'
    ]
    columns = list(dict.fromkeys(columns))
    also = (*self._flags.columns, lerobot_rows.FRAME, lerobot_rows.TIME)
    held: list[pa.RecordBatch] = []
    number, first = -1, self._directory
    for path in self._files:
      for batch in self._batches(path, columns, also):
        index = np.asarray(batch.column('episode_index'))
        cuts = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
        for start, stop in itertools.pairwise(cuts):
          if held and index[start] != number:
            yield number, first, _table(held)
            held = []
          if not held:
            number, first = int(index[start]), path
          held.append(batch.slice(start, stop - start))
    if held:
      yield number, first, _table(held)

  def _batches(
    self, path: pathlib.Path, columns: Sequence[str], also: Sequence[str]
  ) -> Iterator[pa.RecordBatch]:
    """Yields rows of a file, as far as it can be read where what is wrong is left out."""
    also = [name for name in also if name not in columns]
    try:
      count = 0
      for batch in lerobot_meta.batches(path, columns, also=also, rows=_ROWS):
        numbers = lerobot_fields.integers(batch, 'episode_index', path, count)
        yield batch.set_column(
          batch.schema.get_field_index('episode_index'), 'episode_index', pa.array(numbers)
        )
        count += len(batch)
    except (OSError, ValueError) as error:
      if self._settings.log.on_error == 'raise':
        raise
      self._broken.append(str(error))

  def _episode(
    self, number: int, missing: dict[int, lerobot_meta.Recording], rows: pa.Table, where: str
  ) -> rlds.Episode:
    """The episode of these rows, which is then no longer among the missing ones."""
    if number not in missing:
      raise ValueError(f'{where}: found rows of an episode that meta/ does not hold, or again.')
    recording = missing.pop(number)
    if len(rows) != recording.length:
      raise ValueError(f'{where}: found {len(rows)} rows, expected {recording.length} as in meta/.')
    for feature in self._cameras.values():
      if feature in recording.problems:
        raise ValueError(f'{where}: {recording.problems[feature]}')
    filmed = any(feature in recording.videos for feature in self._cameras.values())
    rows, timeline = lerobot_rows.in_order(rows, self._meta.fps, where, check_agreement=filmed)
    end_reason, kept = self._flags.end(rows, where)
    episode = settings_lib.make_episode(
      where,
      state=_joined(rows, self._state, where, self._widths),
      action=_joined(rows, self._action, where, self._widths),
      images=self._images(number, recording, rows, timeline, where),
      source=self._flags.source(rows, where),
      end_reason=end_reason,
      prompt=self._prompt(rows, where),
      metadata={
        'file_path': f'{self._directory.name}/episode_{number:06d}',
        'fps': self._meta.fps,
      }
      | kept,
      holes=timeline.holes,
    )
    unknown = fragments.takeovers(episode.source)[timeline.holes].sum()
    self._settings.log.cut(str(number), len(timeline.holes), int(unknown))
    return episode

  def _images(
    self,
    number: int,
    recording: lerobot_meta.Recording,
    rows: pa.Table,
    timeline: lerobot_rows.Timeline,
    where: str,
  ) -> dict[str, image_codec.Frames]:
    """{camera: its frames}; the videos of all cameras are decoded at the same time."""
    images: dict[str, image_codec.Frames] = {}
    films = {}
    threads = max((os.cpu_count() or 1) // max(len(self._cameras), 1), 1)
    with futures.ThreadPoolExecutor(max(len(self._cameras), 1)) as pool:
      for camera, feature in self._cameras.items():
        if feature in recording.videos:
          films[camera] = pool.submit(
            video.read,
            recording.videos[feature],
            timeline.times,
            fps=self._meta.fps,
            where=where,
            threads=threads,
          )
        else:
          images[camera] = _embedded(rows, feature, where)
    for camera, film in films.items():
      found = film.result()
      path = recording.videos[self._cameras[camera]].path
      if clips := self._clips.pop(path, []):
        self._settings.log.unowned(str(path), video.unowned(path, clips, fps=self._meta.fps))
      if found.surplus and not timeline.is_told:
        raise ValueError(
          f'{where}: {path}: found {found.surplus} frames '
          f'more than steps, and neither {lerobot_rows.TIME} nor {lerobot_rows.FRAME} that tell '
          'which belongs to which.'
        )
      if found.surplus:
        self._settings.log.surplus(str(number), found.surplus)
      images[camera] = found.jpegs
    for camera, frames in images.items():
      try:
        _, height, width = image_codec.frame_format(frames[0])
      except ValueError:
        continue  # told by its step where all are checked
      self._widths.check_pictures(self._cameras[camera], (height, width), where)
    return images

  def _prompt(self, rows: pa.Table, where: str) -> str | list[str]:
    """Of every step, as the task of its row tells."""
    if self._settings.prompt is not None:
      return self._settings.prompt
    tasks = rows['task_index'].to_pylist()
    for step, task in enumerate(tasks):
      if isinstance(task, list) or not self._meta.tasks.get(task, '').strip():
        raise ValueError(
          f'{where}, step {step}: task_index: found {task}, for which meta/ holds no text; pass '
          '--prompt.'
        )
    prompts = [self._meta.tasks[task] for task in tasks]
    return prompts if len(set(prompts)) > 1 else prompts[0]


def _table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
  """Rows of one episode: the columns that all of its files have."""
  names = [n for n in batches[0].schema.names if all(n in b.schema.names for b in batches)]
  return pa.Table.from_batches([batch.select(names) for batch in batches])


def _embedded(rows: pa.Table, feature: str, where: str) -> list[bytes]:
  """The images of a column."""
  frames = []
  for step, image in enumerate(rows[feature].to_pylist()):
    frame = image.get('bytes') if isinstance(image, dict) else None
    if not isinstance(frame, bytes):
      raise ValueError(
        f'{where}, step {step}: {feature}: found no bytes, expected the image in the file; save '
        'the dataset again with its images embedded.'
      )
    frames.append(frame)
  return frames


def _joined(
  rows: pa.Table,
  parts: Sequence[field_path.FieldPath],
  where: str,
  widths: lerobot_widths.Widths,
) -> np.ndarray:
  """[T, n] of the parts of features, one after another."""
  arrays = {part.name: _array(rows, part.name, where) for part in parts}
  for name, array in arrays.items():
    widths.check(name, array.shape[1], where)
  return settings_lib.joined(arrays, parts, where)


def _array(rows: pa.Table, name: str, where: str) -> np.ndarray:
  """[T, n] from lists of numbers, or from one number a step."""
  try:
    array = np.array(rows[name].to_pylist(), np.float32)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{where}: {name}: found no numbers, or not as many at every step.') from error
  return array[:, None] if array.ndim == 1 else array


IMPORTER = importer.Importer('LeRobot 2.0, 2.1 or 3.0', Dataset)
