"""What a policy reads of a Gymnasium environment's observations, and writes to its actions.

An observation is flattened to n numbers. All of them, each scaled by what its space says of it,
are the features; proprio is the part that a Dict observation calls 'proprio', else the first 32,
in the environment's own units as a robot's state is.
"""

from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_errors
from aloe_jax.envs import gymnasium_numbers
from aloe_jax.envs import gymnasium_observation
from aloe_jax.envs import gymnasium_values

VIEWS = len(types.CAMERAS)
MOST_NUMBERS = 4096  # of an observation; what has more is an image


class Spaces:
  """The spaces of one environment.

  Attributes:
    action_size: A.
    action_limits: lowest and highest action [A].
    proprio_size: numbers of proprio, at most 32.
    feature_shape: (V, F), V * F >= n.
    ranges: what is declared of each number, see `gymnasium_numbers.declared`.
    remarks: what was said of observations so far.

  Args:
    env: a `gymnasium.Env`.
    name: what messages call it.
    is_quiet: whether remarks are only kept.

  Raises:
    ValueError: actions are not numbers, observations hold images, or either holds nothing.
  """

  def __init__(self, env: Any, name: str, *, is_quiet: bool = False):
    from gymnasium import spaces

    with gymnasium_errors.reading(name):
      self._observation = _declared(env, 'observation_space')
      self._action = _declared(env, 'action_space')
    if not isinstance(self._action, spaces.Box) or len(self._action.shape) != 1:
      raise ValueError(f'{name}: actions are {self._action}, expected a Box of one axis.')
    if self._action.shape[0] == 0:
      raise ValueError(
        f'{name}: actions are {self._action}, of 0 numbers; expected at least 1. Declare an '
        'action_space with a number for every joint.'
      )
    if not getattr(self._observation, 'is_np_flattenable', False):
      raise ValueError(f'{name}: observations are {self._observation}, expected a Box or Dict.')
    size = spaces.flatdim(self._observation)
    if size == 0:
      raise ValueError(
        f'{name}: observations are {self._observation}, of 0 numbers; expected at least 1. Declare '
        'an observation_space with what a policy needs to see.'
      )
    if size > MOST_NUMBERS:
      raise ValueError(
        f'{name}: an observation has {size} numbers, at most {MOST_NUMBERS} are read; choose '
        'observations of the state and not of images.'
      )
    with gymnasium_errors.reading(f'{name}: observations are {self._observation}'):
      numbers: Any = spaces.flatten_space(self._observation)
    self._names_proprio = (
      isinstance(self._observation, spaces.Dict) and 'proprio' in self._observation.spaces
    )
    self._proprio = self._observation['proprio'] if self._names_proprio else self._observation
    self._bounded = gymnasium_numbers.is_range(numbers.low, numbers.high)
    low, high = (np.where(self._bounded, bound, 0.0) for bound in (numbers.low, numbers.high))
    self._center, self._half = (high + low) / 2, np.where(high > low, (high - low) / 2, 1.0)
    self.ranges = gymnasium_numbers.declared(self._observation, self._action)
    self.action_size = int(self._action.shape[0])
    self.action_limits = self._action.low, self._action.high
    self._name = name
    self._passing = gymnasium_numbers.passing(*self.action_limits)
    own: Any = spaces.flatten_space(self._proprio)
    if self._names_proprio and own.shape[0] > types.PROPRIO_SIZE:
      raise ValueError(
        f"{name}: the part of an observation called 'proprio' has {own.shape[0]} numbers, expected "
        f'at most {types.PROPRIO_SIZE}; keep joint angles and gripper openings in it, and give the '
        'others another name.'
      )
    if own.shape[0] == 0:
      raise ValueError(
        f"{name}: the part of an observation called 'proprio' has 0 numbers; expected at least 1. "
        'Put joint angles in it, or leave it out: then the first numbers are the state.'
      )
    self.remarks = gymnasium_observation.Remarks(is_quiet)
    for part, (lowest, highest) in gymnasium_numbers.far_bounds(self._observation).items():
      self.remarks.say(
        f'bounds of {part}',
        f'{name}: {part} has numbers with bounds of {lowest:.6g} to {highest:.6g}; expected none '
        f'beyond {gymnasium_numbers.FARTHEST:.0e}, or inf. They are seen as if they had no bounds, '
        'which is sign(x) log(1 + |x|); declare the range that they keep, where there is one.',
      )
    self._checker = gymnasium_observation.Checker(self._observation, name, self.remarks)
    self.proprio_size = min(types.PROPRIO_SIZE, own.shape[0])
    self.feature_shape = (VIEWS, -(-size // VIEWS))

  def compare(self, env: Any) -> None:
    """Raises ValueError if an instance declares other spaces now than the first one did."""
    spaces = [_declared(env, f'{what}_space') for what in gymnasium_numbers.PARTS]
    for now, before in zip(spaces, (self._observation, self._action), strict=True):
      is_alike = type(now) is type(before) and getattr(now, 'is_np_flattenable', False)
      if not is_alike:
        raise ValueError(f'a space is {now}; expected {before}, as when it was first made.')
    compare(self.ranges, gymnasium_numbers.declared(*spaces))

  def sight(self, observation: Any) -> types.Sight:
    """State [n] and features [V, F] of one observation.

    Numbers with bounds come to [-1, 1]; others are as they are near zero and grow like a
    logarithm, sign(x) log(1 + |x|), so that no unit has to be known. Bounds beyond 1e6 are none.

    Raises:
      ValueError: it is not in its space, see `gymnasium_observation.Checker`.
    """
    self._checker.check(observation)
    numbers = gymnasium_numbers.in_a_row(self._observation, observation)
    own = observation['proprio'] if self._names_proprio else observation
    # Of an observation with more numbers, all of which are features, the first ones.
    own_numbers = gymnasium_numbers.in_a_row(self._proprio, own)
    own_state = own_numbers[: self.proprio_size].astype(np.float32)
    scaled = (numbers - self._center) / self._half
    squashed = np.sign(numbers) * np.log1p(np.abs(numbers))
    features = np.zeros(self.feature_shape, np.float32)
    features.flat[: len(numbers)] = np.where(self._bounded, scaled, squashed)
    return types.Sight(own_state, features)

  def action(self, action: Any, whose: str = "the policy's action") -> np.ndarray:
    """The nearest action [A] that the environment allows.

    Args:
      action: numbers, as an array or a list.
      whose: what errors call it.

    Raises:
      ValueError: it is not A finite numbers.
    """
    numbers = gymnasium_values.action(action, self._action.shape, whose)
    nearest = np.clip(numbers, self._action.low, self._action.high)
    if self._action.dtype.kind != 'f':
      nearest = np.rint(nearest)
    return nearest.astype(self._action.dtype)

  def human_action(self, action: Any) -> np.ndarray:
    """The nearest action [A] to a human's, who is told once where theirs is out of bounds.

    Raises:
      ValueError: as `action`.
    """
    whose = "the human's action"
    executed = self.action(action, whose)
    numbers, (low, high) = np.asarray(action), self._passing
    for i in np.flatnonzero((numbers < low) | (numbers > high))[:1]:
      self.remarks.say(
        whose,
        f'{self._name}: {whose} has {float(numbers[i]):.6g} as number {i}, outside of its bounds '
        f'{float(self._action.low[i]):.6g} to {float(self._action.high[i]):.6g}. The nearest '
        'within is carried out and recorded; return such as the action space has. This is said '
        'once.',
      )
    return executed


def compare(first: gymnasium_numbers.Ranges, ranges: gymnasium_numbers.Ranges) -> None:
  """Raises ValueError if an instance has other numbers than the first one that was made."""
  if told := gymnasium_numbers.changed(first, ranges):
    raise ValueError(
      f'the environment {told} when it was first made; expected equal spaces in every instance, '
      'before and after every reset, as policies see numbers in a row, scaled by their bounds. '
      'Declare the same parts in the same order, with the widest bounds that there are.'
    )


def _declared(env: Any, what: str) -> Any:
  """A space of an environment; None if it declares none."""
  try:
    return getattr(env, what, None)
  except Exception as error:
    raise ValueError(
      f'{what} raised {type(error).__name__}: {error}; expected a space, from when the environment '
      'is made.'
    ) from error
