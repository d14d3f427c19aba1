"""Observations against their space: what nobody can read is refused, overshooting is said once."""

from collections.abc import Mapping
from typing import Any

from absl import logging
import numpy as np

from aloe_jax.envs import gymnasium_numbers
from aloe_jax.envs import gymnasium_values

_Path = gymnasium_numbers.Path
_name = gymnasium_numbers.name


class Remarks:
  """Sentences that are said once each.

  Attributes:
    said: {what it is about: the sentence}.

  Args:
    is_quiet: whether they are only kept, for somebody else to say.
  """

  def __init__(self, is_quiet: bool = False):
    self.said: dict[str, str] = {}
    self._is_quiet = is_quiet

  def say(self, about: str, sentence: str) -> None:
    """Says a sentence, unless there was one about that."""
    if about not in self.said:
      self.said[about] = sentence
      if not self._is_quiet:
        logging.warning('%s', sentence)


class Checker:
  """Checks one observation after another.

  Args:
    space: of them.
    task: of the environment, for what is said.
    remarks: says which parts are out of bounds.
  """

  def __init__(self, space: Any, task: str, remarks: Remarks):
    from gymnasium import spaces

    self._kinds: tuple[Any, Any, Any] = spaces.Dict, spaces.Tuple, spaces.Box
    self._space, self._task, self._remarks = space, task, remarks
    self._bounds: dict[_Path, tuple[np.ndarray, np.ndarray]] = {}

  def check(self, observation: Any) -> None:
    """Checks one observation.

    Raises:
      ValueError: a part is missing, of another shape or not in its space, or is not finite numbers
        that float32 can hold; the error names the part.
    """
    self._check(self._space, observation, ())

  def _check(self, space: Any, value: Any, path: _Path) -> None:
    of_keys, of_places, of_numbers = self._kinds
    if isinstance(space, of_numbers):
      self._check_numbers(space, value, path)
    elif isinstance(space, of_keys):
      if not isinstance(value, Mapping) or not space.spaces.keys() <= value.keys():
        raise ValueError(_lacking(space, value, path))
      for key, part in space.spaces.items():
        self._check(part, value[key], (*path, key))
    elif isinstance(space, of_places):
      if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
        raise ValueError(
          f'{_name(path)} is {gymnasium_values.shown(value)}; expected a tuple of '
          f'{len(space.spaces)} parts. Return all that its space declares.'
        )
      for place, part in enumerate(space.spaces):
        self._check(part, value[place], (*path, place))
    elif not space.contains(value):
      raise ValueError(
        f'{_name(path)} is {gymnasium_values.shown(value)}; expected what is in its space {space}. '
        'Return that, or declare another space.'
      )

  def _check_numbers(self, space: Any, value: Any, path: _Path) -> None:
    array = gymnasium_values.array_of(value)
    if array is None or array.shape != space.shape:
      raise ValueError(
        f'{_name(path)} is {gymnasium_values.described(value)}; expected numbers of shape '
        f'{space.shape}, as its space has. Return that shape in every step, or declare another.'
      )
    if path not in self._bounds:
      self._bounds[path] = gymnasium_numbers.passing(space.low, space.high)
    low, high = self._bounds[path]
    outside = ~((array >= low) & (array <= high))  # nan is, too
    if outside.any():
      self._see_outside(space, array, outside, _name(path))
    if space.dtype.kind != 'f' and (is_part := array != np.rint(array)).any():
      self._remarks.say(
        f'whole numbers of {_name(path)}',
        f'{self._task}: {_name(path)} holds {float(array[is_part].flat[0]):.6g}; expected whole '
        f'numbers, as its space is of {space.dtype}. It is played on and seen as it is; declare a '
        'Box of float32. This is said once.',
      )

  def _see_outside(self, space: Any, array: np.ndarray, outside: np.ndarray, name: str) -> None:
    is_unread = ~(np.abs(array) <= gymnasium_numbers.HIGHEST)
    if is_unread.any():
      raise ValueError(
        f'{name} holds {array[is_unread].flat[0]}; expected finite numbers that float32 can hold. '
        'Return no nan and inf: end the episode before, where a simulation has blown up.'
      )
    first = [float(numbers[outside].flat[0]) for numbers in (array, space.low, space.high)]
    self._remarks.say(
      name,
      '{}: {} holds {:.6g}, outside of its bounds {:.6g} to {:.6g}. It is played on, but what '
      'policies see is scaled by these bounds; declare such as it keeps. This is said '
      'once.'.format(self._task, name, *first),
    )


def _lacking(space: Any, value: Any, path: _Path) -> str:
  """What is wrong with something that has not the keys of its Dict space."""
  keys = ', '.join(map(repr, space.spaces))
  found = f'is {gymnasium_values.described(value)}'
  if isinstance(value, Mapping):
    lacks = ', '.join(repr(key) for key in space.spaces if key not in value)
    found = f'lacks {lacks} (it has {", ".join(map(repr, value)) or "nothing"})'
  return f'{_name(path)} {found}; expected a dict with {keys}. Return all that its space declares.'
