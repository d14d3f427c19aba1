"""What a robot's recorder has written: executed actions, who acted, and how each episode ended.

`aloe_client.episode_files` says what lies on the disk. Actions are the executed ones, in the units
of the policy; those that were asked for are `--action=requested`. An episode that has lost
pictures, or that could not be written whole, is named and left out. One that was never finished is
a cut, of as many steps as have all their pictures; where a program records now, its open episode is
left out. Nothing of the directory is changed.
"""

from collections.abc import Iterator
import pathlib
from typing import Any

import numpy as np

from aloe_client import episode_files
from aloe_client import wire
from aloe_jax import types
from aloe_jax.data import action_kinds
from aloe_jax.data import cameras as cameras_lib
from aloe_jax.data import holds
from aloe_jax.data import rlds
from aloe_jax.data.importers import importer
from aloe_jax.data.importers import recorder_doubles
from aloe_jax.data.importers import recorder_steps
from aloe_jax.data.importers import recorder_summary
from aloe_jax.data.importers import settings as settings_lib

_NAMES = {'state': 'state', 'action': 'executed'}  # fields of a step
_SLACK = 0.1  # of the rate that was told
_OPTION = '--camera {camera}={name}'


class Folder:
  """The episodes of a recorder, read one at a time.

  Attributes:
    left_out: pictures that are imported as no camera.
    notes: of every picture, which camera it is, or why it is none.
  """

  def __init__(self, directory: pathlib.Path, settings: settings_lib.Settings):
    """Finds the episodes.

    Raises:
      FileNotFoundError: if the folder does not exist or holds none.
      ValueError: if it cannot be told which picture is which camera.
    """
    if not directory.is_dir():
      raise FileNotFoundError(f'{directory}: there is no such folder; expected recorded episodes.')
    self._settings = settings
    self._folders = episode_files.finished(directory)
    if not episode_files.is_held(directory):
      self._folders += episode_files.unfinished(directory)
    elif episode_files.unfinished(directory):
      settings.log.aside(str(directory), 'an episode is being recorded: left out')
    for folder in sorted(directory.glob(f'*/{episode_files.SUMMARY}')):
      if folder.parent not in self._folders and not folder.parent.name.startswith(
        ('.', episode_files.OPEN)
      ):
        settings.log.aside(str(folder.parent), 'left out: its name is no number, as of an episode')
    if not self._folders:
      raise FileNotFoundError(
        f'{directory}: found no episodes in it, expected folders such as 000000, as a recorder '
        'writes them.'
      )
    self._parts = {
      what: settings_lib.parts(getattr(settings, what) or name, f'--{what}')
      for what, name in _NAMES.items()
    }
    suffix = episode_files.IMAGES
    names = {
      path.name.removesuffix(suffix)
      for folder in self._folders
      for path in folder.glob(f'*{suffix}')
    }
    wanted = settings.cameras
    for name in (wanted or {}).values():
      if name not in names:
        raise ValueError(
          f'--camera: {name}: found no such pictures in {directory}, expected one of '
          f'{", ".join(sorted(names)) or "none"}.'
        )
    assigned = cameras_lib.assign(
      dict.fromkeys(sorted(names), ''),
      dict.fromkeys(types.CAMERAS) | dict(wanted) if wanted else None,
    )
    if assigned.ties:
      raise ValueError(f'{directory}: {assigned.problem(_OPTION, names_all=True)}')
    if names and not any(assigned.roles.values()):
      option = _OPTION.format(camera='head', name=min(names))
      raise ValueError(
        f'{directory}: found the pictures {", ".join(sorted(names))}, expected a name in use; '
        f'choose, such as {option}.'
      )
    self._cameras = {camera: name for camera, name in assigned.roles.items() if name is not None}
    self.left_out = list(assigned.left_out)
    self.notes = [f'images: {line}' for line in assigned.lines()] if names else []

  def __len__(self) -> int:
    return len(self._folders)

  def __iter__(self) -> Iterator[rlds.Episode]:
    """Yields the episodes.

    Raises:
      ValueError: naming the folder and what is wrong in it.
    """
    doubles, robot = recorder_doubles.Doubles(), recorder_summary.SameRobot()
    for folder in self._folders:
      episode = None
      with self._settings.log.reading():
        episode = self._episode(folder, doubles, robot)
      if episode is not None:
        yield episode
      del episode

  def _episode(
    self,
    folder: pathlib.Path,
    doubles: recorder_doubles.Doubles,
    robot: recorder_summary.SameRobot,
  ) -> rlds.Episode | None:
    """The episode, or None where it is not to be trained on."""
    try:
      found = episode_files.read(folder)
    except RecursionError:
      raise ValueError(f'{folder}: found JSON nested too deep; copy it again.') from None
    except (KeyError, TypeError, wire.WireError) as error:
      raise ValueError(f'{folder}: found no episode of a recorder ({error}).') from error
    log, summary = self._settings.log, found.summary
    recorder_summary.check(folder, summary)
    if not summary['exportable']:
      log.aside(str(folder), f'left out: {"; ".join(summary["flags"])}')
      return None
    if not found.steps:
      log.aside(str(folder), 'left out: it holds no step with a picture of every camera')
      return None
    recorder_summary.check_pictures(folder, summary)
    recorder_steps.check(found)
    robot.check(folder, summary)
    if (whole := doubles.beginning_of(found)) is not None:
      log.aside(str(folder), f'left out: a copy of the beginning of {whole}')
      return None
    doubles.add(found)
    acted = recorder_steps.acted(found)
    if acted.count > 1:
      log.aside(
        str(folder),
        f'{acted.count} checkpoints acted: {acted.checkpoint}; it counts for neither in the report',
      )
    arrays = {name: _column(found, name) for name in ('state', 'requested', 'executed')}
    for what, parts in self._parts.items():
      for part in parts:
        if part.name not in arrays:
          raise ValueError(
            f'--{what}: found {part.name!r}, expected parts of {", ".join(sorted(arrays))}.'
          )
    humans = found.column('who') == 'human'
    taken_over = types.Source.HUMAN
    if humans.all():  # there was nothing to take over: a demonstration, unless --source says else
      taken_over = self._settings.source
    prompts = [step['prompt'] for step in found.steps]
    return settings_lib.make_episode(
      str(folder),
      state=settings_lib.joined(arrays, self._parts['state'], str(folder)),
      action=settings_lib.joined(arrays, self._parts['action'], str(folder)),
      images={camera: found.images(name) for camera, name in self._cameras.items()},
      features=_column(found, 'features') if summary.get('features') else None,
      source=np.where(humans, taken_over, types.Source.POLICY).astype(np.int8),
      end_reason=types.EndReason[summary['end_reason'].upper()],
      prompt=prompts if self._settings.prompt is None else self._settings.prompt,
      metadata={
        'file_path': f'{folder.parent.name}/{folder.name}',
        'fps': self._rate(folder, summary),
        'checkpoint': acted.checkpoint,
        'checkpoint_step': acted.step,
        'checkpoints': acted.count,
        action_kinds.NAME: str((summary.get('action') or {}).get('kind') or ''),
        'started_ms': round(1000 * summary['started']),  # a float would be of single precision
        **holds.told(found.column('held').astype(bool)),
        'steps_changed': int(summary['steps_changed']),
      },
    )

  def _rate(self, folder: pathlib.Path, summary: dict[str, Any]) -> float:
    """Steps a second as they were told, or as they were where that is another rate."""
    told, real = float(summary['hz']), summary['real_hz']
    if real is None or abs(real / told - 1) <= _SLACK:
      return told
    self._settings.log.aside(
      str(folder), f'ran at {real:.3g} steps a second, not {told:g}: that rate is kept as fps'
    )
    return round(real, 1)


def _column(episode: episode_files.Episode, name: str) -> np.ndarray:
  try:
    return np.stack([np.asarray(step[name], np.float32) for step in episode.steps])
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'{episode.path}: {name}: found another width at some steps, expected the same at all.'
    ) from error


IMPORTER = importer.Importer(
  'episodes of the recorder on a robot (aloe_client)',
  Folder,
  instead={'intervention': 'who acted at every step', 'success': 'the end that was recorded'},
  ends=(
    "A person says how an episode went as it ends, recorder.end('success'); what was cut stays "
    'one. Give what a failure costs, in steps, with --config.fail.cost, or imitate alone, '
    '--config.iterations=0.'
  ),
)
