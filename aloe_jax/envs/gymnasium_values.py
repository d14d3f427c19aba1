"""What an environment and its human return, checked: each error says what was found and expected.

Nothing here knows which environment it is or when; `gymnasium_errors` says that before it.
"""

from collections.abc import Mapping
import reprlib
from typing import Any

import numpy as np

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def shown(value: Any) -> str:
  """A value in at most a line."""
  return ' '.join(_short.repr(value).split())


def described(value: Any) -> str:
  """A value in at most a line, with its shape if it has one."""
  array = array_of(value)
  return shown(value) if array is None else f'{shown(value)}, of shape {array.shape}'


def array_of(value: Any) -> np.ndarray | None:
  """Numbers as an array; None for what is none."""
  try:
    array = np.asarray(value)
  except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that are elsewhere
    return None
  return array if array.dtype.kind in 'biuf' else None


def flag(value: Any, called: str) -> bool:
  """What is yes or no: a bool, or one number that is 0 or 1.

  Args:
    value: to be read; arrays of one element will do.
    called: what it is called.

  Raises:
    ValueError: it is anything else, such as a text, None or nan.
  """
  if isinstance(value, bool | np.bool_):
    return bool(value)
  array = array_of(value)
  if array is None or array.size != 1 or array.item() not in (0, 1):
    raise ValueError(
      f'{called} is {shown(value)}; expected True or False (or one number, 0 or 1). '
      'Return a bool there.'
    )
  return bool(array.item())


def reward(value: Any) -> float:
  """A reward that says whether an end is a success.

  Raises:
    ValueError: it is not one finite number.
  """
  array = array_of(value)
  if array is None or array.size != 1 or not np.isfinite(array.item()):
    raise ValueError(
      f"the reward is {shown(value)} and info has no 'success'; expected one finite number. Return "
      "one, or say in info['success'] whether the task is done."
    )
  return float(array.item())


def action(value: Any, shape: tuple[int, ...], whose: str) -> np.ndarray:
  """An action [A].

  Args:
    value: numbers, as an array or a list.
    shape: of the action space.
    whose: what it is called, such as "the human's action".

  Raises:
    ValueError: it has not that shape, or holds something else than finite numbers.
  """
  array = array_of(value)
  if array is None or array.shape != shape:
    raise ValueError(
      f'{whose} is {described(value)}; expected an array of shape {shape}, as the action space '
      'has. Return a number for each.'
    )
  if not np.isfinite(array).all():
    raise ValueError(f'{whose} is {shown(value)}; expected finite numbers. Return no nan and inf.')
  return array


def begun(found: Any, what: str) -> tuple[Any, Mapping[str, Any]]:
  """Observation and info, which `reset` and `recover` return.

  Args:
    found: what was returned.
    what: returned it.

  Raises:
    ValueError: it is something else.
  """
  if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[1], Mapping):
    raise ValueError(
      f'{what} returned {_kinds(found)}; expected 2 values, observation and info (a dict). '
      'End it with `return observation, {}`.'
    )
  return found[0], found[1]


def stepped(found: Any) -> tuple[Any, Any, bool, bool, Mapping[str, Any]]:
  """What `step` returned.

  Raises:
    ValueError: it is not the five values of Gymnasium.
  """
  names = 'observation, reward, terminated, truncated, info'
  if not isinstance(found, tuple | list) or len(found) != 5 or not isinstance(found[4], Mapping):
    raise ValueError(
      f'step returned {_kinds(found)}; expected 5 values: {names} (a dict). Return all of them; '
      'an environment of the older Gym, with `done` alone, has to be split into both.'
    )
  observation, reward_found, terminated, truncated, info = found
  terminated, truncated = flag(terminated, 'terminated'), flag(truncated, 'truncated')
  return observation, reward_found, terminated, truncated, info


def human(found: Any) -> Any:
  """Somebody who can act and be alarmed, see `gymnasium_task.Human`.

  Raises:
    ValueError: it is nobody, or they cannot.
  """
  lacking = [name for name in ('act', 'alarmed') if not callable(getattr(found, name, None))]
  if lacking:
    raise ValueError(
      f'make_human returned {shown(found)}, which has no {" and no ".join(lacking)}; expected a '
      'person with act(observation, info) and alarmed(observation, info). Return one, or leave '
      'make_human out where there is nobody.'
    )
  return found


def _kinds(found: Any) -> str:
  """What was returned, by the kinds of its values."""
  if not isinstance(found, tuple | list):
    return f'{type(found).__name__} {shown(found)}'
  kinds = ', '.join(type(value).__name__ for value in found)
  return f'{len(found)} value{"s" if len(found) != 1 else ""} ({kinds})'
