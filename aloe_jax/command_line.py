"""Command lines: a working directory, a config file, overrides of its fields, a command's options.

`python -m aloe_jax.train --config=experiments/laundry.py:sim --config.actor.lr=1e-4
--workdir=runs/laundry`. What a person got wrong is answered with one message, before any work.
"""

import argparse
from collections.abc import Callable, Collection, Iterator, Sequence
import contextlib
import dataclasses
import difflib
import importlib.util
import inspect
import logging as python_logging
import pathlib
import re
import sys
from typing import Any, NoReturn

from absl import app
from absl import flags
from absl import logging
import ml_collections
from ml_collections import config_flags

from aloe_jax import closing
from aloe_jax import config as config_lib
from aloe_jax import disk
from aloe_jax import faults
from aloe_jax import files
from aloe_jax import renamed
from aloe_jax import stopping
from aloe_jax.buckets import storage
from aloe_jax.parallel import watch

EPILOG = (
  'Any field of the config is set by --config.FIELD=VALUE, as in --config.critic.lr=1e-4. What\n'
  'the fields are and mean is in aloe_jax/defaults.py, what those of a run are in its config.json.'
)
SYNONYMS = {  # what others call fields
  'action_horizon': 'chunk',
  'batch': 'batch_size',
  'chunk_size': 'chunk',
  'ckpt': 'checkpoint',
  'ema_decay': 'ema',
  'ensemble_size': 'size',
  'gamma': 'discount',
  'horizon': 'chunk',
  'learning_rate': 'lr',
  'num_samples': 'samples',
  'num_steps': 'updates',
  'steps': 'updates',
  'tau': 'polyak',
  'temperature': 'beta',
  'warmup_steps': 'warmup',
}


@dataclasses.dataclass(frozen=True)
class Given:
  """A command line.

  Attributes:
    options: of the command, under their names.
    file: what --config names, or ''.
    overrides: the arguments about single fields, as they were given.
    here: the directory that stands for a --workdir in a bucket; None where there is none.
  """

  options: argparse.Namespace
  file: str
  overrides: tuple[str, ...]
  here: pathlib.Path | None = None

  @property
  def workdir(self) -> pathlib.Path:
    """Directory of the run, here."""
    return self.here or pathlib.Path(self.options.workdir)

  @property
  def where(self) -> str:
    """Where the run lies: `workdir`, or a place in a bucket."""
    return self.options.workdir


def run(main: Callable[[], None]) -> None:
  """Runs a command."""
  logging.set_verbosity(logging.WARNING)  # libraries' notes on their own work help nobody
  formatter = python_logging.Formatter('%(levelname)s: %(message)s')
  logging.get_absl_handler().setFormatter(formatter)  # without the place in the code
  try:
    app.run(lambda _: watch.together(closing.command()(main)), argv=sys.argv[:1])
  except KeyboardInterrupt as stopped:
    stopping.end(stopped)
  except Exception as error:
    if message := disk.told(error) or faults.refused(error):
      sys.exit(f'error: {message}')
    raise


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
  """The options that every command has; it adds its own.

  Args:
    name: of the module that is run.
    description: its docstring, of which --help shows what stands before the second heading.
  """
  shown = '\n\n'.join((description or '').strip().split('\n\n')[:2])
  made = _Parser(
    prog=f'python -m {name}',
    description=shown,
    epilog=EPILOG,
    formatter_class=_Formatter,
    allow_abbrev=False,
    usage=f'python -m {name} --workdir=DIR [--config=FILE] [--config.FIELD=VALUE] [options]',
  )
  made.add_argument('--workdir', metavar='DIR', help='of the run: checkpoints, episodes, plots')
  made.add_argument(
    '--config',
    metavar='FILE',
    help='experiment, with a variant after a colon, as in experiments/laundry.py:sim; a run that '
    'is there already knows its own',
  )
  return made


class _Parser(argparse.ArgumentParser):
  """Raises what the standard library's prints."""

  def error(self, message: str) -> NoReturn:
    raise ValueError(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
  """Help for a screen of 100 columns."""

  def __init__(self, prog: str):
    super().__init__(prog, max_help_position=28, width=100)


def parse(
  options: argparse.ArgumentParser,
  argv: Sequence[str] | None = None,
  *,
  instead: Callable[[argparse.Namespace], str] | None = None,
) -> Given:
  """Reads a command line; a wrong one ends the program with status 2 and one message.

  Args:
    options: from `parser`.
    argv: by default the program's.
    instead: tells of the options what stands for a --workdir that is not given; '' for nothing.
  """
  about, others = _split(sys.argv[1:] if argv is None else argv)
  with usage_errors():
    read, unknown = options.parse_known_args([a for a in about if _is_file(a)] + others)
    if unknown:
      raise ValueError(_unknown_option(unknown[0], [f'--{name}' for name in vars(read)]))
    if not read.workdir and instead is not None:
      read.workdir = instead(read)
    if not read.workdir:
      raise ValueError('--workdir is missing; see --help.')
    for name, value in vars(read).items():
      setattr(read, name, files.expanded(value))
    for name in ('workdir', 'checkpoint', 'against', 'to'):
      if files.is_url(value := getattr(read, name, None) or ''):
        storage.check_url(value, f'--{name}')
    return Given(read, read.config or '', tuple(a for a in about if not _is_file(a)))


def config(given: Given) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
  """The config of a command line's file, and {field: value} of what it changes about it."""
  with usage_errors():
    if not given.file:
      raise ValueError(
        f'--config is missing, and {given.where} holds no run, which would know its own; see '
        '--help.'
      )
    made = load(given.file)
    before = config_lib.flat(made)
    overrides = override(made, given.overrides)
  with config_lib.user_errors():
    config_lib.validate(made)
  return made, {field: x for field, x in overrides.items() if x != before[field]}


def load(file: str) -> ml_collections.ConfigDict:
  """The config of `experiments/laundry.py:sim`, a file and the argument of its `get_config`.

  Raises:
    ValueError: there is no such file or variant, and the nearest file; or what is wrong in it.
  """
  name, _, variant = file.partition(':')
  path = pathlib.Path(name)
  if path.suffix != '.py' or not path.is_file() or b'get_config' not in path.read_bytes():
    others = [str(other) for other in path.parent.glob('*.py') if other != path]
    close = difflib.get_close_matches(str(path), others, n=1, cutoff=0.8)
    hint = f'did you mean {close[0]}?' if close else 'expected one such as experiments/laundry.py.'
    raise ValueError(f'--config names {path}, which is no file with an experiment; {hint}')
  get_config = _get_config(path)
  arguments = [variant] if variant else []
  try:
    inspect.signature(get_config).bind(*arguments)
  except TypeError as error:
    found = f'the variant {variant!r}' if variant else 'no variant'
    raise ValueError(
      f'--config names {path} with {found}, but its get_config{inspect.signature(get_config)} does '
      f'not go with that; expected {path}{"" if variant else ":VARIANT"}.'
    ) from error
  try:
    config = get_config(*arguments)
  except ValueError as error:  # speaks to whoever gave the command line, as of an unknown variant
    raise ValueError(f'{error} (get_config of {path})') from error
  except (Exception, SystemExit) as error:  # whatever a person's file does
    raise ValueError(
      f'--config names {path}, whose get_config ends with {faults.told(error)}; mend it.'
    ) from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise ValueError(
      f'--config names {path}, whose get_config returns {type(config).__name__}; expected the '
      'ml_collections.ConfigDict of an experiment: is there a return?'
    )
  config_lib.check_fields(config, name)
  config_lib.expand(config)
  return config


def _get_config(path: pathlib.Path) -> Callable[..., Any]:
  """The function of that name of a config file; a ValueError where there is none to be had."""
  spec = importlib.util.spec_from_file_location('experiment_of_the_command_line', path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  _make_its_package_known(path)
  try:
    spec.loader.exec_module(module)
  except (Exception, SystemExit) as error:  # whatever a person's file does
    raise ValueError(
      f'--config names {path}, which cannot be read: {faults.told(error)}; mend it.'
    ) from error
  found = getattr(module, 'get_config', None)
  if not callable(found):
    raise ValueError(
      f'--config names {path}, which holds {found!r} as get_config; expected a function that '
      'returns the config.'
    )
  return found


def _make_its_package_known(path: pathlib.Path) -> None:
  """Lets an experiment import its neighbours (`from experiments import common`) from anywhere.

  `python -m` looks in the working directory alone, so that it would work in the clone only.
  """
  folder = path.absolute().parent
  while (folder / '__init__.py').is_file():
    folder = folder.parent
  if folder != path.absolute().parent and str(folder) not in sys.path:
    sys.path.append(str(folder))


def override(config: ml_collections.ConfigDict, overrides: Sequence[str]) -> dict[str, Any]:
  """Sets fields of a config as the command line says.

  Args:
    config: is changed.
    overrides: see `Given`.

  Returns:
    {field: value} of all that the command line names.

  Raises:
    ValueError: naming a field that there is not, with the nearest one, or a value of another type.
  """
  argv = ['', *map(_with_todays_name, overrides)]
  known = config_lib.flat(config)
  for argument in argv[1:]:
    match = re.match(r'--(?:no)?config\.([^=]+)', argument)
    if match and match[1] not in known:
      raise ValueError(f'config.{match[1]} is not a field of this config{_hint(match[1], known)}')
  values = flags.FlagValues()  # of its own: whoever imports this defines no flag
  config_flags.DEFINE_config_dict('config', config, flag_values=values, sys_argv=argv)
  try:
    rest = values(argv)
  except flags.Error as error:
    raise ValueError(str(error)) from error
  if len(rest) > 1:
    raise ValueError(f'unexpected argument {rest[1]!r}; every option begins with --.')
  config_lib.expand(config)
  given = config_lib.flat(values['config'].override_values)
  return {field: config_lib.lookup(config, field) for field in given}


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
  """Turns an error about the command line into one message and status 2."""
  try:
    yield
  except (ValueError, OSError) as error:
    message = f'error: {disk.told(error) or error}'
    sys.stderr.write(f'{message}\n')
    ended = SystemExit(2)
    ended.add_note(message)  # for the other hosts, where there are any
    raise ended from error


def nearest(field: str, known: Collection[str]) -> str:
  """The field that was probably meant, or ''.

  A name that others use counts first, then what is alike in the same section, then in all.
  """
  section, _, leaf = field.rpartition('.')
  other_name = SYNONYMS.get(leaf, leaf)
  if f'{section}.{other_name}' in known:
    return f'{section}.{other_name}'
  for name in (leaf, other_name):
    alike = [other for other in known if other.rpartition('.')[2] == name]
    if len(alike) == 1 or (alike and difflib.get_close_matches(field, alike, n=1)):
      return max(alike, key=lambda other: difflib.SequenceMatcher(None, field, other).ratio())
  near = {other.rpartition('.')[2]: other for other in known if other.rpartition('.')[0] == section}
  if close := difflib.get_close_matches(leaf, near, n=1, cutoff=0.6):
    return near[close[0]]
  return next(iter(difflib.get_close_matches(field, known, n=1, cutoff=0.75)), '')


def _hint(field: str, known: Collection[str]) -> str:
  found = nearest(field, known)
  return f'; did you mean config.{found}?' if found else '; aloe_jax/defaults.py has all of them.'


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Arguments about the config, and the others; a value stays with the option that it follows."""
  about: list[str] = []
  others: list[str] = []
  target = others
  for argument in argv:
    if re.match(r'--?(no)?config([.=]|$)', argument):
      target, argument = about, re.sub('^--?', '--', argument)
    elif argument.startswith('-') and not re.match(r'-[\d.]', argument):
      target = others
    if target is about and about and about[-1] == '--config':
      about[-1] += f'={argument}'
    else:
      target.append(argument)
  return about, others


def _is_file(argument: str) -> bool:
  """Whether an argument about the config names its file."""
  return re.match(r'--config(=|$)', argument) is not None


def _unknown_option(argument: str, known: Sequence[str]) -> str:
  if not argument.startswith('-'):
    return f'unexpected argument {argument!r}; every option begins with --.'
  name = argument.partition('=')[0]
  close = difflib.get_close_matches(name, known, n=1)
  return f'there is no option {name}; {f"did you mean {close[0]}?" if close else "see --help."}'


def _with_todays_name(argument: str) -> str:
  """An override by the old name of its field, with the new one; says so."""
  match = re.match(r'(--(?:no)?config\.)([^=]+)(.*)', argument, re.DOTALL)
  if match is None or match[2] not in renamed.FIELDS:
    return argument
  new = renamed.FIELDS[match[2]]
  logging.warning('config.%s is called config.%s now.', match[2], new)
  return f'{match[1]}{new}{match[3]}'
