"""What a config may say, and how it is kept: the values of its fields, checked and as JSON."""

from collections.abc import Iterator, Mapping
import contextlib
import json
import math
import pathlib
import sys
from typing import Any

import ml_collections

from aloe_jax import defaults
from aloe_jax import disk
from aloe_jax import files
from aloe_jax import ranges
from aloe_jax import renamed
from aloe_jax import types
from aloe_jax.buckets import storage
from aloe_jax.buckets import twin

CHOICES = {
  'sim.task': ('', 'pack_phone', 'sort_products', 'fold_laundry'),
  'sim.observation': ('objects', 'pixels'),
  'data.timeout': ('failure', 'bootstrap'),
  'data.takeover': ('failure', 'continue'),
  'data.on_error': ('raise', 'skip'),
  'data.rates': ('same', 'any'),
  'data.mapping.last_action': ('auto', 'keep', 'drop'),
  'data.normalization': ('quantile', 'zscore', 'none'),
  'data.check_statistics': ('stop', 'warn'),
  'actor.kind': ('small', 'pi05'),
  'actor.dtype': ('float32', 'bfloat16'),
  'actor.param_dtype': ('float32', 'bfloat16'),
  'actor.frozen_dtype': ('float32', 'bfloat16'),
  'actor.remat': ('none', 'full', 'dots'),
  'actor.flow_time': ('uniform', 'beta'),
  'actor.rule': ('measured', 'paper'),
  'actor.weights': ('per_phase', 'per_step'),
  'actor.beta_unit': ('sigma', 'raw'),
  'critic.ensemble': ('readouts', 'full'),
  'critic.target': ('mean', 'min', 'independent'),
  'critic.past_end': ('executed', 'policy', 'mask'),
  'critic.backup': ('td', 'corrected', 'monte_carlo'),
  'critic.pessimism': ('min', 'mean'),
  'parallel.mode': ('pmap', 'fsdp'),
}
# Of `task`: what the data of a robot, or a simulator, tell where it is 0 or ().
OF_THE_DATA = ('proprio_size', 'action_size', 'cameras', 'control_hz')
HORIZONS = ('chunk', 'execute')  # names of `critic.horizon`, which may be a number of steps too
PATHS = (  # `~` in them is the home of who runs this; those but the first are files here
  'data.episodes', 'data.cache', 'data.norm_stats', 'actor.checkpoint', 'actor.tokenizer',
  'critic.encoder', 'train.compile_cache',
)  # fmt: skip
GYMNASIUM = (
  'gymnasium:',
  'ogbench:',
  'metaworld:',
  'gym_aloha:',
)  # what a `sim.task` beside those on the table top begins with
_VERSION = 'version'  # beside the fields of a config that is kept


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Turns an error about what the user gave into one message and the end of the program."""
  try:
    yield
  except (ValueError, OSError) as error:
    sys.exit(f'error: {disk.told(error) or twin.told(str(error))}')


def expand(config: ml_collections.ConfigDict) -> None:
  """Puts the home of who runs this in the place of `~` in all paths, and today's words for old."""
  config.critic.horizon = renamed.horizon(config.critic.horizon)
  paths = {field: lookup(config, field) for field in PATHS}
  config.update_from_flattened_dict(
    {field: new for field, old in paths.items() if (new := files.expanded(old)) != old}
  )


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
  for field in PATHS[1:]:
    path = lookup(config, field)
    if field == 'actor.checkpoint' and files.is_url(path) and '.npz' not in path:
      storage.check_url(path, f'config.{field}')
    else:
      files.check_is_here(path, f'config.{field}')
  ranges.check(flat(config))
  if config.sim.task and config.iterations and config.sim.rollouts == 0:
    raise ValueError(
      'config.sim.rollouts is 0; expected the episodes that the policy plays in every iteration. '
      'A run that has iterations learns on without playing by `train --more=critic,actor`.'
    )
  if config.sim.task and config.task.demonstrations and config.sim.attempts == 0:
    raise ValueError(
      'config.sim.attempts is 0; expected the demonstrations that are tried at a time.'
    )
  chunk, execute = config.task.chunk, config.task.execute
  if execute > chunk:
    raise ValueError(f'config.task.execute is {execute}, more than the chunk of {chunk} steps.')
  _validate_horizon(config.critic.horizon, chunk)
  _validate_corrected(config)
  if config.critic.width % config.critic.heads:
    raise ValueError(
      f'config.critic.heads is {config.critic.heads}, which does not divide the width of '
      f'{config.critic.width}.'
    )
  _validate_delta(config.task)
  cameras = [camera for camera in types.CAMERAS if camera in config.task.cameras]
  if len(cameras) != len(config.task.cameras):
    raise ValueError(
      f'config.task.cameras is {tuple(config.task.cameras)}; expected some of {types.CAMERAS}.'
    )
  if in_gymnasium:
    _validate_world(config)
  (_validate_pi05 if config.actor.kind == 'pi05' else _validate_small)(config)


def _validate_horizon(horizon: Any, chunk: int) -> None:
  if type(horizon) is int and 0 <= horizon <= chunk:  # 0 is what 'chunk' was called once
    return
  if horizon not in HORIZONS:
    raise ValueError(
      f'config.critic.horizon is {horizon!r}; expected {HORIZONS[0]!r} (the whole chunk), '
      f'{HORIZONS[1]!r} (the steps that are played before the next plan), or a number of steps, 1 '
      f'to {chunk}.'
    )


def critic_horizon(config: ml_collections.ConfigDict) -> int:
  """Steps that the critic reads."""
  names = {'chunk': config.task.chunk, 'execute': config.task.execute}
  return names.get(config.critic.horizon, config.critic.horizon) or config.task.chunk


def _validate_corrected(config: ml_collections.ConfigDict) -> None:
  chunk, reads = config.task.chunk, critic_horizon(config)
  if config.critic.backup == 'corrected' and chunk % reads:
    raise ValueError(
      f"config.critic.backup is 'corrected', whose targets span the chunk of {chunk} steps, but "
      f'the critic reads {reads}, which does not divide it; expected another config.critic.horizon.'
    )


def _validate_delta(task: ml_collections.ConfigDict) -> None:
  covered = sum(map(abs, task.delta))
  for field, what in (('action_size', 'an action'), ('proprio_size', 'the state')):
    found = task[field]
    if found and covered > found:
      arms = {14: '(6,-1,6,-1)', 7: '(6,-1)'}
      example = arms.get(found, f'({found - 1},-1)')
      raise ValueError(
        f'config.task.delta is {tuple(task.delta)}, which covers {covered} numbers, but {what} has '
        f'{found} (config.task.{field}, or the data); say which of them are relative to the state, '
        f'such as --config.task.delta="{example}" for all but a gripper at the end, or "()" for '
        'none.'
      )


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
      f'{chunk} steps; set a divisor of it, such as '
      f'--config.actor.small.steps_per_token={math.gcd(chunk, shared)}.'
    )
  if config.actor.augment:
    raise ValueError(
      'config.actor.augment is True, but the small actor learns from images as they are.'
    )


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
      'config.actor.action_size has room for; choose those that move the robot, as with '
      f"--config.data.mapping.action='action[0:{actor.action_size}]'."
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


def lookup(config: ml_collections.ConfigDict, field: str) -> Any:
  """The value of a dotted field such as 'actor.lr'."""
  for name in field.split('.'):
    config = config[name]
  return config


def differences(there: dict, here: dict, prefix: str = '') -> list[str]:
  """Lines 'field: x there, y here' for every leaf that differs between two nested dicts."""
  lines = []
  for name in sorted(there.keys() | here.keys()):
    a, b = there.get(name), here.get(name)
    if isinstance(a, dict) and isinstance(b, dict):
      lines += differences(a, b, f'{prefix}{name}.')
    elif a != b:
      lines.append(f'{prefix}{name}: {a!r} there, {b!r} here')
  return lines


def flat(config: Mapping[str, Any] | ml_collections.ConfigDict, prefix: str = '') -> dict[str, Any]:
  """{dotted name: value} of all leaves."""
  leaves: dict[str, Any] = {}
  for name, value in config.items():
    if isinstance(value, Mapping | ml_collections.ConfigDict):
      leaves |= flat(value, f'{prefix}{name}.')
    else:
      leaves[f'{prefix}{name}'] = value
  return leaves


def to_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """A config as it is kept: of JSON's types, and with the version that its values are of."""
  return json.loads(config.to_json()) | {_VERSION: renamed.VERSION}


def keep(config: ml_collections.ConfigDict, path: pathlib.Path) -> None:
  """Writes the config of a run as JSON.

  Where there is one of a time without versions, the new one says none either: the command that
  began the run may use words of that time, and goes on to mean what it meant.
  """
  tree = to_json(config)
  if path.exists() and is_of_old(read_tree(path)):
    del tree[_VERSION]
  files.write_text(path, json.dumps(tree, indent=2, sort_keys=True))


def read(path: pathlib.Path) -> ml_collections.ConfigDict:
  """The config that `keep` wrote; raises what `from_json` does."""
  return from_json(read_tree(path), str(path))


def read_tree(path: pathlib.Path) -> dict[str, Any]:
  """What `from_json` takes, of the file that `keep` wrote; raises ValueError of what is no such."""
  advice = 'move it away, and the config that the newest checkpoint keeps is used.'
  tree = files.read_json(path, advice)
  if not isinstance(tree, dict):
    raise ValueError(
      f'{path}: found {type(tree).__name__}, expected the fields of a config; {advice}'
    )
  return tree


def is_of_old(tree: Mapping[str, Any]) -> bool:
  """Whether a kept config says no version: some values are called otherwise now."""
  return _VERSION not in tree


def from_json(tree: Mapping[str, Any], where: str) -> ml_collections.ConfigDict:
  """A config as it was before it was made JSON of, which knows lists and no tuples.

  Args:
    tree: of today's names or older ones; fields that are newer than it get the value that means
      what was done before they were there.
    where: it lies, for messages.

  Raises:
    ValueError: naming fields that are not known, that are missing or that are of another type.
  """
  leaves = {
    field: tuple(value) if type(value) is list else value
    for field, value in (renamed.ADDED | flat(renamed.fields(tree))).items()
    if field != _VERSION
  }
  if is_of_old(tree):
    leaves = {field: renamed.value(field, value) for field, value in leaves.items()}
  if 'critic.horizon' in leaves:
    leaves['critic.horizon'] = renamed.horizon(leaves['critic.horizon'])
  check_fields(leaves, where)
  config = defaults.paper()
  own = {field: value for field, value in leaves.items() if field.partition('.')[0] not in config}
  config.update(ml_collections.ConfigDict(_nested(own)))
  for field, value in leaves.items():
    default = lookup(config, field)
    try:
      # What a ConfigDict takes for any value and for a number: null, and true.
      if (value is None) != (default is None) or isinstance(value, bool) != isinstance(
        default, bool
      ):
        raise TypeError
      config.update_from_flattened_dict({field: value})
    except TypeError:
      expected = type(default).__name__
      raise ValueError(f'{where}: {field} is {value!r}; expected a value of {expected}.') from None
  return config


def check_fields(config: Mapping[str, Any] | ml_collections.ConfigDict, where: str) -> None:
  """Compares the fields of a config with those that there are.

  The numbers of an agent of one's own, which `config.agent` names as 'module:VARIABLE', are in
  sections that only it knows.

  Raises:
    ValueError: naming those that are not known or that are missing.
  """
  leaves, paper = flat(config), defaults.paper()
  found, known = leaves.keys(), flat(paper).keys()
  unknown = sorted(found - known)
  if ':' in str(leaves.get('agent')):
    unknown = [field for field in unknown if field.partition('.')[0] in paper]
  if unknown:
    raise ValueError(
      f'{where}: {", ".join(unknown)}: no such field; if a newer version of this project has '
      'written it, use that one.'
    )
  if missing := sorted(known - found):
    raise ValueError(
      f'{where}: {", ".join(missing)}: missing; expected every field of aloe_jax/defaults.py. If '
      'an older version of this project has written it, use that one.'
    )


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """The nested dictionary of {dotted name: value}."""
  tree: dict[str, Any] = {}
  for field, value in leaves.items():
    *sections, leaf = field.split('.')
    place = tree
    for section in sections:
      place = place.setdefault(section, {})
    place[leaf] = value
  return tree
