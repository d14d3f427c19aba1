"""A model with all that goes with it: how its messages are read, what is told of it, its replies.

A request is read, answered and replied to by one version, whatever comes meanwhile.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np

from aloe_client import wire
from aloe_jax.reporting import alarm
from aloe_jax.run import action_kind
from aloe_jax.serving import actions as actions_lib
from aloe_jax.serving import model as model_lib
from aloe_jax.serving import requests
from aloe_jax.serving import robots

PROTOCOL = 1
KIND_ADVICE = 'give --robot a file with "kind", see docs/serving.md.'


class NotFiniteError(RuntimeError):
  """The policy gave what no robot may be sent."""


@dataclasses.dataclass(frozen=True)
class Version:
  """One checkpoint, for one kind of robot.

  Attributes:
    model: that answers.
    robot: whose messages are read.
    limits: that no action goes beyond.
    kind: of actions, position or velocity; empty where nobody tells.
    reader: of messages.
    greeting: the first frame of a connection, packed.
    alarms: of the greeting, below which Q a person is warned and how often falsely; a connection
      that was greeted by an earlier version is told them with its first reply by this one.
  """

  model: model_lib.Model
  robot: robots.Robot
  limits: actions_lib.Limits
  kind: str
  reader: requests.Reader
  greeting: bytes
  alarms: Mapping[str, float | None]

  def reply(
    self, reading: model_lib.Reading, answer: model_lib.Answer, tag: Any, *, is_new: bool = False
  ) -> dict[str, Any]:
    """What is sent back, but for the times: numbers of the robot, and what is to be known of them.

    Besides the actions there are no arrays, as openpi's chunk broker would take steps of them.

    Args:
      reading: that was asked.
      answer: of the model.
      tag: that comes back; None for none.
      is_new: whether the connection was told of another version last.

    Raises:
      NotFiniteError: the policy gave no numbers: neither limits nor alarms would stop these.
    """
    chunk = answer.actions
    wanted = self.robot.action_to_robot(chunk)
    values = [x for x in (answer.q, answer.v, answer.spread) if x is not None]
    if not (np.isfinite(wanted).all() and np.isfinite(values).all()):
      raise NotFiniteError('the policy gave numbers that are not finite; nothing is sent.')
    told: list[str] = []
    if self.reader.normalized:
      told = actions_lib.unusual(self.model.policy.inputs, chunk, reading.state)
    held, clipped = self.limits.hold(wanted, self._before(reading))
    about: dict[str, Any] = {
      'checkpoint': self.model.name,
      'step': self.model.step,
      'clipped': bool(clipped),
      'flags': told + clipped,
    }
    if tag is not None:
      about['id'] = tag
    if answer.q is not None:
      about |= {'q': answer.q, 'v': answer.v, 'spread': answer.spread}
    if is_new:
      about |= self.alarms
    return {'actions': np.ascontiguousarray(held, np.float32), requests.OPTIONS: about}

  def _before(self, reading: model_lib.Reading) -> np.ndarray | None:
    """What the first action goes on from: where the robot is, if actions are such places."""
    if self.kind != 'position' or reading.state.size != self.model.chunk_shape[1]:
      return None
    return self.robot.action_to_robot(reading.state)


def make(
  model: model_lib.Model,
  robot: robots.Robot,
  limits: actions_lib.Limits,
) -> Version:
  """A version of a model.

  Args:
    model: that answers.
    robot: whose messages are read.
    limits: that no action goes beyond.

  Raises:
    ValueError: the robot and the policy do not go together.
  """
  reader, kind = requests.make_reader(model, robot), _kind(model, robot)
  if limits.step is not None and not kind and reader.state_size == model.chunk_shape[1]:
    raise ValueError(
      f'--limits holds back steps from one action to the next, and nobody tells whether actions '
      f'are positions, whose first goes on from the state, or velocities; {KIND_ADVICE}'
    )
  alarms = _alarm(model)
  told = {requests.OPTIONS: _metadata(model, robot, reader, kind, alarms)}
  return Version(model, robot, limits, kind, reader, wire.pack(told), alarms)


def _kind(model: model_lib.Model, robot: robots.Robot) -> str:
  """What an action is, by the robot or by what the policy learnt from; empty for nobody tells.

  Raises:
    ValueError: the two differ.
  """
  learnt = action_kind.of(model.found.meta)
  if learnt and robot.kind not in ('', learnt):
    raise ValueError(
      f'--robot={robot.name} takes actions of the kind {robot.kind}, but the episodes that '
      f'{model.name} learnt from have those of the kind {learnt}.'
    )
  return robot.kind or learnt


def _metadata(
  model: model_lib.Model,
  robot: robots.Robot,
  reader: requests.Reader,
  kind: str,
  alarms: Mapping[str, float | None],
) -> dict[str, Any]:
  """What a robot's program is told when it connects."""
  config, meta = model.experiment.config, model.found.meta
  horizon, size = model.chunk_shape
  sizes = _state_sizes(robot, reader.state_size)
  low, high = _reach(model, robot)
  return {
    'version': PROTOCOL,
    'checkpoint': model.name,
    'step': model.step,
    'phase': meta.get('phase', ''),
    'prompt': model.policy.prompt,
    'prompt_key': robot.prompt,
    'preset': robot.name,
    'cameras': {}
    if reader.features
    else {
      key: {'shape': None, 'camera': camera}
      for key, camera in robot.cameras.items()
      if camera in reader.cameras
    },
    'features': list(reader.features) if reader.features else None,
    'state': {
      key: {'size': sizes[key], 'names': [], 'unit': '', 'kind': 'position'} for key in robot.state
    },
    'action': {
      'size': size,
      'names': list(robot.names) if len(robot.names) == size else [],
      'unit': robot.unit,
      'kind': kind,
      'low': low,
      'high': high,
    },
    'horizon': horizon,
    'execute': config.task.execute,
    'control_hz': float(config.task.control_hz),
    'values': model.has_values,
    'real_time': model.real_time,
    'best_of': model.policy.samples,
    'checked': reader.normalized,
    'statistics': _digest(meta) if reader.normalized else None,
    **alarms,
  }


def _state_sizes(robot: robots.Robot, size: int) -> dict[str, int | None]:
  """Numbers of each part of the state: of several all but the first are told by their names."""
  if len(robot.state) == 1:
    return {robot.state[0]: size}
  if robot.name == 'droid':
    return dict(zip(robot.state, (7, 1), strict=True))
  return dict.fromkeys(robot.state)


def _reach(
  model: model_lib.Model, robot: robots.Robot
) -> tuple[list[float | None] | None, list[float | None] | None]:
  """Where 98 % of the training's actions lay; None for numbers that are relative to the state."""
  config = model.experiment.config
  if config.data.normalization == 'none' or robot.adapts:
    return None, None
  size = model.chunk_shape[1]
  action = model.policy.inputs.action
  ends = np.array([[-1.0], [1.0]], np.float32) * np.full(size, action.reach, np.float32)
  found = np.asarray(action.inverse(ends))
  relative = [count > 0 for count in config.task.delta for _ in range(abs(count))]
  relative += [False] * (size - len(relative))
  low, high = (
    [None if r else float(x) for x, r in zip(row, relative, strict=True)] for row in found
  )
  return low, high


def _alarm(model: model_lib.Model) -> dict[str, float | None]:
  """Below which Q a person is warned, and how often falsely, where the run's report says so."""
  found = None
  if model.has_values:
    workdir = pathlib.Path(model.name).parent.parent
    found = alarm.read(workdir, model.found.meta['iteration'])
  return dict(zip(('q_threshold', 'false_alarms'), found or (None, None), strict=True))


def _digest(meta: dict[str, Any]) -> str:
  """Of the statistics that states and actions are normalised with."""
  text = json.dumps(meta.get('norm_stats'), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]
