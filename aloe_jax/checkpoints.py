"""What checkpoints a run has: of which phase, how good, how large, whole or damaged.

python -m aloe_jax.checkpoints --workdir=runs/laundry
"""

import argparse
from collections.abc import Sequence
import contextlib
import pathlib
from typing import Any

import rich.table

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.buckets import storage
from aloe_jax.run import bucket_run
from aloe_jax.run import checkpoints as checkpoints_lib
from aloe_jax.run import phases
from aloe_jax.run import results
from aloe_jax.run import state_items
from aloe_jax.run import unfinished
from aloe_jax.run import written_files

COLUMNS = ('checkpoint', 'phase', 'iteration', 'updates', 'success', 'MB', 'files')


def main(argv: Sequence[str] | None = None) -> None:
  """Lists the checkpoints of a command line's run."""
  given = command_line.parse(_parser(), argv)
  with command_line.usage_errors():
    if given.file or given.overrides:
      raise ValueError('--config does nothing in `checkpoints`; leave it out.')
  with contextlib.ExitStack() as stack:
    with config_lib.user_errors():
      given = stack.enter_context(bucket_run.opened(given))
    _list(given)


def _list(given: command_line.Given) -> None:
  with config_lib.user_errors():
    written = checkpoints_lib.Checkpoints(given.workdir / 'checkpoints')
    saves = unfinished.directories(given.workdir)
    if written.latest() is None and not saves:
      written.newest()  # says that there is none
    rates = {
      phases.actor_number(entry['iteration']): entry['success_rate']
      for entry in results.read(given.workdir / 'evaluations.json')
    }
  table = rich.table.Table(title=given.where)
  for column in COLUMNS:
    table.add_column(column, justify='left' if column in ('phase', 'files') else 'right')
  counted: set[tuple[int, int]] = set()
  for number in written.numbers():
    path = written.path(number)
    success = f'{100 * rates[number]:.1f} %' if number in rates else ''
    files = _state(path, bytes_too=given.options.verify)
    table.add_row(str(number), *_told(path), success, _size(path, counted), files)
  for number, _, path in saves:
    files = _state(path, bytes_too=given.options.verify)
    table.add_row(f'{number}, unfinished', *_told(path), '', _size(path, counted), files)
  progress.CONSOLE.print(table)
  progress.CONSOLE.print(
    'Updates are those of the whole run up to there, of critic and actor together.',
    highlight=False,
    soft_wrap=True,
  )
  for name in written.others():
    progress.CONSOLE.print(f'{written.directory / name}: not of this run', soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
  parser = command_line.parser('aloe_jax.checkpoints', __doc__)
  parser.add_argument(
    '--verify', action='store_true', help='read every byte and compare it with its checksum'
  )
  return parser


def _told(path: pathlib.Path) -> tuple[str, str, str]:
  """Phase, iteration and updates of a checkpoint or of a save inside a phase."""
  try:
    meta = checkpoints_lib.read_meta(path)
  except (OSError, ValueError):
    return '?', '?', '?'
  updates = str(meta.get('step', ''))
  if 'done' in meta:
    updates = f'{updates} ({meta["done"]} of {meta.get("updates", "?")} of the phase)'
  told = [str(meta[name]) for name in ('phase', 'note') if name in meta]
  phase = ', '.join([*told, *(['skipped'] if meta.get('skipped') else [])])
  return phase or '?', str(meta.get('iteration', '?')), updates


def _size(path: pathlib.Path, counted: set[tuple[int, int]]) -> str:
  """Megabytes of the files that no checkpoint listed before has too."""
  if files.is_url(path):  # what two of them share lies there twice
    return f'{sum(there.size for there in storage.find(path).values()) / 1e6:.1f}'
  size = 0
  for file in path.rglob('*'):
    about: Any = file.stat()
    if file.is_file() and (about.st_dev, about.st_ino) not in counted:
      counted.add((about.st_dev, about.st_ino))
      size += about.st_size
  return f'{size / 1e6:.1f}'


def _state(path: pathlib.Path, *, bytes_too: bool) -> str:
  """Whether the files of a checkpoint are as they were written."""
  try:
    checkpoints_lib.read_meta(path)
    checkpoints_lib.check_files(path)
  except (OSError, ValueError) as error:
    return f'damaged: {str(error).partition("; ")[0]}'
  if not bytes_too:
    return 'whole'
  notes = written_files.read(path)
  if not any('crc32c' in note for note in notes.values()):
    return 'whole by size; an earlier version noted no checksums'
  damaged = [written_files.damaged(path, item) for item in state_items.names(path)]
  found = next((one for one in damaged if one), None)
  return f'damaged: {found} holds other bytes than were written' if found else 'whole, every byte'


if __name__ == '__main__':
  command_line.run(main)
