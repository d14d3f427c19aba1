"""What is kept of a server, a chunk and a step, in terms of JSON and MessagePack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from aloe_client import episode_files
from aloe_client import observing
from aloe_client import plan as plan_lib
from aloe_client import robot as robot_lib

_HZ = 30.0  # where neither the server nor the robot says how many actions a second
_RATE_SLACK = 0.02  # of the rates of the loop and of the policy
_HORIZON = 50  # likewise of the actions of a chunk
_OF_REPLY = ('checkpoint', 'q', 'v', 'spread', 'flags', 'clipped')


@dataclasses.dataclass(frozen=True)
class Policy:
  """A policy, by what its server says, else by what the robot is.

  Attributes:
    told: of the server; empty where it says nothing.
    action: what is known of an action, by both.
    hz: actions a second.
    size: numbers of an action, or None.
    kind: of an action, position or velocity; empty where nobody says.
    same: whether the state holds the very numbers of an action, as far as the server says.
    turns: of an action, whether each number is a speed, so that none of it is zero; a gripper's is
      a place among speeds too. None where no number is known.
    horizon: actions of a chunk, h, or None.
    execute: of those that are played, e.
  """

  told: Mapping[str, Any]
  action: Mapping[str, Any]
  hz: float
  size: int | None
  kind: str
  same: bool
  turns: tuple[bool, ...] | None
  horizon: int | None
  execute: int

  @classmethod
  def of(cls, metadata: Mapping[str, Any], robot: robot_lib.Robot) -> Policy:
    """Reads what the server said when the connection opened."""
    told = metadata.get('aloe') or {}
    action, part = told.get('action') or {}, robot.action or robot_lib.Part(0)
    horizon = told.get('horizon')
    size = action.get('size') or part.size or None
    kind = action.get('kind') or part.kind
    names = list(action.get('names') or part.names)
    return cls(
      told=told,
      action=_known(action, part),
      hz=float(told.get('control_hz') or robot.control_hz or _HZ),
      size=size,
      kind=kind,
      same=_same_numbers(told),
      turns=None if kind != 'velocity' or size is None else _turns(size, names),
      horizon=horizon,
      execute=int(told.get('execute') or horizon or _HORIZON),
    )

  def other_rate(self, hz: float) -> str:
    """A sentence where the policy was made for another rate than actions are played at, or ''."""
    if not self.told or abs(hz / self.hz - 1) <= _RATE_SLACK:
      return ''
    return f'{hz:g} actions a second are played; the policy was made for {self.hz:g}.'

  def unknown_hold(self) -> str:
    """A sentence where nobody says what a robot that holds is to be sent, or ''."""
    if self.kind:
      return ''
    part = f"Part({self.size or 7}, kind='position')"
    return (
      'Neither the server nor robot= says whether actions are positions or velocities: a robot '
      f"that holds is sent nothing. Say it by robot=Robot(action={part}), or 'velocity', or give "
      'hold=.'
    )

  def check(self, *, execute: int | None, real_time: bool, values: bool) -> None:
    """Refuses what the server cannot give.

    Raises:
      ValueError: naming the argument of the recorder.
    """
    if execute is not None and not 1 <= execute <= (self.horizon or execute):
      raise ValueError(f'execute: found {execute}, expected 1 to {self.horizon or "all"} actions.')
    for name, asked in (('real_time', real_time), ('values', values)):
      if asked and not self.told.get(name):
        otherwise = ', or give None, which asks where it is offered' if name == 'values' else ''
        raise ValueError(
          f'{name}: found True, and the server does not offer it; leave it out{otherwise}.'
        )


def header(
  policy: Policy, layout: observing.Layout, task: str, hz: float, started: float
) -> dict[str, Any]:
  """What is known of an episode when it begins.

  Args:
    policy: that acts, as far as it is known.
    layout: of its observations.
    task: the prompt.
    hz: steps a second, as was told.
    started: seconds since 1970.
  """
  told = policy.told
  states = told.get('state') or {}
  return {
    'format': episode_files.FORMAT,
    'task': task,
    'started': started,
    'hz': hz,
    'cameras': sorted(layout.cameras),
    'features': layout.features is not None,
    'state': {key: plain(states.get(key)) for key in layout.state},
    'action': plain(policy.action) or None,
    'checkpoint': told.get('checkpoint'),
    'checkpoint_step': told.get('step'),
  }


def of_plan(plan: plan_lib.Plan) -> dict[str, Any]:
  """The record of a chunk: what it was planned from, how long that took, and by what."""
  told = plan.reply.get('aloe') or {}
  return {
    'type': 'plan',
    'number': plan.number,
    'observed_step': plan.step,
    'observed_time': plan.time,
    'actions': plan.actions,
    'skipped': plan.skipped,
    'delay': plan.delay,
    'told_delay': plan.told_delay,
    'latency': plan.latency,
    'checkpoint_step': told.get('step'),
    **{name: plain(told.get(name)) for name in _OF_REPLY},
  }


def plain(value: Any, depth: int = 8) -> Any:
  """What JSON can hold of a value of a server, however deep or strange it is."""
  if isinstance(value, (Mapping, list, tuple)) and not depth:
    return type(value).__name__
  if isinstance(value, Mapping):
    return {str(key): plain(part, depth - 1) for key, part in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(part, depth - 1) for part in value]
  if isinstance(value, (np.ndarray, np.generic)):
    if value.dtype.kind == 'f':
      return value.astype(np.float64).tolist()
    return value.tolist() if value.dtype.kind in 'biuU' else str(value)
  return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _known(action: Mapping[str, Any], part: robot_lib.Part) -> dict[str, Any]:
  """What is known of an action, by the server or else by the robot; empty where nothing is."""
  ours = {name: value for name, value in vars(part).items() if value}
  if 'names' in ours:
    ours['names'] = list(part.names)
  return {**action, **{name: value for name, value in ours.items() if not action.get(name)}}


def _same_numbers(told: Mapping[str, Any]) -> bool:
  state, action = list((told.get('state') or {}).values()), told.get('action') or {}
  if not state or action.get('kind') == 'velocity':
    return False
  names = [name for part in state for name in part.get('names') or ()]
  if names and action.get('names'):
    return names == list(action['names'])
  return sum(part.get('size') or 0 for part in state) == action.get('size')


def _turns(size: int, names: Sequence[str]) -> tuple[bool, ...]:
  if len(names) != size:
    return (True,) * size
  return tuple('gripper' not in name.lower() for name in names)
