"""A robot's message, checked and made into a reading; everything wrong is answered by name."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.serving import entries
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import robots

FAR = 5.0  # times as far as 98 % of the states of training lie, once normalised
_FAR_PLAN = 2 * FAR  # of an action of a plan: what the policy itself asked for comes back in it
OPTIONS = robots.OPTIONS
_ASKED = ('values', 'seed', 'prefix', 'delay', 'id')
_LONGEST = 10_000  # characters of a prompt
_ROOM = 64  # characters of an id

RequestError = entries.RequestError


@dataclasses.dataclass(frozen=True)
class Reader:
  """Reads the messages of one kind of robot.

  Attributes:
    robot: its convention.
    cameras: that the policy reads.
    state_size: n.
    chunk: (h, A).
    features: (V, F) of a simulator's policy that reads these in place of images, or None.
    inputs: of the policy, whose statistics say which states it knows.
    has_values: whether Q and V can be asked for.
    real_time: whether a plan in flight can be told.
    normalized: whether there are statistics.
  """

  robot: robots.Robot
  cameras: tuple[str, ...]
  state_size: int
  chunk: tuple[int, int]
  features: tuple[int, ...] | None
  inputs: inputs_lib.Inputs
  has_values: bool
  real_time: bool
  normalized: bool

  def read(self, message: Any) -> tuple[model_lib.Reading, Any]:
    """The reading of a message, and the `id` to be sent back with the reply, or None.

    Raises:
      RequestError: naming the key, what was found and what was expected.
    """
    if not isinstance(message, Mapping):
      raise RequestError(f'found {entries.kind(message)}, expected a map of {self._expected()}.')
    self._check_keys(message)
    options = message.get(OPTIONS, {})
    if not isinstance(options, Mapping):
      raise RequestError(
        f'{OPTIONS}: found {entries.kind(options)}, expected a map of some of {", ".join(_ASKED)}.'
      )
    for key in options:
      if key not in _ASKED:
        hint = entries.closest(str(key), _ASKED) or f'expected some of {", ".join(_ASKED)}.'
        raise RequestError(f'{OPTIONS}: there is no option {str(key)[:80]!r}; {hint}')
    state = self._state(message)
    plan, delay = self._plan(options, state)
    reading = model_lib.Reading(
      state,
      images=self._images(message),
      features=self._features(message),
      prompt=self._prompt(message),
      seed=_seed(options.get('seed')),
      values=self._values(options),
      plan=plan,
      delay=delay,
    )
    return reading, _id(options.get('id'))

  def _keys(self) -> tuple[str, ...]:
    shown = ('features',) if self.features else tuple(self.robot.cameras)
    return (*shown, *self.robot.state, self.robot.prompt, *self.robot.ignored, OPTIONS)

  def _expected(self) -> str:
    needed = [key for key, camera in self.robot.cameras.items() if camera in self.cameras]
    if self.features:
      needed = ['features']
    return ', '.join(map(repr, [*needed, *self.robot.state]))

  def _check_keys(self, message: Mapping) -> None:
    known, told = self._keys(), set()
    for key in entries.paths(message, known):
      if key not in known:
        hint = entries.closest(key, known) or f'expected {self._expected()}.'
        raise RequestError(
          f'there is no key {key[:80]!r} in a request of {self.robot.name}; {hint}'
        )
      if key in told:
        raise RequestError(
          f'{key} is told twice, inside of {key.partition("/")[0]!r} and as a key of its own; '
          'expected one of the two.'
        )
      told.add(key)

  def _state(self, message: Mapping) -> np.ndarray:
    parts = [entries.numbers(key, self._needed(message, key)) for key in self.robot.state]
    named = ' and '.join(self.robot.state)
    for key, part in zip(self.robot.state, parts, strict=True):
      if part.ndim > 1:
        raise RequestError(f'{key}: found {list(part.shape)}, expected a list of numbers.')
    state = np.concatenate([np.atleast_1d(part) for part in parts])
    if state.shape != (self.state_size,):
      raise RequestError(
        f'{named}: found {state.size} numbers, expected the {self.state_size} that the policy '
        'was trained on.'
      )
    state = self.robot.state_to_policy(state)
    if self.normalized:
      self._check_known(state, named)
    return state

  def _check_known(self, state: np.ndarray, named: str) -> None:
    """Refuses a state of which no policy could know what to do: another unit, order or zero."""
    seen = np.asarray(self.inputs.proprio(state[None]))[0, : self.state_size]
    worst = int(np.abs(seen).argmax())
    reach = self.inputs.state.reach
    if abs(seen[worst]) > FAR * reach:
      ends = np.array([[-1.0], [1.0]], np.float32) * np.full(self.state_size, reach, np.float32)
      low, high = np.asarray(self.inputs.state.inverse(ends))[:, worst]
      adapted = ' (as the policy knows them)' if self.robot.adapts else ''
      raise RequestError(
        f'{named}: number {worst} is {state[worst]:.6g}, far outside of {low:.6g} to {high:.6g}, '
        f'where 98 % of the training lay{adapted}; expected the units, order and zero of the '
        'episodes that it was trained on.'
      )

  def _images(self, message: Mapping) -> dict[str, np.ndarray]:
    if self.features:
      return {}
    return {
      camera: entries.image(key, self._needed(message, key))
      for key, camera in self.robot.cameras.items()
      if camera in self.cameras
    }

  def _features(self, message: Mapping) -> np.ndarray | None:
    if not self.features:
      return None
    found = entries.numbers('features', self._needed(message, 'features'))
    if found.shape != self.features:
      raise RequestError(f'features: found {list(found.shape)}, expected {list(self.features)}.')
    return found

  def _prompt(self, message: Mapping) -> str | None:
    found = entries.look(message, self.robot.prompt)
    try:
      if isinstance(found, np.ndarray) and found.ndim == 0:
        found = found[()]
      if isinstance(found, str):
        found.encode()
    except (ValueError, SystemError):  # NumPy keeps texts without looking at them
      raise RequestError(f'{self.robot.prompt}: found characters that are none.') from None
    if isinstance(found, bytes):
      found = found.decode(errors='replace')
    if found is None:
      return None
    if not isinstance(found, str) or len(found) > _LONGEST:
      what = entries.kind(found) if not isinstance(found, str) else f'{len(found)} characters'
      raise RequestError(
        f'{self.robot.prompt}: found {what}, expected a text of at most {_LONGEST}.'
      )
    return str(found)

  def _values(self, options: Mapping) -> bool:
    wanted = options.get('values', False)
    if not isinstance(wanted, (bool, np.bool_)):
      raise RequestError(f'{OPTIONS}/values: found {entries.kind(wanted)}, expected true or false.')
    if wanted and not self.has_values:
      raise RequestError(
        f'{OPTIONS}/values: this policy is served without a critic of actions; the metadata say '
        'so too.'
      )
    return bool(wanted)

  def _plan(self, options: Mapping, state: np.ndarray) -> tuple[np.ndarray | None, int]:
    plan, delay = options.get('prefix'), options.get('delay', 0)
    if plan is None:
      if not (type(delay) is int and delay == 0):
        raise RequestError(
          f'{OPTIONS}/delay: found {entries.shown(delay)} without {OPTIONS}/prefix.'
        )
      return None, 0
    if not self.real_time:
      raise RequestError(
        f'{OPTIONS}/prefix: this server was started without --real_time; the metadata say so too.'
      )
    plan = entries.numbers(f'{OPTIONS}/prefix', plan)
    if plan.ndim != 2 or plan.shape[1] != self.chunk[1] or not len(plan):
      raise RequestError(
        f'{OPTIONS}/prefix: found {list(plan.shape)}, expected [k, {self.chunk[1]}], the actions '
        'that are carried out from this observation on.'
      )
    if isinstance(delay, np.integer):
      delay = int(delay)
    if type(delay) is not int or not 0 <= delay <= len(plan):
      raise RequestError(
        f'{OPTIONS}/delay: found {entries.shown(delay)}, expected 0 to {len(plan)}, as many as '
        f'{OPTIONS}/prefix has.'
      )
    plan = self.robot.action_to_policy(plan)
    if self.normalized:
      self._check_plan(plan, state)
    return plan, delay

  def _check_plan(self, plan: np.ndarray, state: np.ndarray) -> None:
    """Refuses a plan that no policy could go on from: its numbers would make nonsense of it."""
    seen = np.abs(np.asarray(self.inputs.chunk(plan[None], state[None]))[0])
    step, worst = map(int, np.unravel_index(int(seen.argmax()), seen.shape))
    reach = np.float32(self.inputs.action.reach)
    if not seen[step, worst] <= _FAR_PLAN * reach:
      ends = np.array([[[-1.0]], [[1.0]]], np.float32) * np.full((1, *plan.shape[1:]), reach)
      low, high = np.asarray(self.inputs.undo_chunk(ends, np.stack([state] * 2)))[:, 0, worst]
      adapted = ' (as the policy knows them)' if self.robot.adapts else ''
      raise RequestError(
        f'{OPTIONS}/prefix: number {worst} of action {step} is {plan[step, worst]:.6g}, far '
        f'outside of {low:.6g} to {high:.6g}, where 98 % of the training lay from such a state'
        f'{adapted}; expected the actions that are carried out, in the units of the replies.'
      )

  def _needed(self, message: Mapping, key: str) -> Any:
    found = entries.look(message, key)
    if found is None:
      given = ', '.join(map(repr, list(entries.paths(message, self._keys()))[:12])) or 'none'
      raise RequestError(f'{key}: there is no such key among {given}; expected {self._expected()}.')
    return found


def _seed(value: Any) -> int | None:
  if isinstance(value, np.integer):
    value = int(value)
  if value is None or (type(value) is int and 0 <= value < 2**32):
    return value
  raise RequestError(f'{OPTIONS}/seed: found {entries.shown(value)}, expected 0 to {2**32 - 1}.')


def _id(value: Any) -> Any:
  if value is None or type(value) is int or (isinstance(value, str) and len(value) <= _ROOM):
    return value
  raise RequestError(
    f'{OPTIONS}/id: found {entries.kind(value)}, expected a short text or a number.'
  )


def make_reader(model: model_lib.Model, robot: robots.Robot) -> Reader:
  """The reader of a robot's messages to a policy.

  Raises:
    ValueError: they do not go together; says why.
  """
  experiment = model.experiment
  task, (horizon, size) = experiment.config.task, model.chunk_shape
  features = None
  if not experiment.reads_images and experiment.encoder is None:
    features = experiment.feature_shape()
  if robot.action_size not in (0, size):
    raise ValueError(
      f'--robot={robot.name} takes actions of {robot.action_size} numbers, but those of '
      f'{model.name} have {size}.'
    )
  if len(robot.names) not in (0, size):
    raise ValueError(
      f'--robot={robot.name} has {len(robot.names)} names, but an action of {model.name} has '
      f'{size} numbers; expected a name for each, or none.'
    )
  missing = [c for c in task.cameras if c not in robot.cameras.values()]
  if missing and not features:
    raise ValueError(
      f'--robot={robot.name} has no camera {", ".join(map(repr, missing))}, which the policy of '
      f'{model.name} reads; it has {dict(robot.cameras)}.'
    )
  return Reader(
    robot,
    tuple(camera for camera in types.CAMERAS if camera in task.cameras),
    task.proprio_size,
    (horizon, size),
    features,
    model.policy.inputs,
    model.has_values,
    model.real_time,
    experiment.config.data.normalization != 'none',
  )
