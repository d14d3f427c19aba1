"""What is kept of a server, a chunk and a step, in terms of JSON and MessagePack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aloe_client import episode_files
from aloe_client import observing
from aloe_client import plan as plan_lib

_OF_REPLY = ('checkpoint', 'q', 'v', 'spread', 'flags', 'clipped')


def header(
  told: Mapping[str, Any], layout: observing.Layout, task: str, hz: float, started: float
) -> dict[str, Any]:
  """What is known of an episode when it begins.

  Args:
    told: by the server of its policy; empty where there is none.
    layout: of its observations.
    task: the prompt.
    hz: steps a second, as was told.
    started: seconds since 1970.
  """
  states = told.get('state') or {}
  return {
    'format': episode_files.FORMAT,
    'task': task,
    'started': started,
    'hz': hz,
    'cameras': sorted(layout.cameras),
    'state': {key: plain(states.get(key)) for key in layout.state},
    'action': plain(told.get('action')),
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


def same_numbers(told: Mapping[str, Any]) -> bool:
  """Whether the state holds the very numbers of an action, as the server names them."""
  state, action = list((told.get('state') or {}).values()), told.get('action') or {}
  if not state or action.get('kind') == 'velocity':
    return False
  names = [name for part in state for name in part.get('names') or ()]
  if names or action.get('names'):
    return names == list(action.get('names') or ())
  sizes = sum(part.get('size') or 0 for part in state)
  return sizes == action.get('size') and {part.get('unit') for part in state} == {
    action.get('unit')
  }


def plain(value: Any) -> Any:
  """What JSON can hold of a value of a server."""
  if isinstance(value, Mapping):
    return {str(key): plain(part) for key, part in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(part) for part in value]
  if isinstance(value, (np.ndarray, np.generic)):
    return value.tolist()
  return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
