"""Answers of a server: what is wrong with one is told once, and its checkpoint is kept."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Protocol

import numpy as np

from aloe_client import acting as acting_lib
from aloe_client import asker as asker_lib
from aloe_client import events as events_lib
from aloe_client import plan as plan_lib
from aloe_client import told as told_lib

_NUMBER = re.compile(r'[-\d.]+')


class Asks(Protocol):
  """What asks the server; see `asker.Asker`."""

  @property
  def ready(self) -> bool:
    """Whether a request may be sent."""

  def send(self, token: Any, request: dict[str, Any]) -> None:
    """Sends a request."""

  def take(self) -> asker_lib.Answer | None:
    """The answer that has come."""


@dataclasses.dataclass(frozen=True)
class Reply:
  """An answer that can be played.

  Attributes:
    asked: the request.
    actions: [h, A] finite float32.
    told: the rest of it.
    seconds: that it took.
  """

  asked: plan_lib.Asked
  actions: np.ndarray
  told: dict[str, Any]
  seconds: float


class Answers:
  """Takes answers."""

  def __init__(self, asks: Asks, acting: acting_lib.Acting, events: events_lib.Events):
    self._asks, self._acting, self._events = asks, acting, events
    self._problem = ''

  def take(self, generation: int, size: int | None) -> Reply | None:
    """The answer that has come, where it can be played and is one to what is going on.

    Args:
      generation: of requests that are not outdated.
      size: A, numbers of an action, or None where nobody says.
    """
    answer = self._asks.take()
    if answer is None:
      return None
    problem = '' if answer.error is None else str(answer.error) or type(answer.error).__name__
    found = None
    if answer.reply is not None:
      try:
        about = self._acting.add(told_lib.about(answer.reply))  # also of a reply that is outdated
        actions = told_lib.actions(answer.reply, size)
        rest = {key: value for key, value in answer.reply.items() if key != 'actions'}
        found = Reply(answer.token, actions, {**rest, 'aloe': about}, answer.seconds)
      except ValueError as error:
        problem = str(error)
    if answer.token.generation != generation:
      return None
    kind = _NUMBER.sub('', problem)  # a state that goes on is refused with another number each time
    if problem and kind != self._problem:
      lost = isinstance(answer.error, ConnectionError)  # or else it is there and refuses
      self._events.add('lost_server' if lost else 'server', f'No actions: {problem}', loud=True)
    if self._problem and not problem:
      self._events.add('answers', 'The server answers again.')
    self._problem = kind
    return found
