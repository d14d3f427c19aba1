"""A chunk of actions on its way through the robot, and the command of one tick."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass
class Plan:
  """A chunk of actions, and what it was planned from.

  Attributes:
    number: of the request, from 0 on.
    step: of the episode whose observation it was planned from; None if that was before the first.
    time: seconds since 1970 of that observation.
    reply: of the server, without the actions.
    actions: [h, A].
    skipped: actions that were executed while the reply was on its way.
    delay: ticks from the observation to the reply.
    told_delay: ticks that the server was told to reckon with; None without real-time chunking.
    latency: seconds that the server took.
  """

  number: int
  step: int | None
  time: float
  reply: dict[str, Any]
  actions: np.ndarray
  skipped: int
  delay: int
  told_delay: int | None
  latency: float


@dataclasses.dataclass(frozen=True)
class Command:
  """What a robot is to do in this tick.

  Attributes:
    action: [A], within the limits; None where nothing may be sent yet.
    requested: [A], before limits and fading.
    who: policy or human.
    held: whether the robot stands still for want of an action.
    plan: number of the chunk, and `index` of the action in it; None where it is of none.
    index: see `plan`.
  """

  action: np.ndarray | None
  requested: np.ndarray | None
  who: str
  held: bool
  plan: int | None = None
  index: int | None = None


@dataclasses.dataclass
class Asked:
  """A request in flight: what `Plan` says of its observation, and how far the robot was then."""

  number: int
  generation: int
  step: int | None
  time: float
  sent: float
  tick: int
  executed: int
  told_delay: int | None
