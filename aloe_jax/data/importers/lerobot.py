"""LeRobot datasets of the versions 2.0, 2.1 and 3.0.

    meta/info.json                      version, features, frames a second, places of videos
    meta/episodes.jsonl, tasks.jsonl    in version 3 episodes/*/*.parquet and tasks.parquet
    data/*/*.parquet                    the steps, with images where there is no video
    videos/...                          in version 3 several episodes a file

Rows are found by their `episode_index`, in whichever data file they lie, and pictures by the time
of their row; where rows are missing in the middle, the episode is cut. An episode ends in
success or failure where `next.success` says so at its last step, in success where rewards of
0 and 1 end with a 1, and otherwise as the settings say: a reward of 0 throughout is what
recorders write that know nothing of rewards. Where a flag says of every step whether a human
acts, as HIL-SERL's and LeRobot's DAgger recordings have it, the other steps are the policy's.
"""

from collections.abc import Iterator, Sequence
from concurrent import futures
import itertools
import os
import pathlib

import numpy as np
import pyarrow as pa

from aloe_jax import types
from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import fragments
from aloe_jax.data import image_codec
from aloe_jax.data import rlds
from aloe_jax.data.importers import importer
from aloe_jax.data.importers import lerobot_meta
from aloe_jax.data.importers import lerobot_rows
from aloe_jax.data.importers import settings as settings_lib
from aloe_jax.data.importers import video

_ROWS = 256  # decoded at a time: images in columns take much memory
_STATE = ('observation.state', 'state')
_ACTION = ('action', 'actions')
_INTERVENTION = ('complementary_info.is_intervention', 'is_intervention', 'intervention')
_END = ('next.success', 'next.done', 'next.reward')


class Dataset:
  """The episodes of a LeRobot dataset, read one at a time.

  Attributes:
    left_out: features with images that are not imported.
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
    self._intervention = self._find_intervention()
    self._cameras, self.left_out = self._find_cameras()
    self._broken: list[str] = []  # what is wrong with files of rows
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

  def _find_intervention(self) -> str | None:
    """The feature that is set where a human acts, if there is one."""
    wanted = self._settings.intervention
    names = _INTERVENTION if wanted is None else filter(None, [wanted])
    found = next((name for name in names if name in self._meta.features), None)
    if wanted and not found:
      raise ValueError(
        f'{self._meta.path}: features: found {", ".join(sorted(self._meta.features))}, expected '
        f'{wanted}, as asked for by --intervention.'
      )
    return found

  def _find_cameras(self) -> tuple[dict[str, str], list[str]]:
    """{camera: feature}, and the features with images that belong to none."""
    seen = sorted(
      name
      for name, feature in self._meta.features.items()
      if feature['dtype'] in ('image', 'video')
    )
    cameras = dict(self._settings.cameras or {})
    for name in cameras.values():
      if name not in seen:
        raise ValueError(
          f'{self._meta.path}: features: {name}: found no such images, expected one of '
          f'{", ".join(seen) or "none: the dataset has no images"}.'
        )
    if not cameras:
      short = {name.rpartition('.')[-1]: name for name in seen}
      for camera, names in field_names.CAMERA_NAMES.items():
        found = [short[name] for name in names.split() if name in short]
        if found:
          cameras[camera] = found[0]
    if seen and not cameras:
      raise ValueError(
        f'{self._meta.path}: features: found the images {", ".join(seen)}, expected a name in use; '
        f'choose, such as --camera head={seen[0]}.'
      )
    return cameras, [name for name in seen if name not in cameras.values()]

  # Rows

  def _runs(self) -> Iterator[tuple[int, pathlib.Path, pa.Table]]:
    """Yields number, first file and rows of one episode after the other."""
    columns = ['episode_index', 'task_index']
    columns += [part.name for part in (*self._state, *self._action)]
    columns += filter(None, [self._intervention])
    columns += [
      name for name in self._cameras.values() if self._meta.features[name]['dtype'] == 'image'
    ]
    columns = list(dict.fromkeys(columns))
    also = (*_END, lerobot_rows.FRAME, lerobot_rows.TIME)
    held: list[pa.RecordBatch] = []
    number, first = -1, self._directory
    for path in lerobot_meta.parquet_files(self._directory / 'data'):
      for batch in self._batches(path, columns, also):
        index = batch.column('episode_index').to_numpy()
        cuts = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
        for start, stop in itertools.pairwise(cuts):
          if held and index[start] != number:
            yield number, first, pa.Table.from_batches(held)
            held = []
          if not held:
            number, first = int(index[start]), path
          held.append(batch.slice(start, stop - start))
    if held:
      yield number, first, pa.Table.from_batches(held)

  def _batches(
    self, path: pathlib.Path, columns: Sequence[str], also: Sequence[str]
  ) -> Iterator[pa.RecordBatch]:
    """Yields rows of a file, as far as it can be read where what is wrong is left out."""
    also = [name for name in also if name not in columns]
    try:
      yield from lerobot_meta.batches(path, columns, also=also, rows=_ROWS)
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
    episode = settings_lib.make_episode(
      where,
      state=_joined(rows, self._state, where),
      action=_joined(rows, self._action, where),
      images=self._images(number, recording, rows, timeline, where),
      source=self._source(rows, where),
      end_reason=_end_reason(rows, self._settings.end_reason),
      prompt=self._prompt(rows, where),
      metadata={
        'file_path': f'{self._directory.name}/episode_{number:06d}',
        'fps': self._meta.fps,
      },
      holes=timeline.holes,
    )
    unknown = fragments.takeovers(episode.source)[timeline.holes].sum()
    self._settings.log.cut(str(number), len(timeline.holes), int(unknown))
    return episode

  def _source(self, rows: pa.Table, where: str) -> np.ndarray | types.Source:
    """[T] where every step tells whether a human acts, else that of all steps."""
    if self._intervention is None:
      return self._settings.source
    human = _array(rows, self._intervention, where)
    if human.shape[1] != 1:
      raise ValueError(
        f'{where}: {self._intervention}: found {human.shape[1]} numbers a step, expected one.'
      )
    return np.where(human[:, 0] != 0, types.Source.HUMAN, types.Source.POLICY).astype(np.int8)

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
      if found.surplus and not timeline.is_told:
        raise ValueError(
          f'{where}: {recording.videos[self._cameras[camera]].path}: found {found.surplus} frames '
          f'more than steps, and neither {lerobot_rows.TIME} nor {lerobot_rows.FRAME} that tell '
          'which belongs to which.'
        )
      if found.surplus:
        self._settings.log.surplus(str(number), found.surplus)
      images[camera] = found.jpegs
    return images

  def _prompt(self, rows: pa.Table, where: str) -> str | list[str]:
    """Of every step, as the task of its row tells."""
    if self._settings.prompt is not None:
      return self._settings.prompt
    tasks = rows['task_index'].to_pylist()
    for step, task in enumerate(tasks):
      if not self._meta.tasks.get(task):
        raise ValueError(
          f'{where}, step {step}: task_index: found {task}, for which meta/ holds no text; pass '
          '--prompt.'
        )
    prompts = [self._meta.tasks[task] for task in tasks]
    return prompts if len(set(prompts)) > 1 else prompts[0]


def _embedded(rows: pa.Table, feature: str, where: str) -> list[bytes]:
  """The images of a column."""
  frames = [image and image['bytes'] for image in rows[feature].to_pylist()]
  if None in frames:
    raise ValueError(
      f'{where}, step {frames.index(None)}: {feature}: found no bytes, expected the image in '
      'the file; save the dataset again with its images embedded.'
    )
  return frames


def _end_reason(rows: pa.Table, default: types.EndReason) -> types.EndReason:
  """Why an episode ended, as far as its rows tell."""
  columns = {name: np.ravel(rows[name].to_pylist()) for name in _END if name in rows.column_names}
  last = {name: column[-1] for name, column in columns.items()}
  if 'next.success' in last:
    if last['next.success']:
      return types.EndReason.SUCCESS
    return types.EndReason.FAILURE if last.get('next.done', True) else types.EndReason.CUT
  if last.get('next.reward') == 1 and np.isin(columns['next.reward'], (0, 1)).all():
    return types.EndReason.SUCCESS
  return default


def _joined(rows: pa.Table, parts: Sequence[field_path.FieldPath], where: str) -> np.ndarray:
  """[T, n] of the parts of features, one after another."""
  arrays = {part.name: _array(rows, part.name, where) for part in parts}
  return settings_lib.joined(arrays, parts, where)


def _array(rows: pa.Table, name: str, where: str) -> np.ndarray:
  """[T, n] from lists of numbers, or from one number a step."""
  try:
    array = np.array(rows[name].to_pylist(), np.float32)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{where}: {name}: found no numbers, or not as many at every step.') from error
  return array[:, None] if array.ndim == 1 else array


IMPORTER = importer.Importer('LeRobot 2.0, 2.1 or 3.0', Dataset)
