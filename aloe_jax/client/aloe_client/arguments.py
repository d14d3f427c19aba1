"""What a recorder is given, refused by name where no robot's loop can run by it."""

from __future__ import annotations

from collections.abc import Mapping
import math
import numbers
import os
from typing import Any

from aloe_client import motion
from aloe_client import robot as robot_lib

_OF_A_CLOCK = ('monotonic', 'time', 'sleep')
NO_PERSON = 'takeover: found no source of actions; pass one, or human= to the recorder.'


def unwritable(text: Any) -> str:
  """Why a text cannot be a prompt, or empty: it has to reach the server and the disk."""
  if not isinstance(text, str):
    return f'found {text!r:.60}, expected a text.'
  try:
    text.encode()
  except UnicodeEncodeError as error:
    return f'found half of a character at {error.start} of {text!a:.60}, expected a whole text.'
  return ''


def check(
  task: Any,
  acts: Mapping[str, Any],
  *,
  directory: Any,
  robot: Any,
  clock: Any,
  hz: Any,
  execute: Any,
  stale: Any,
  fade: Any,
) -> None:
  """Looks at the arguments of a `Recorder`, whose names these are.

  Args:
    task: of it.
    acts: functions that make actions, by name; None for one that is not given.
    directory: of it.
    robot: of it.
    clock: of it.
    hz: of it.
    execute: of it.
    stale: of it.
    fade: of it.

  Raises:
    ValueError: naming the argument.
  """
  if text := unwritable(task):
    raise ValueError(f'task: {text}')
  if not task.strip():
    raise ValueError('task: found an empty text, expected what the robot is asked to do.')
  if not isinstance(directory, (str, os.PathLike)) or not str(directory).strip():
    raise ValueError(f'directory: found {directory!r:.60}, expected a place for the episodes.')
  if (acts['to_robot'] is None) != (acts['to_policy'] is None):
    raise ValueError('to_robot and to_policy: found one of them, expected both or none.')
  for name, function in acts.items():
    if function is not None and not callable(function):
      raise ValueError(f'{name}: found {function!r:.60}, expected a function that gives an action.')
  if robot is not None and not isinstance(robot, robot_lib.Robot):
    raise ValueError(f'robot: found {robot!r:.60}, expected aloe_client.Robot(...).')
  if missing := [name for name in _OF_A_CLOCK if not callable(getattr(clock, name, None))]:
    raise ValueError(f'clock: found {clock!r:.60} without {missing[0]}(), as the module time has.')
  if hz is not None and not (_is_number(hz) and hz > 0):
    raise ValueError(f'hz: found {hz!r}, expected more than 0 steps a second.')
  whole = isinstance(execute, numbers.Integral) and not isinstance(execute, bool)
  if execute is not None and not (whole and execute >= 1):
    raise ValueError(f'execute: found {execute!r}, expected a whole number of actions from 1.')
  for name, seconds in (('stale', stale), ('fade', fade)):
    if not (_is_number(seconds) and seconds >= 0):
      raise ValueError(f'{name}: found {seconds!r}, expected a number of seconds from 0.')


def check_access(server: Any, **given: Any) -> None:
  """Refuses a key or a certificate for a server that is no address: it has its own."""
  for name, value in given.items():
    if value is not None and not isinstance(server, str):
      raise ValueError(f'{name}: found one beside a server that is no address; give it there.')


def limits(size: int | None, bounds: Mapping[str, Any]) -> motion.Limits | None:
  """The limits of commands; None where none are given.

  Args:
    size: A, numbers of an action; None where nobody says.
    bounds: `low`, `high` and `max_step` of a `Recorder`.

  Raises:
    ValueError: naming what is wrong, also where nobody says A.
  """
  if all(bound is None for bound in bounds.values()):
    return None
  if size is None:
    raise ValueError('robot: found no action in it, expected one where commands have limits.')
  return motion.Limits(size, **bounds)


def _is_number(value: Any) -> bool:
  real = isinstance(value, numbers.Real) and not isinstance(value, bool)
  return real and math.isfinite(value)
