"""Command line of every command: a config file, overrides of its fields, a working directory.

`--config=experiments/laundry.py:sim --config.actor.lr=1e-4 --workdir=runs/laundry`. What a person
got wrong is answered with one message, before any work.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import difflib
import logging as python_logging
import pathlib
import re
import sys

from absl import app
from absl import flags
from absl import logging
import ml_collections
from ml_collections import config_flags

from aloe_jax import files
from aloe_jax import renamed
from aloe_jax import types

CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Experiment, with a variant after a colon: experiments/laundry.py:sim'
)
WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the run: checkpoints, episodes, plots')

CHOICES = {
  'sim.task': ('', 'pack_phone', 'sort_products', 'fold_laundry'),
  'sim.observation': ('objects', 'pixels'),
  'data.timeout': ('failure', 'bootstrap'),
  'data.takeover': ('failure', 'continue'),
  'data.on_error': ('raise', 'skip'),
  'data.normalization': ('quantile', 'zscore', 'none'),
  'actor.kind': ('small', 'pi05'),
  'actor.dtype': ('float32', 'bfloat16'),
  'actor.param_dtype': ('float32', 'bfloat16'),
  'actor.remat': ('none', 'full', 'dots'),
  'actor.flow_time': ('uniform', 'beta'),
  'actor.weights': ('per_phase', 'per_step'),
  'actor.beta_unit': ('sigma', 'raw'),
  'critic.ensemble': ('readouts', 'full'),
  'critic.target': ('mean', 'min', 'independent'),
  'critic.past_end': ('policy', 'mask'),
  'critic.backup': ('td', 'monte_carlo'),
  'critic.pessimism': ('min', 'mean'),
  'parallel.mode': ('pmap', 'fsdp'),
}
GYMNASIUM = (
  'gymnasium:',
  'ogbench:',
)  # what a `sim.task` beside those on the table top begins with
POSITIVE = (
    'task.chunk', 'task.execute', 'actor.flow_steps', 'actor.samples', 'actor.batch_size',
    'actor.beta', 'actor.clip', 'actor.best_of', 'critic.size', 'critic.batch_size',
    'evaluation.episodes', 'train.actor_updates_per_call',
    'train.critic_updates_per_call',
)  # fmt: skip

NOT_NEGATIVE = (
  'actor.warm_start_updates', 'actor.updates', 'critic.first_updates', 'critic.updates',
)  # fmt: skip


def run(main: Callable[[], None]) -> None:
  """Runs a command; the flags above are parsed and checked when `main` is called."""
  logging.set_verbosity(logging.WARNING)  # libraries' notes on their own work help nobody
  formatter = python_logging.Formatter('%(levelname)s: %(message)s')
  logging.get_absl_handler().setFormatter(formatter)  # without the place in the code
  app.run(lambda _: main(), flags_parser=_parse)


def get() -> ml_collections.ConfigDict:
  """The checked config of this command line."""
  config = CONFIG.value
  with user_errors():
    validate(config)
  return config


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Turns an error about what the user gave into one message and the end of the program."""
  try:
    yield
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')


def validate(config: ml_collections.ConfigDict) -> None:
  """Checks what types cannot.

  Raises:
    ValueError: naming the field, what was found and what was expected.
  """
  in_gymnasium = config.sim.task.startswith(GYMNASIUM)
  for field, expected in CHOICES.items():
    found = lookup(config, field)
    if found not in expected and not (field == 'sim.task' and in_gymnasium):
      raise ValueError(
        f'config.{field} is {found!r}; expected one of {", ".join(map(repr, expected))}.'
      )
  for path in config.data.episodes:
    if not isinstance(path, str):
      raise ValueError(
        f'config.data.episodes holds {path!r}; expected paths, as in "(\'path/to/dataset\',)".'
      )
  for source, share in config.data.ratios.items():
    if share < 0:
      raise ValueError(f'config.data.ratios.{source} is {share}; expected 0 or more.')
  for field in POSITIVE:
    if not lookup(config, field) > 0:
      raise ValueError(f'config.{field} is {lookup(config, field)}; expected more than 0.')
  for field in NOT_NEGATIVE:
    if lookup(config, field) < 0:
      raise ValueError(f'config.{field} is {lookup(config, field)}; expected 0 (skip) or more.')
  if not 0 < config.discount < 1:
    raise ValueError(f'config.discount is {config.discount}; expected between 0 and 1.')
  chunk, execute, horizon = config.task.chunk, config.task.execute, config.critic.horizon
  if execute > chunk:
    raise ValueError(f'config.task.execute is {execute}, more than the chunk of {chunk} steps.')
  if not 0 <= horizon <= chunk:
    raise ValueError(
      f'config.critic.horizon is {horizon}; expected 0 (the whole chunk) to {chunk} steps.'
    )
  if config.critic.width % config.critic.heads:
    raise ValueError(
      f'config.critic.heads is {config.critic.heads}, which does not divide the width of '
      f'{config.critic.width}.'
    )
  unknown = set(config.task.cameras) - set(types.CAMERAS)
  if unknown or not config.task.cameras:
    raise ValueError(
      f'config.task.cameras is {tuple(config.task.cameras)}; expected some of {types.CAMERAS}.'
    )
  if in_gymnasium:
    _validate_world(config)
  (_validate_pi05 if config.actor.kind == 'pi05' else _validate_small)(config)


def _validate_world(config: ml_collections.ConfigDict) -> None:
  if config.sim.observation == 'pixels' or config.actor.kind == 'pi05':
    raise ValueError(
      f'config.sim.task is {config.sim.task!r}, whose states are read and not its images; '
      "expected config.sim.observation='objects' and config.actor.kind='small'."
    )
  if config.task.max_steps <= 0:
    raise ValueError(
      f'config.task.max_steps is {config.task.max_steps}; expected the steps after which an '
      f'episode of {config.sim.task!r} times out.'
    )


def _validate_small(config: ml_collections.ConfigDict) -> None:
  chunk, shared = config.task.chunk, config.actor.small.steps_per_token
  if chunk % shared:
    raise ValueError(
      f'config.actor.small.steps_per_token is {shared}, which does not divide the chunk of '
      f'{chunk} steps.'
    )
  if config.actor.augment:
    raise ValueError('config.actor.augment is True, but the small actor sees no images.')


def _validate_pi05(config: ml_collections.ConfigDict) -> None:
  actor, task = config.actor, config.task
  if actor.image_size % actor.vision.patch:
    raise ValueError(
      f'config.actor.image_size is {actor.image_size} pixels; expected a multiple of the patch '
      f'of {actor.vision.patch}.'
    )
  if task.action_size > actor.action_size:
    raise ValueError(
      f'config.task.action_size is {task.action_size}, more than the {actor.action_size} that '
      'config.actor.action_size has room for.'
    )
  for width, heads, name in (
    (actor.vision.width, actor.vision.heads, 'vision.heads'),
    (actor.language.heads, actor.language.kv_heads, 'language.kv_heads'),
  ):
    if width % heads:
      raise ValueError(f'config.actor.{name} is {heads}, which does not divide {width}.')
  if actor.language.heads == actor.language.kv_heads:
    raise ValueError(
      f'config.actor.language has {actor.language.heads} heads and as many kv_heads; published '
      'weights of that kind have other names, expected fewer kv_heads.'
    )


def lookup(config: ml_collections.ConfigDict, field: str):
  """The value of a dotted field such as 'actor.lr'."""
  for name in field.split('.'):
    config = config[name]
  return config


def differences(found: dict, expected: dict, prefix: str = '') -> list[str]:
  """Lines 'field: found, expected' for every leaf that differs between two nested dicts."""
  lines = []
  for name in sorted(found.keys() | expected.keys()):
    a, b = found.get(name), expected.get(name)
    if isinstance(a, dict) and isinstance(b, dict):
      lines += differences(a, b, f'{prefix}{name}.')
    elif a != b:
      lines.append(f'{prefix}{name}: {a!r}, expected {b!r}')
  return lines


def keep(config: ml_collections.ConfigDict, path: pathlib.Path) -> None:
  """Writes the config of a run as JSON."""
  files.write_text(path, config.to_json(indent=2, sort_keys=True))


def _config_argument(argv: Sequence[str]) -> str:
  """What a command line gives to --config, or ''."""
  match = re.search(r'^--?config[=\n](.*)', '\n'.join(argv), re.MULTILINE)
  return match[1] if match else ''


def _check_file(argument: str) -> None:
  """Refuses a --config that is no file with an experiment, naming the nearest one."""
  path = pathlib.Path(argument.partition(':')[0])
  if path.suffix == '.py' and path.is_file() and 'get_config' in path.read_text():
    return
  others = [str(other) for other in path.parent.glob('*.py') if other != path]
  close = difflib.get_close_matches(str(path), others, n=1, cutoff=0.8)
  hint = f'did you mean {close[0]}?' if close else 'expected one such as experiments/laundry.py.'
  raise ValueError(f'--config names {path}, which is no file with an experiment; {hint}')


def _unknown_field(argv: Sequence[str], error: Exception) -> str:
  """What to say of the first override on the command line whose field does not exist."""
  known = _fields(flags.FLAGS['config'].parser.parse(_config_argument(argv)))
  for argument in argv[1:]:
    match = re.match(r'--?(?:no)?config\.([^=]+)', argument)
    if match and match[1] not in known:
      close = difflib.get_close_matches(match[1], known, n=1, cutoff=0.0)
      return f'config.{match[1]} is not a field of this config; did you mean config.{close[0]}?'
  raise error


def _said_by_config_file(error: Exception) -> str:
  """The message of an error, or of the one in the config file that led to it."""
  root: BaseException = error
  while root.__context__ is not None:
    root = root.__context__
  return str(root) if 'parsing config file' in str(error) else str(error)


def _with_todays_name(argument: str) -> str:
  """An override by the old name of its field, with the new one; says so."""
  match = re.match(r'(--?(?:no)?config\.)([^=]+)(.*)', argument, re.DOTALL)
  if match is None or match[2] not in renamed.FIELDS:
    return argument
  new = renamed.FIELDS[match[2]]
  logging.warning('config.%s is called config.%s now.', match[2], new)
  return f'{match[1]}{new}{match[3]}'


def _fields(config: ml_collections.ConfigDict, prefix: str = '') -> list[str]:
  """Dotted names of all leaves."""
  names = []
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      names += _fields(value, f'{prefix}{name}.')
    else:
      names.append(f'{prefix}{name}')
  return names


def _parse(argv: Sequence[str]) -> Sequence[str]:
  """Parses flags; a bad one ends the program with status 2 and one message."""
  try:
    if argument := _config_argument(argv):
      _check_file(argument)
    rest = flags.FLAGS([_with_todays_name(argument) for argument in argv])
    if len(rest) > 1:
      raise ValueError(f'unexpected argument {rest[1]!r}; every option begins with --.')
    for flag in ('config', 'workdir'):
      if not getattr(flags.FLAGS, flag):
        raise ValueError(f'--{flag} is missing; see --help.')
  except (AttributeError, KeyError) as error:
    message = _unknown_field(argv, error)
  except (flags.Error, ValueError, OSError) as error:
    message = _said_by_config_file(error)
  else:
    return rest
  sys.stderr.write(f'error: {message}\n')
  sys.exit(2)
