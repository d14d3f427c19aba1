"""What the robot is: numbers of its state and of an action, and its cameras, taken from its data.

`config.task` says 0, or () of cameras, for what the data are to tell; to what it says otherwise
they are held. Once settled, these fields hold what there is, and so does all that a run keeps.
"""

import itertools
import pathlib

import ml_collections

from aloe_jax import config as config_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.data import holds
from aloe_jax.data import index as index_lib
from aloe_jax.data import padding
from aloe_jax.run import indices as indices_lib

_SHOWN = 3  # prompts in a message
_WIDTHS = {  # of `config.task`: the column of an index, its key in `config.data.mapping`
  'proprio_size': 'state',
  'action_size': 'action',
}


def settle(config: ml_collections.ConfigDict, indices: indices_lib.Indices) -> None:
  """Fills in what `config.task` leaves to the data, holds them to the rest, and says it all.

  Args:
    config: of a run on data of a robot; changed in place.
    indices: of all its datasets; at least one.

  Raises:
    ValueError: naming a dataset that is of another robot, or a field that does not fit this one.
  """
  task = config.task
  given = [field for field in (*_WIDTHS, 'cameras') if task[field]]
  for directory, index in indices.items():
    if not task.proprio_size:
      _check_not_padded(directory, index)
  for field, key in _WIDTHS.items():
    task[field] = task[field] or _common_width(indices, key)
  for directory, index in indices.items():
    check(directory, index, task)
  _check_room(config)
  task.cameras = _cameras(indices, tuple(task.cameras))
  config_lib.validate(config)
  if config.actor.kind == 'pi05' and not task.cameras:
    raise ValueError(
      f'{", ".join(map(str, indices))}: there are no images of any camera, so that nothing is seen '
      'of the task; name their field with --config.data.mapping.head.'
    )
  progress.CONSOLE.print(
    f'Robot: {task.proprio_size} numbers of state, {task.action_size} of action'
    f'{_relative(tuple(task.delta), task.action_size)}, cameras '
    f'{", ".join(task.cameras) or "none"} ({_origin(given)})',
    highlight=False,
    soft_wrap=True,
  )
  _tell_prompts(config, indices)


def _tell_prompts(config: ml_collections.ConfigDict, indices: indices_lib.Indices) -> None:
  """Says where the policy will be asked for what no episode shows, or the episodes for nothing."""
  found = sorted({prompt for index in indices.values() for prompt in index.prompts if prompt})
  asked = config.task.prompt
  if not any(map(str.strip, found)):
    progress.CONSOLE.print(
      'Robot: no episode says what is to be done, so that every prompt is empty; if a field does, '
      'name it with --config.data.mapping.prompt',
      soft_wrap=True,
    )
  if asked and found and asked not in found:
    shown = ', '.join(map(repr, found[:_SHOWN])) + (' and others' if len(found) > _SHOWN else '')
    progress.CONSOLE.print(
      f'Robot: the prompts of its episodes are {shown}. The policy learns these, but is asked for '
      f'{asked!r} (config.task.prompt) where nothing else is said; give --config.task.prompt to '
      'change that.',
      highlight=False,
      markup=False,
      soft_wrap=True,
    )


def check(
  directory: pathlib.Path, index: index_lib.Index, task: ml_collections.ConfigDict
) -> list[str]:
  """Holds a dataset to the widths that `config.task` says.

  Returns:
    A sentence on what of it is not read, or not imitated.

  Raises:
    ValueError: naming the dataset, what was found, what was expected and what to do.
  """
  lines = []
  for field, key in _WIDTHS.items():
    found, expected = getattr(index, key).shape[1], task[field]
    if expected in (0, found):
      continue
    if key == 'state' and found > expected and padding.used(index.state) <= expected:
      lines.append(
        f'{directory}: the state has {found} numbers, of which those after the first {expected} '
        f'are 0 at every step, as an earlier version filled them up; the first {expected} are read.'
      )
      continue
    raise ValueError(
      f'{directory}: {key}: found {found} numbers a step, expected config.task.{field} = '
      f'{expected}; leave that out to have what the data have, {_remedy(key, found, expected)}.'
    )
  if told := holds.sentence(int(index.held.sum()), len(index)):
    lines.append(f'{directory}: {told}')
  return lines


def missing_cameras(index: index_lib.Index, task: ml_collections.ConfigDict) -> list[str]:
  """Cameras of the robot that a dataset lacks."""
  return [camera for camera in task.cameras or types.CAMERAS if camera not in index.cameras]


def _relative(delta: tuple[int, ...], size: int) -> str:
  """Which numbers of an action are relative to the state, where `task.delta` does not reach all."""
  covered = sum(map(abs, delta))
  if not 0 < covered < size:
    return ''
  is_relative = [count > 0 for count in delta for _ in range(abs(count))]
  is_relative += [False] * (size - covered)
  told, start = [], 0
  for relative, numbers in itertools.groupby(is_relative):
    end = start + len([*numbers])
    which = f'{start}' if end == start + 1 else f'{start}-{end - 1}'
    told.append(f'{which} {"relative" if relative else "absolute"}')
    start = end
  return f' ({", ".join(told)}, as config.task.delta is {delta})'


def _remedy(key: str, found: int, expected: int) -> str:
  of_robot = 'or the dataset if it is of another robot'
  if found < expected:
    return of_robot
  path = 'observation/state' if key == 'state' else 'action'
  return f"{of_robot}, or choose numbers with --config.data.mapping.{key}='{path}[0:{expected}]'"


def _check_not_padded(directory: pathlib.Path, index: index_lib.Index) -> None:
  """Refuses zeros that no robot has where nobody has said how many numbers are its own."""
  size = padding.own_size(index.state)
  if size is not None:
    raise ValueError(
      f'{directory}: the state has {padding.WIDTH} numbers a step, of which those after the first '
      f'{size} are 0 at every step: an earlier version filled them up, and the policy would be '
      f'told {padding.WIDTH - size} numbers that the robot does not have; {padding.remedy(size)}.'
    )


def _common_width(indices: indices_lib.Indices, key: str) -> int:
  """Numbers a step of a column, of which every dataset has as many."""
  widths = {directory: getattr(index, key).shape[1] for directory, index in indices.items()}
  (first, expected), *others = widths.items()
  for directory, found in others:
    if found != expected:
      path = 'observation/state' if key == 'state' else 'action'
      raise ValueError(
        f'{directory}: {key}: found {found} numbers a step, expected {expected} as in {first}; '
        'datasets of different robots are trained on apart. If they are of one, choose the numbers '
        f"that both have, as with --config.data.mapping.{key}='{path}[0:{min(found, expected)}]'."
      )
  return expected


def _check_room(config: ml_collections.ConfigDict) -> None:
  """Refuses more numbers than the networks have room for."""
  rooms = (
    ('state', 'proprio_size', types.PROPRIO_SIZE, 'the networks take'),
    (
      'action',
      'action_size',
      config.actor.action_size if config.actor.kind == 'pi05' else None,
      'config.actor.action_size has room for',
    ),
  )
  for key, field, most, what in rooms:
    found = config.task[field]
    if most is not None and found > most:
      path = 'observation/state' if key == 'state' else 'action'
      keep = 'joint angles and gripper openings' if key == 'state' else 'those that move the robot'
      raise ValueError(
        f'{", ".join(config.data.episodes)}: {key}: found {found} numbers a step, more than the '
        f'{most} that {what}; keep {keep}, as with '
        f"--config.data.mapping.{key}='{path}[0:{most}]'."
      )


def _cameras(indices: indices_lib.Indices, given: tuple[str, ...]) -> tuple[str, ...]:
  """Cameras that any dataset has, or those given, each of which one has at least."""
  found = [c for c in types.CAMERAS if any(c in index.cameras for index in indices.values())]
  for camera in given:
    if camera not in found:
      raise ValueError(
        f'{", ".join(map(str, indices))}: there are no images of the camera {camera!r}, which '
        f'config.task.cameras names; found {", ".join(found) or "none"}. Name its field with '
        f'config.data.mapping.{camera}, or leave it out of config.task.cameras.'
      )
  return given or tuple(found)


def _origin(given: list[str]) -> str:
  """Where the numbers come from, for a person."""
  if not given:
    return 'from the data'
  said = ' and '.join(f'config.task.{field}' for field in given)
  return f'from the data, as {said} said' if len(given) < 3 else 'as config.task said'
