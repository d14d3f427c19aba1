"""Looks at datasets before anything is trained on them, and makes them of other formats.

python -m aloe_jax.data inspect DIR --image frames.png
python -m aloe_jax.data validate DIR DIR
python -m aloe_jax.data stats DIR DIR --to norm_stats.json
python -m aloe_jax.data import --from lerobot SRC --to DIR --name fold_laundry
"""

import argparse
from collections.abc import Callable, Iterator
import contextlib
import functools
import json
import logging
import pathlib
import sys
from typing import Any

from aloe_jax import disk
from aloe_jax import files
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.data import bucket
from aloe_jax.data import mapping as mappings
from aloe_jax.data import schema
from aloe_jax.data.importers import command as import_command
from aloe_jax.data.tools import comparison
from aloe_jax.data.tools import contact_sheet
from aloe_jax.data.tools import dataset_statistics
from aloe_jax.data.tools import inspection
from aloe_jax.data.tools import validation
from aloe_jax.preprocessing import normalize

_PLAIN: dict[str, Any] = {'markup': False, 'highlight': False, 'soft_wrap': True}


def main() -> None:
  """Runs the command of the command line; an error about its data is one message."""
  arguments = _parser().parse_args()
  logging.basicConfig(format='%(levelname)s: %(message)s', level=logging.WARNING)
  try:
    _place(arguments)
    arguments.run(arguments)
  except (ImportError, OSError, ValueError) as error:
    sys.exit(f'error: {disk.told(error) or error}')


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m aloe_jax.data', description='Looks at RLDS datasets, and makes them.'
  )
  subparsers = parser.add_subparsers(title='commands', required=True)
  inspect = subparsers.add_parser(
    'inspect',
    help='what a dataset holds and how it would be read',
    description='Shows fields, splits, the proposed mapping and what it makes of the episodes.',
  )
  inspect.add_argument('directory', metavar='DIR', help='holds dataset_info.json')
  inspect.add_argument(
    '--image',
    '--picture',
    metavar='PNG',
    type=pathlib.Path,
    help='draw the first, middle and last step',
  )
  inspect.add_argument('--episode', type=int, default=0, help='to draw (default: %(default)s)')
  inspect.add_argument('--overwrite', action='store_true', help='replace an old image')
  _add_reading(inspect, 'train')
  inspect.set_defaults(run=_inspect)

  validate = subparsers.add_parser(
    'validate',
    help='reads every byte and lists all that is wrong',
    description='Reads every byte, decodes every image and lists all that is wrong; ends with '
    'status 1 if anything is.',
  )
  validate.add_argument('directories', metavar='DIR', nargs='+', help='holds dataset_info.json')
  _add_reading(validate, None)
  _add_on_error(validate, 'shards that are not there are wrong, or left out and noted')
  validate.set_defaults(run=_validate)

  stats = subparsers.add_parser(
    'stats',
    help='norm_stats.json of states and action chunks',
    description='Computes what states and actions are normalised by, as openpi does.',
  )
  stats.add_argument('directories', metavar='DIR', nargs='+', help='holds dataset_info.json')
  stats.add_argument(
    '--to', metavar='FILE', type=pathlib.Path, required=True, help='norm_stats.json'
  )
  stats.add_argument('--overwrite', action='store_true', help='replace an old file')
  stats.add_argument('--chunk', type=int, default=50, help='steps (default: %(default)s)')
  stats.add_argument(
    '--delta',
    type=int,
    nargs='*',
    default=(),
    metavar='N',
    help='runs of relative (6) and absolute (-1) numbers of an action; by default all are absolute',
  )
  stats.add_argument('--state-size', type=int, help='numbers of the state; by default all')
  _add_reading(stats, 'train')
  _add_on_error(
    stats, 'stop at a shard that is not there and at an episode that is wrong, or leave it out'
  )
  stats.set_defaults(run=_stats)

  import_command.add(subparsers)
  return parser


def _add_reading(parser: argparse.ArgumentParser, split: str | None) -> None:
  """Options on what is read, the same for all commands."""
  shown = 'all' if split is None else split
  parser.add_argument('--split', default=split, help=f'to read (default: {shown})')
  parser.add_argument(
    '--cache', metavar='DIR', help='of indices, by default beside a dataset; of copies from buckets'
  )
  parser.add_argument('--json', action='store_true', help='print JSON and nothing else')
  group = parser.add_argument_group(
    'mapping', "fields of the dataset, several with commas between, or 'none'; default: by name"
  )
  for key in (*types.CAMERAS, *(key for key in mappings.KEYS if key != 'images')):
    group.add_argument(f'--mapping.{key}', metavar='FIELD', default='')
  group.add_argument(
    '--mapping.last_action',
    choices=mappings.LAST_ACTION,
    default='auto',
    help='of an episode: keep it, drop it where it means nothing, or judge by the episodes '
    '(default: %(default)s)',
  )


def _add_on_error(parser: argparse.ArgumentParser, what: str) -> None:
  parser.add_argument(
    '--on-error',
    choices=('raise', 'skip'),
    default='raise',
    help=f'{what} (default: %(default)s)',
  )


def _place(arguments: argparse.Namespace) -> None:
  """Expands `~` in all arguments, and copies datasets that are in a bucket."""
  for name, value in vars(arguments).items():
    setattr(arguments, name, files.expanded(value))

  def local(path: str) -> str:
    return str(bucket.local(path, arguments.cache, _silent if arguments.json else progress.bar))

  for name, value in vars(arguments).items():
    if name == 'directory':
      arguments.directory = local(value)
    elif name == 'directories':
      arguments.directories = list(map(local, value))
    elif isinstance(value, pathlib.Path):
      files.check_is_here(value, name)


def _mapping(arguments: argparse.Namespace) -> dict[str, Any]:
  prefix = 'mapping.'
  options = vars(arguments).items()
  return mappings.parse({k.removeprefix(prefix): v for k, v in options if k.startswith(prefix)})


def _inspect(arguments: argparse.Namespace) -> None:
  if arguments.image:
    _check_is_new(arguments.image, arguments.overwrite)
  with _reading(arguments, arguments.directory) as advance:
    found = inspection.inspect(
      arguments.directory,
      _mapping(arguments),
      split=arguments.split,
      episode=arguments.episode,
      progress=advance,
    )
  if arguments.json:
    print(json.dumps(found.to_json(), indent=2))
  else:
    found.show(progress.CONSOLE)
  if found.problem:
    raise ValueError(f'{arguments.directory}: {found.problem}')
  if arguments.image:
    if found.scene is None:
      raise ValueError(f'{arguments.directory}, episode {arguments.episode}: there is no image.')
    contact_sheet.write(arguments.image, found.scene)


def _validate(arguments: argparse.Namespace) -> None:
  reports: list[validation.Report] = []
  for directory in arguments.directories:
    try:
      with _reading(arguments, directory) as advance:
        reports += validation.validate(
          directory,
          _mapping(arguments),
          split=arguments.split,
          on_error=arguments.on_error,
          progress=advance,
        )
    except (OSError, ValueError) as error:
      problem = validation.Problem(str(error))
      reports.append(validation.Report(directory, arguments.split or '', problems=[problem]))
  comparison.compare(reports)
  problems = sum(len(report.problems) for report in reports)
  if arguments.json:
    print(json.dumps([report.to_json() for report in reports], indent=2))
  else:
    for report in reports:
      report.show(progress.CONSOLE)
    progress.CONSOLE.print(f'{problems or "No"} problem{"s" * (problems != 1)} found.')
  if problems:
    sys.exit(1)


def _stats(arguments: argparse.Namespace) -> None:
  _check_is_new(arguments.to, arguments.overwrite)
  found = dataset_statistics.compute(
    arguments.directories,
    _mapping(arguments),
    split=arguments.split,
    cache=arguments.cache,
    on_error=arguments.on_error,
    chunk=arguments.chunk,
    delta=tuple(arguments.delta),
    state_size=arguments.state_size,
    bar=_silent if arguments.json else progress.bar,
    tell=_told_aside if arguments.json else functools.partial(progress.CONSOLE.print, **_PLAIN),
  )
  normalize.write(arguments.to, found)
  if arguments.json:
    print(json.dumps(normalize.to_json(found), indent=2))
    return
  for key, stats in found.items():
    progress.CONSOLE.print(dataset_statistics.table(key, stats))
  progress.CONSOLE.print(f'Kept in {arguments.to}', soft_wrap=True)


def _told_aside(message: str) -> None:
  """Where only JSON may be printed."""
  print(message, file=sys.stderr)


def _check_is_new(path: pathlib.Path, overwrite: bool) -> None:
  if path.exists() and not overwrite:
    raise FileExistsError(f'{path} exists already; remove it or pass --overwrite.')


def _reading(
  arguments: argparse.Namespace, directory: str
) -> contextlib.AbstractContextManager[Callable[..., None]]:
  """A bar over the records of a dataset; none if JSON is all that may be printed."""
  splits = schema.read(directory).splits
  names = splits if arguments.split is None else [arguments.split]
  shards = [shard for name in names for shard in splits.get(name, []) if shard.path.exists()]
  total = sum(shard.num_records for shard in shards)
  bar = _silent if arguments.json else progress.bar
  return bar(f'Read {directory}', total, 'episodes')


@contextlib.contextmanager
def _silent(what: str, total: int | None, unit: str) -> Iterator[Callable[..., None]]:
  """A bar that is not shown."""
  del what, total, unit
  yield lambda done: None


if __name__ == '__main__':
  main()
