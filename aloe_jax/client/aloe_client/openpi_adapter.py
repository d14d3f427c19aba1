"""Records a robot program of openpi: three lines of it change, and openpi need not be installed.

    recorder = aloe_client.Recorder('ws://server:8000', 'fold the t-shirt', 'recordings')
    runtime = runtime.Runtime(
      environment=openpi_adapter.Environment(environment, recorder),
      agent=policy_agent.PolicyAgent(policy=openpi_adapter.Policy(recorder)),
      subscribers=[openpi_adapter.Subscriber(recorder), *subscribers],
      max_hz=50,
    )

`Policy` stands where ActionChunkBroker and WebsocketClientPolicy stood. A program that keeps those
is recorded as well: make the recorder without a server, and leave `Policy` out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import time
from typing import Any

import numpy as np

from aloe_client import connection
from aloe_client import recorder as recorder_lib

_FIRST_CHUNK = 120.0  # seconds that the first chunk of an episode may take


class Policy:
  """A policy of `openpi_client.base_policy`, which plays chunks as the recorder does."""

  def __init__(self, recorder: recorder_lib.Recorder, clock: Any = time):
    self._recorder, self._clock = recorder, clock
    self._last: Any = None

  def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
    """{'actions': the command of this tick}; of an episode's first it waits, with the robot still.

    Raises:
      LostServerError: there was no chunk within two minutes.
    """
    end = self._clock.monotonic() + _FIRST_CHUNK
    while (command := self._recorder.infer(obs)) is None:
      if not self._recorder.recording and self._last is not None:
        return {'actions': self._last}  # a person has ended the episode: the robot stays
      if self._clock.monotonic() > end:
        raise connection.LostServerError(f'no actions came within {_FIRST_CHUNK:g} s.')
      self._clock.sleep(1 / self._recorder.hz)
    self._last = command
    return {'actions': command}

  def reset(self) -> None:
    """Another episode, which the subscriber begins."""


class Environment:
  """An environment of `openpi_client.runtime` whose episodes a person can end as well.

  If `apply_action` of the robot returns an action, or a map with `actions`, that is recorded as
  what was executed.
  """

  def __init__(self, environment: Any, recorder: recorder_lib.Recorder):
    self._environment, self._recorder = environment, recorder

  def reset(self) -> None:
    """Resets the robot; what was still being recorded is a cut."""
    self._recorder.end('cut')
    self._environment.reset()

  def is_episode_complete(self) -> bool:
    """Whether the environment says so, or a person has ended the episode."""
    return self._environment.is_episode_complete() or not self._recorder.recording

  def get_observation(self) -> dict[str, Any]:
    """The robot's own."""
    return self._environment.get_observation()

  def apply_action(self, action: dict[str, Any]) -> None:
    """Sends the action to the robot."""
    done = self._environment.apply_action(action)
    if done is not None:
      self._recorder.executed(done['actions'] if isinstance(done, Mapping) else done)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._environment, name)


class Subscriber:
  """A subscriber of `openpi_client.runtime`, which begins and ends the episodes."""

  def __init__(
    self, recorder: recorder_lib.Recorder, outcome: Callable[[], str | None] | None = None
  ):
    """Records nothing yet.

    Args:
      recorder: of the robot.
      outcome: why the episode ended (success, failure, timeout or cut), where the program knows;
        by default, and where it is None, it is a cut: a success is never guessed.
    """
    self._recorder, self._outcome = recorder, outcome or (lambda: None)

  def on_episode_start(self) -> None:
    """Lets an episode begin."""
    self._recorder.begin()

  def on_step(self, observation: dict[str, Any], action: dict[str, Any]) -> None:
    """Records the step of a program that asks its server itself."""
    if not self._recorder.plays:
      self._recorder.observe(observation, np.asarray(action['actions']))

  def on_episode_end(self) -> None:
    """Ends the episode, unless a person has."""
    self._recorder.end(self._outcome() or 'cut')
