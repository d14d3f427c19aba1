"""The command `import`: recordings in other formats become one RLDS dataset.

python -m aloe_jax.data import --from lerobot SRC --to DIR --name fold_laundry --end-reason success
"""

import argparse
import collections
from collections.abc import Iterator
import pathlib
import time
from typing import Any

from aloe_jax import progress
from aloe_jax import types
from aloe_jax.data import cameras
from aloe_jax.data import holds
from aloe_jax.data import outcomes
from aloe_jax.data import remarks
from aloe_jax.data import rlds
from aloe_jax.data import tfds_directory
from aloe_jax.data.importers import IMPORTERS
from aloe_jax.data.importers import importer as importer_lib
from aloe_jax.data.importers import log as log_lib
from aloe_jax.data.importers import settings as settings_lib
from aloe_jax.data.importers import size

_SHOWN = 5  # of the problems, where all episodes have one
_END_REASONS = {text: reason for text, reason in rlds.END_REASON_TEXT.items() if reason}


def add(subparsers: Any) -> None:
  """Registers the command with what `argparse.ArgumentParser.add_subparsers` returned.

  The parsed arguments hold `run`, which takes them.
  """
  parser = subparsers.add_parser(
    'import',
    help='recordings in other formats become one RLDS dataset',
    description='Copies recordings into a new RLDS dataset, one episode in memory at a time.',
  )
  parser.add_argument('recordings', metavar='SRC', type=pathlib.Path, help='folder to import')
  parser.add_argument(
    '--from',
    dest='format',
    required=True,
    choices=sorted(IMPORTERS),
    help='format of the recordings: '
    + '; '.join(f'{name}: {importer.what}' for name, importer in sorted(IMPORTERS.items())),
  )
  parser.add_argument(
    '--to', metavar='DIR', required=True, type=pathlib.Path, help='directory to make'
  )
  parser.add_argument('--name', required=True, help='of the dataset, such as fold_laundry')
  parser.add_argument(
    '--source',
    choices=list(rlds.SOURCE_TEXT),
    default='demo',
    help='who acted, where the recordings do not say it (default: %(default)s)',
  )
  parser.add_argument(
    '--end-reason',
    choices=list(_END_REASONS),
    default='cut',
    help='why episodes ended, where the recordings do not say it (default: %(default)s)',
  )
  parser.add_argument('--prompt', help='of all episodes, instead of the recorded ones')
  parser.add_argument(
    '--camera',
    metavar='CAMERA=NAME',
    action='append',
    type=_camera,
    help=f'import these cameras only: {", ".join(types.CAMERAS)}; by default those with names '
    'in use',
  )
  parser.add_argument(
    '--state',
    metavar='NAME',
    help="of the state, unless it is a name in use; a part of it as 'observation.state[0:14]', "
    'several with commas between are joined',
  )
  parser.add_argument(
    '--action', metavar='NAME', help='of the action, unless it is a name in use; parts likewise'
  )
  parser.add_argument(
    '--intervention',
    metavar='NAME',
    help='flag of every step that is set where a human acts, unless it is a name in use (LeRobot '
    "only); 'none' where all steps are by --source. What is not told by 0 and 1 is compared: "
    "'is_intervention>=0.5', 'mode==2'",
  )
  parser.add_argument(
    '--success',
    metavar='NAME',
    help='flag that is set where the task is done, unless it is a name in use (LeRobot only); '
    "'none' where every end is that of --end-reason; compared likewise",
  )
  parser.add_argument(
    '--on-error',
    choices=('raise', 'skip'),
    default='raise',
    help='stop at an episode that cannot be read, and leave nothing; or leave it out and go on '
    '(default: %(default)s)',
  )
  parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
  """Imports, and prints what there is now.

  Raises:
    FileExistsError: if the directory to make exists.
    FileNotFoundError: if a file of the recordings is missing.
    ModuleNotFoundError: if there are videos, and PyAV is not installed.
    ValueError: naming the file and what is wrong in it.
  """
  tfds_directory.check_is_new(arguments.to)
  importer = IMPORTERS[arguments.format]
  for option, instead in importer.instead.items():
    if getattr(arguments, option):
      raise ValueError(
        f'--{option}: found the format {arguments.format}, which has {instead} instead.'
      )
  settings = settings_lib.Settings(
    source=rlds.SOURCE_TEXT[arguments.source],
    end_reason=_END_REASONS[arguments.end_reason],
    prompt=arguments.prompt,
    cameras=_chosen(arguments.camera),
    state=arguments.state,
    action=arguments.action,
    intervention='' if arguments.intervention == 'none' else arguments.intervention,
    success='' if arguments.success == 'none' else arguments.success,
    log=log_lib.Log(on_error=arguments.on_error),
  )
  log = settings.log
  recordings = importer.open(arguments.recordings, settings)
  _print('\n'.join(getattr(recordings, 'notes', [])))
  counts: dict[str, collections.Counter[str]] = {
    kind: collections.Counter() for kind in ('episodes', 'camera', 'source', 'held', 'end_reason')
  }
  odd: dict[str, list[int]] = {}
  episodes = _counted(recordings, counts, odd, log, arguments.to)
  try:
    rlds.write(
      arguments.to,
      episodes,
      name=arguments.name,
      skip=None if log.on_error == 'raise' else log.skip,
    )
  except ValueError as error:
    if log.on_error == 'skip':
      raise
    raise ValueError(f'{error} (--on-error=skip leaves such episodes out.)') from error
  lines = [
    f'{arguments.to}: {counts["episodes"].total()} episodes, {counts["source"].total()} steps',
    f'steps by source: {_listed(counts["source"])}',
    f'end reasons: {_listed(counts["end_reason"])}',
    f'cameras: {", ".join(counts["camera"]) or "none"}',
  ]
  if told := holds.sentence(counts['held'].total(), counts['source'].total()):
    lines.append(told)
  if told := outcomes.sentence(counts['end_reason'], importer.ends):
    lines.append(told)
  if recordings.left_out:
    lines.append(f'images left out: {", ".join(recordings.left_out)}')
  lines += remarks.lines(odd) + log.notes()
  if log.skipped:
    lines += [f'left out: {problem}' for problem in log.skipped]
    lines.append(f'{counts["episodes"].total()} episodes imported, {len(log.skipped)} left out')
  _print('\n'.join(lines))


def _counted(
  recordings: importer_lib.Recordings,
  counts: dict[str, collections.Counter[str]],
  odd: dict[str, list[int]],
  log: log_lib.Log,
  directory: pathlib.Path,
) -> Iterator[rlds.Episode]:
  """Passes episodes on while it counts what is written and shows how far it has come."""
  sources = {value: text for text, value in rlds.SOURCE_TEXT.items()}
  reasons = {value: text for text, value in _END_REASONS.items()}
  start, done = time.monotonic(), 0
  with progress.bar('import', len(recordings), 'episodes') as advance:
    for episode in recordings:
      if not counts['episodes']:
        episode = size.encoded(episode)
        steps = log.steps or len(recordings) * len(episode)
        _print(size.message(episode, steps, directory))
      skipped = len(log.skipped)
      yield episode
      if len(log.skipped) == skipped:
        remarks.add(odd, counts['episodes'].total(), episode.metadata)
        counts['episodes'].update(['written'])
        counts['held'][holds.COUNT] += int(episode.metadata.get(holds.COUNT, 0))
        counts['source'].update(sources[source] for source in episode.source.tolist())
        counts['end_reason'].update(reasons[end] for end in episode.end_reason.tolist() if end)
        counts['camera'].update(list(episode.images or {}))
      frames = counts['source'].total() * max(len(counts['camera']), 1)
      del episode  # before the next is read, so that the images of one are in memory at a time
      done = counts['episodes'].total() + len(log.skipped)
      advance(done, **{'frames/s': frames / (time.monotonic() - start)})
    if log.skipped and not counts['episodes']:
      shown = '\n'.join(log.skipped[:_SHOWN])
      raise ValueError(f'none of {len(log.skipped)} episodes can be read:\n{shown}')
    if counts['episodes'].total() + len(log.skipped) > done:  # the last ones were left out
      advance(counts['episodes'].total() + len(log.skipped))


def _print(text: str) -> None:
  if text:
    progress.CONSOLE.print(text, highlight=False, markup=False, soft_wrap=True)


def _listed(counter: collections.Counter[str]) -> str:
  return ', '.join(f'{name} {count}' for name, count in counter.most_common())


def _chosen(options: list[tuple[str, str]] | None) -> dict[str, str] | None:
  """{camera: name} of the options, each of which has to be of its own."""
  if not options:
    return None
  counts = collections.Counter(camera for camera, _ in options)
  for camera, count in counts.items():
    if count > 1:
      names = ' and '.join(name for other, name in options if other == camera)
      raise ValueError(f'--camera: found {names} for {camera}, expected one picture a camera.')
  chosen = dict(options)
  try:
    cameras.check_apart(chosen)
  except ValueError as error:
    raise ValueError(f'--camera: {error}') from error
  return chosen


def _camera(text: str) -> tuple[str, str]:
  camera, _, name = text.partition('=')
  if camera not in types.CAMERAS or not name:
    raise argparse.ArgumentTypeError(
      f'found {text!r}, expected one of {", ".join(types.CAMERAS)}, then = and a name.'
    )
  return camera, name
