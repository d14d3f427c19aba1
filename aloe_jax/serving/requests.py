"""A robot's message, checked and made into a reading; everything wrong is answered by name."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import difflib
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import robots

FAR = 5.0  # of a state once normalised, 98 % of which lie within -1 and 1 in training
OPTIONS = 'aloe'  # key of what is asked besides openpi's
_ASKED = ('values', 'seed', 'prefix', 'delay', 'id')
_LONGEST = 10_000  # characters of a prompt
_ROOM = 64  # characters of an id
_LONGEST_EDGE = 8192  # pixels of an image
_THINNEST = 16  # of two edges, the longer over the shorter


class RequestError(ValueError):
  """A message that cannot be answered; its text is for whoever sent it."""


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
      raise RequestError(f'found {_kind(message)}, expected a map of {self._expected()}.')
    self._check_keys(message)
    options = message.get(OPTIONS, {})
    if not isinstance(options, Mapping):
      raise RequestError(
        f'{OPTIONS}: found {_kind(options)}, expected a map of some of {", ".join(_ASKED)}.'
      )
    for key in options:
      if key not in _ASKED:
        hint = _closest(str(key), _ASKED) or f'expected some of {", ".join(_ASKED)}.'
        raise RequestError(f'{OPTIONS}: there is no option {str(key)[:80]!r}; {hint}')
    state = self._state(message)
    plan, delay = self._plan(options)
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
    known = self._keys()
    for key in _paths(message, known):
      if key not in known:
        hint = _closest(key, known) or f'expected {self._expected()}.'
        raise RequestError(
          f'there is no key {key[:80]!r} in a request of {self.robot.name}; {hint}'
        )

  def _state(self, message: Mapping) -> np.ndarray:
    parts = [_numbers(key, self._needed(message, key)) for key in self.robot.state]
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
    if abs(seen[worst]) > FAR:
      ends = np.array([[-1.0], [1.0]], np.float32) * np.ones(self.state_size, np.float32)
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
      camera: _image(key, self._needed(message, key))
      for key, camera in self.robot.cameras.items()
      if camera in self.cameras
    }

  def _features(self, message: Mapping) -> np.ndarray | None:
    if not self.features:
      return None
    found = _numbers('features', self._needed(message, 'features'))
    if found.shape != self.features:
      raise RequestError(f'features: found {list(found.shape)}, expected {list(self.features)}.')
    return found

  def _prompt(self, message: Mapping) -> str | None:
    found = _look(message, self.robot.prompt)
    try:
      if isinstance(found, np.ndarray) and found.ndim == 0:
        found = found[()]
      if isinstance(found, str):
        found.encode()
    except ValueError:  # NumPy keeps texts without looking at them
      raise RequestError(f'{self.robot.prompt}: found characters that are none.') from None
    if isinstance(found, bytes):
      found = found.decode(errors='replace')
    if found is None:
      return None
    if not isinstance(found, str) or len(found) > _LONGEST:
      what = _kind(found) if not isinstance(found, str) else f'{len(found)} characters'
      raise RequestError(f'{self.robot.prompt}: found {what}, expected a text.')
    return str(found)

  def _values(self, options: Mapping) -> bool:
    wanted = options.get('values', False)
    if not isinstance(wanted, (bool, np.bool_)):
      raise RequestError(f'{OPTIONS}/values: found {_kind(wanted)}, expected true or false.')
    if wanted and not self.has_values:
      raise RequestError(
        f'{OPTIONS}/values: this policy is served without a critic of actions; the metadata say '
        'so too.'
      )
    return bool(wanted)

  def _plan(self, options: Mapping) -> tuple[np.ndarray | None, int]:
    plan, delay = options.get('prefix'), options.get('delay', 0)
    if plan is None:
      if not (type(delay) is int and delay == 0):
        raise RequestError(f'{OPTIONS}/delay: found {str(delay)[:40]} without {OPTIONS}/prefix.')
      return None, 0
    if not self.real_time:
      raise RequestError(
        f'{OPTIONS}/prefix: this server was started without --real_time; the metadata say so too.'
      )
    plan = _numbers(f'{OPTIONS}/prefix', plan)
    if plan.ndim != 2 or plan.shape[1] != self.chunk[1] or not len(plan):
      raise RequestError(
        f'{OPTIONS}/prefix: found {list(plan.shape)}, expected [k, {self.chunk[1]}], the actions '
        'that are carried out from this observation on.'
      )
    if isinstance(delay, np.integer):
      delay = int(delay)
    if type(delay) is not int or not 0 <= delay <= len(plan):
      raise RequestError(
        f'{OPTIONS}/delay: found {str(delay)[:40]}, expected 0 to {len(plan)}, as many as '
        f'{OPTIONS}/prefix has.'
      )
    return self.robot.action_to_policy(plan), delay

  def _needed(self, message: Mapping, key: str) -> Any:
    found = _look(message, key)
    if found is None:
      given = ', '.join(map(repr, list(_paths(message, self._keys()))[:12])) or 'none'
      raise RequestError(f'{key}: there is no such key among {given}; expected {self._expected()}.')
    return found


def _look(message: Mapping, path: str) -> Any:
  """What a message has under a key or a path of keys; None for nothing."""
  if path in message:
    return message[path]
  first, _, rest = path.partition('/')
  inner = message.get(first)
  return _look(inner, rest) if rest and isinstance(inner, Mapping) else None


def _paths(message: Mapping, known: tuple[str, ...]) -> Iterator[str]:
  """Keys of a message, of its maps the keys inside where such a path is known."""
  for key, value in message.items():
    key = key if isinstance(key, str) else repr(key)
    inside = any(path.startswith(f'{key}/') for path in known)
    if key not in known and inside and isinstance(value, Mapping):
      below = tuple(p.partition('/')[2] for p in known if p.startswith(f'{key}/'))
      yield from (f'{key}/{path}' for path in _paths(value, below))
    else:
      yield key


def _closest(key: str, known: Sequence[str]) -> str:
  """A question whether another key was meant, or ''."""
  close = difflib.get_close_matches(key[:80], known, n=1)  # what is longer is compared for hours
  return f'did you mean {close[0]!r}?' if close else ''


def _are_numbers(value: Any) -> bool:
  """Whether lists hold nothing but numbers; NumPy would make long texts of one that they hold."""
  if isinstance(value, list):
    return all(map(_are_numbers, value))
  return isinstance(value, (int, float, np.ndarray, np.generic)) and not isinstance(value, bool)


def _numbers(key: str, value: Any) -> np.ndarray:
  """Finite float32 numbers."""
  try:
    found = np.asarray(value) if _are_numbers(value) else np.empty((), object)
  except ValueError:  # lists of unequal lengths
    found = np.empty((), object)
  if found.dtype.kind not in 'fiu':
    raise RequestError(f'{key}: found {_kind(value)}, expected numbers.')
  with np.errstate(over='ignore', invalid='ignore'):
    numbers = found.astype(np.float32)
  if not np.isfinite(numbers).all():
    bad = np.argwhere(~np.isfinite(numbers))[0].tolist()
    raise RequestError(
      f'{key}: found {found[tuple(bad)]} at {bad}, expected finite numbers everywhere.'
    )
  return numbers


def _image(key: str, value: Any) -> np.ndarray:
  """[H, W, 3] uint8 of any of the layouts that cameras and openpi's clients have."""
  if not isinstance(value, np.ndarray) or value.ndim != 3 or 0 in value.shape:
    raise RequestError(f'{key}: found {_kind(value)}, expected an image [H, W, 3] or [3, H, W].')
  first, last = value.shape[0] == 3, value.shape[2] == 3
  if first == last:
    raise RequestError(
      f'{key}: found {_kind(value)}, expected an image [H, W, 3] or [3, H, W] of which only one '
      'axis can be that of the colours.'
    )
  edges = value.shape[1:] if first else value.shape[:2]
  if max(edges) > _LONGEST_EDGE or min(edges) * _THINNEST < max(edges):
    raise RequestError(
      f'{key}: found {_kind(value)}, expected up to {_LONGEST_EDGE} pixels, and an edge that is at '
      f'most {_THINNEST} times the other.'
    )
  if value.dtype.kind == 'f':
    low, high = float(value.min()), float(value.max())
    if not 0 <= low <= high <= 1:  # of NaN too
      raise RequestError(
        f'{key}: found {value.dtype} from {low:.6g} to {high:.6g}, expected 0 to 1, or uint8.'
      )
    value = (255 * value).astype(np.uint8)
  if value.dtype != np.uint8:
    raise RequestError(f'{key}: found {_kind(value)}, expected uint8, or floats from 0 to 1.')
  return np.ascontiguousarray(value.transpose(1, 2, 0) if first else value)


def _seed(value: Any) -> int | None:
  if isinstance(value, np.integer):
    value = int(value)
  if value is None or (type(value) is int and 0 <= value < 2**32):
    return value
  raise RequestError(f'{OPTIONS}/seed: found {str(value)[:40]}, expected 0 to {2**32 - 1}.')


def _id(value: Any) -> Any:
  if value is None or type(value) is int or (isinstance(value, str) and len(value) <= _ROOM):
    return value
  raise RequestError(f'{OPTIONS}/id: found {_kind(value)}, expected a short text or a number.')


def _kind(value: Any) -> str:
  """What a value is, in a few words."""
  if isinstance(value, (np.ndarray, np.generic)):
    return f'{value.dtype} {list(value.shape)}'
  if isinstance(value, (str, bytes)):
    return f'{type(value).__name__} of {len(value)}'
  return type(value).__name__


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
