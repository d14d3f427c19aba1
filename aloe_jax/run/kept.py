"""The config that a run keeps, and what of it the command line of a command may say anew.

A command starts from what the run keeps. What decided what was learnt stays as it was, and a
command line that says something else is refused; what is still to be done, and how, may be changed.
"""

from collections.abc import Mapping, Sequence
import copy
import dataclasses
import os
import pathlib
from typing import Any

from absl import logging
import ml_collections

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax import renamed
from aloe_jax.buckets import twin
from aloe_jax.data import manifest
from aloe_jax.run import appended
from aloe_jax.run import appending
from aloe_jax.run import changeable
from aloe_jax.run import checkpoints
from aloe_jax.run import edited
from aloe_jax.run import plan as plan_lib
from aloe_jax.run import unfinished
from aloe_jax.run import unheeded


@dataclasses.dataclass(frozen=True)
class _Found:
  """The config of a run.

  Attributes:
    config: in today's words.
    where: the run or the checkpoint that it is of.
    is_old: it is of a time whose words were others, see `config.is_of_old`.
  """

  config: ml_collections.ConfigDict
  where: str
  is_old: bool


def config(
  given: command_line.Given, command: str, checkpoint: str | None = None
) -> ml_collections.ConfigDict:
  """The checked config of a command: the run's own, or of a run that is to begin the file's.

  What is wrong ends the program with one message.

  Args:
    given: the command line.
    command: one of `changeable.COMMANDS`.
    checkpoint: that is asked for by its path; its run counts, and not that of the workdir.
  """
  asked = appended.asked(given.options)
  with config_lib.user_errors():
    _check_directory(given.workdir, writes=command != 'export')
    found, told = _find(given.workdir, checkpoint), []
    if found is None:
      if asked:
        raise ValueError(
          f'--{asked} is of a run that has learnt something, and {given.workdir} holds none; leave '
          'it out to begin one.'
        )
      made, changed = command_line.config(given)
    else:
      if checkpoint is None:
        told = _check_kept(found, given.workdir, asked)
      made, changed = _of_run(given, changeable.COMMANDS[command], found, command, asked)
    if found is None or 'data.episodes' in changed:
      _check_given_once(made.data.episodes)
    config_lib.validate(made)
    ignored = unheeded.settings(made, changed)
  for line in ignored:
    logging.warning('%s', line)
  for line in told if command == 'train' else ():
    progress.CONSOLE.print(line, highlight=False, soft_wrap=True)
  if found is not None and found.is_old:
    _tell_renamed(made)
  return made


def keep(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Writes the config that a run goes on with, and says what it changes: here it becomes true."""
  path = workdir / 'config.json'
  before = config_lib.flat(config_lib.read(path)) if path.exists() else {}
  config_lib.keep(config, path)
  for field, value in config_lib.flat(config_lib.read(path)).items():
    # Which datasets are new, and which moved, is told elsewhere.
    if field != 'data.episodes' and value != before.get(field, value):
      progress.CONSOLE.print(
        f'From here on {field} = {value!r}; it was {before[field]!r}.',
        highlight=False,
        soft_wrap=True,
      )


def _tell_renamed(config: ml_collections.ConfigDict) -> None:
  """Says which values of a run that an earlier version began have another name by now."""
  for field, names in renamed.VALUES.items():
    for old, new in names.items():
      if config_lib.lookup(config, field) == new:
        progress.CONSOLE.print(
          f'{field} = {new!r}: what the version that began this run called {old!r}.'
        )


def _check_given_once(episodes: Sequence[str]) -> None:
  """Refuses a dataset that is there twice, under whatever name: its episodes would count double."""
  seen: dict[str, str] = {}
  for path in episodes:
    place = path if files.is_url(path) else os.path.realpath(path)
    if place in seen:
      raise ValueError(
        f'config.data.episodes holds {path} twice{_also(path, seen[place])}, so that its episodes '
        'would count double; leave one out.'
      )
    seen[place] = path


def _also(path: str, other: str) -> str:
  return '' if path == other else f' (as {other} too)'


def _check_directory(workdir: pathlib.Path, *, writes: bool) -> None:
  """Raises unless the working directory, or the first above it that exists, can be used."""
  place = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
  if not place.is_dir():
    raise NotADirectoryError(
      f'--workdir names {workdir}, but {place} is a file; expected a directory.'
    )
  if writes and not os.access(place, os.W_OK):
    raise PermissionError(
      f'--workdir names {workdir}, but nothing can be written to {place}; choose another one.'
    )


def _find(workdir: pathlib.Path, checkpoint: str | None) -> _Found | None:
  """The config of a run; None where there is no run, or one that keeps none.

  Raises:
    FileNotFoundError: there is no such checkpoint.
    ValueError: the config cannot be read.
  """
  path = files.place(checkpoint) if checkpoint else None
  if path is None:
    if (workdir / 'config.json').exists():
      tree = config_lib.read_tree(workdir / 'config.json')
      made = config_lib.from_json(tree, twin.shown(workdir / 'config.json'))
      return _Found(made, twin.shown(workdir), config_lib.is_of_old(tree))
    written = checkpoints.Checkpoints(workdir / 'checkpoints')
    if written.latest() is None:
      return None
    path = written.newest()
  kept = checkpoints.read_meta(path).get('config')
  if kept is not None:
    made = config_lib.from_json(kept, str(path))
    return _Found(made, str(path), config_lib.is_of_old(kept))
  return None if checkpoint is None else _find(workdir, None)


def _check_kept(found: _Found, workdir: pathlib.Path, asked: str) -> list[str]:
  """What differs from what was learnt; ValueError where no command can have changed that."""
  free = _free(workdir, {}, asked)
  if asked or appended.read(workdir):  # for which they may have been changed
    free += tuple(name for names in changeable.AGAIN.values() for name in names)

  def may_differ(field: str, before: Any, after: Any) -> bool:
    by_train = changeable.COMMANDS['train']
    return changeable.is_in(field, free) or _may_change(field, before, after, by_train)

  return edited.check(found.config, workdir, may_differ)


def _of_run(
  given: command_line.Given,
  fields: changeable.Fields,
  found: _Found,
  command: str,
  asked: str,
) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
  """The config of the run, and {field: value} of what the command line changes about it.

  Where the run is of a time without versions, the command line may use the words of that time.
  What is learnt once more, see `appended.asked`, may be learnt otherwise.
  """
  had, made = config_lib.flat(found.config), copy.deepcopy(found.config)
  with command_line.usage_errors():
    overrides = command_line.override(made, given.overrides)
    said = config_lib.flat(command_line.load(given.file)) if given.file else {}
  of_data = {f'task.{field}' for field in config_lib.OF_THE_DATA}

  def is_as_before(field: str, x: Any) -> bool:
    """Whether a value says what the run has; 0 and () leave it to the data, which said that."""
    said_then = found.is_old and renamed.value(field, x) == had[field]
    return _is_same(field, x, had[field]) or said_then or (field in of_data and not x)

  changed = {field: x for field, x in overrides.items() if not is_as_before(field, x)}
  for field in changed:
    if changeable.is_in(field, fields.idle):
      raise ValueError(f'config.{field} does nothing in `{command}`; leave it out.')
  again, pending, is_played = '', None, bool(had['sim.task'])
  if command == 'train':
    again = asked if appending.check(asked, given.workdir, is_played=is_played) else ''
    pending = appending.pending(given.workdir, is_played=is_played)
  free = _free(given.workdir, changed, again) if command == 'train' else ()
  if again in ('redo=critic', 'more=critic', 'more=critic,actor'):
    _check_count(given.workdir, found.config, changed, again)
  refused = [
    field
    for field, x in changed.items()
    if not changeable.is_in(field, free) and not _may_change(field, had[field], x, fields)
  ]
  if 'data.episodes' in refused and command == 'train':
    raise ValueError(
      f'config.data.episodes names {len(changed["data.episodes"])} datasets, and {found.where} has '
      f'learnt from {len(had["data.episodes"])}: expected all of those first, in their order, and '
      f'new ones after them, as in --config.data.episodes="{(*had["data.episodes"], "DIRECTORY")}".'
    )
  wrong = [
    _difference(field, had[field], 'the command line says', changed[field]) for field in refused
  ]
  tolerated = [*fields.used, *fields.idle, *changeable.TRAINING]
  if appended.read(given.workdir):  # for which they may have been changed
    tolerated += [name for names in changeable.AGAIN.values() for name in names]
  for field, x in said.items():
    # The scenes that go with the seed are those that the run has; before, all runs had the same.
    left_to_the_run = field == 'evaluation.seed' and x == -1
    if field in overrides or left_to_the_run or is_as_before(field, x):
      continue
    if not changeable.is_in(field, tolerated):
      wrong.append(_difference(field, had[field], f'{given.file} says', x))
    elif changeable.is_in(field, fields.used) and had[field] in ('', ()):
      changed[field] = x  # the run has nothing to set against it
    elif not changeable.is_in(field, fields.idle) and x not in ('', ()):
      logging.warning(
        '%s, which is not used; give --config.%s to change it, or leave --config out.',
        _difference(field, had[field], f'{given.file} says', x),
        field,
      )
  if wrong:
    by_hand = len(refused) == len(wrong)  # and by no file
    advice = 'leave --config out to use the run as it is, or ' if given.file else ''
    raise ValueError(
      f'{found.where} is of another config:\n  '
      + '\n  '.join(wrong)
      + f'\nWhat was learnt stays as it was; {advice}give another --workdir to train anew'
      + (_remedy(refused, pending, again, given.workdir) if command == 'train' and by_hand else '')
      + '.'
    )
  made.update_from_flattened_dict({field: had[field] for field in overrides} | changed)
  return made, changed


def _free(workdir: pathlib.Path, changed: dict[str, Any], again: str) -> tuple[str, ...]:
  """Fields that `train` may set anew as things stand."""
  latest = checkpoints.Checkpoints(workdir / 'checkpoints').latest()
  free = ['fail.cost'] if _has_no_cost(workdir) else []
  done = -1 if latest is None else latest
  free += [field for field, number in changeable.NOT_BEGUN.items() if done < number]
  free += changeable.ahead(done, unfinished.begun(workdir, done))
  if not changed.get('actor.warm_start_updates', 1):  # the run would have none, not end sooner
    free = [field for field in free if field != 'actor.warm_start_updates']
  option, _, value = again.partition('=')
  learns = appended.LEARNS[option][value] if again else ()
  return (*free, *(field for phase in learns for field in changeable.AGAIN[phase]))


def _check_count(
  workdir: pathlib.Path, had: ml_collections.ConfigDict, changed: Mapping[str, Any], again: str
) -> None:
  """Raises ValueError if a number of updates is changed that no critic to come learns for."""
  newest = (checkpoints.Checkpoints(workdir / 'checkpoints').latest() or 0) // 2
  plan = plan_lib.read(had, workdir)
  of = newest + 1
  if again.startswith('redo='):
    of, _ = appending.before_critic(plan, newest)
  if of != 1 and 'critic.first_updates' in changed:
    raise ValueError(
      f'config.critic.first_updates is of the critic of iteration 1, and --{again} teaches '
      f'that of iteration {of}; expected config.critic.updates.'
    )
  is_last = plan.last <= newest and changed.get('iterations', 0) <= had.iterations
  if of == 1 and is_last and 'critic.updates' in changed:
    raise ValueError(
      f'config.critic.updates is of critics after the one of iteration 1, which --{again} teaches '
      'again, and none of them is to learn; leave it out, and give config.critic.first_updates.'
    )


def _remedy(
  refused: Sequence[str], pending: appended.Appended | None, again: str, workdir: pathlib.Path
) -> str:
  """What else can be done about settings that only what learns once more may change; '' if none."""
  if again not in ('', 'redo=actor'):  # the others learn something else, or all there is
    return ''
  for phase, names in changeable.AGAIN.items():
    if again == f'redo={phase}' or not all(changeable.is_in(field, names) for field in refused):
      continue
    if pending is not None:
      return f', or have iteration {pending.iteration}, which has begun with that, finish first'
    done = checkpoints.Checkpoints(workdir / 'checkpoints').latest() or 0
    if done % 2 or unfinished.begun(workdir, done) > done:
      return (
        f', or have iteration {done // 2 + 1}, which has begun, finish first, and then give '
        f'--redo={phase} to have the {phase} learn again with that'
      )
    return f', or give --redo={phase} to have the {phase} learn again with that'
  return ''


def _is_same(field: str, one: Any, other: Any) -> bool:
  """Whether two values say the same: a path may be spelled in several ways."""
  if field == 'data.episodes':
    return [*map(manifest.place, one)] == [*map(manifest.place, other)]
  return one == other


def _has_no_cost(workdir: pathlib.Path) -> bool:
  """Whether nothing was learnt yet that knows what a failure costs: imitation alone."""
  written = checkpoints.Checkpoints(workdir / 'checkpoints')
  if written.latest() is None:
    return False
  return checkpoints.read_meta(written.newest()).get('fail_cost', 0.0) is None


def _may_change(field: str, before: Any, after: Any, fields: changeable.Fields) -> bool:
  if field == 'actor.tokenizer':  # a file may lie elsewhere; another vocabulary is another prompt
    return 'words' not in (before, after)
  if field == 'data.episodes':  # moved, or more; what they hold is compared later
    return fields is changeable.COMMANDS['train'] and len(before) <= len(after)
  if field == 'sim.task':  # to look at a robot's policy in the simulator
    return changeable.is_in(field, fields.used) and not before
  return changeable.is_in(field, fields.used)


def _difference(field: str, run: Any, who: str, value: Any) -> str:
  return f'the run has {field} = {run!r}, {who} {value!r}'
