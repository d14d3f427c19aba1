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

What a person says by a page, a terminal or `end(wait=True)` holds here too: the next episode waits
for *next*, and *stop* ends the program before the robot moves again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import time
from typing import Any

import numpy as np

from aloe_client import commands
from aloe_client import connection
from aloe_client import recorder as recorder_lib

_STANDSTILL = 1.0  # seconds after which what was sent last is no place to stay
_FIRST_CHUNK = 120.0  # seconds that the first chunk of an episode may take


class StoppedError(SystemExit):
  """A person has said stop: the program ends, and the robot is left where it is."""

  def __init__(self) -> None:
    super().__init__('A person has said stop: no other episode begins. The robot is where it was.')


class Policy:
  """A policy of `openpi_client.base_policy`, which plays chunks as the recorder does."""

  def __init__(self, recorder: recorder_lib.Recorder, clock: Any = time):
    self._recorder, self._clock = recorder, clock
    self._last: Any = None
    self._at = clock.monotonic()  # when that was sent

  def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
    """{'actions': the command of this tick}; of an episode's first it waits, with the robot still.

    It is None where a person has ended the episode, and nothing was sent in it or of late:
    `Environment` sends nothing then.

    Raises:
      LostServerError: there was no chunk within two minutes.
    """
    start = self._clock.monotonic()
    if start - self._at > _STANDSTILL:
      self._last = None  # the robot may be elsewhere by now
    end = start + _FIRST_CHUNK
    while (command := self._recorder.infer(obs)) is None:
      if not self._recorder.recording:
        return {'actions': self._last}  # the robot stays where it was sent last, if it was
      if self._clock.monotonic() > end:
        raise connection.LostServerError(f'no actions came within {_FIRST_CHUNK:g} s.')
      self._clock.sleep(1 / self._recorder.hz)
    self._last, self._at = command, self._clock.monotonic()
    return {'actions': command}

  def reset(self) -> None:
    """Another episode: nothing of the last one is sent again."""
    self._last = None


class Environment:
  """An environment of `openpi_client.runtime` whose episodes a person can end as well.

  If `apply_action` of the robot returns an action, or a map with `actions`, that is recorded as
  what was executed.
  """

  def __init__(self, environment: Any, recorder: recorder_lib.Recorder):
    self._environment, self._recorder = environment, recorder
    self._commands = commands.of(recorder)

  def reset(self) -> None:
    """Resets the robot; what was still being recorded is a cut.

    Raises:
      StoppedError: a person has said stop, and nothing moves.
    """
    self._recorder.end('cut')
    if self._commands.stopped:
      raise StoppedError
    self._environment.reset()

  def is_episode_complete(self) -> bool:
    """Whether the environment says so, or a person has ended the episode."""
    return self._environment.is_episode_complete() or not self._recorder.recording

  def get_observation(self) -> dict[str, Any]:
    """The robot's own."""
    return self._environment.get_observation()

  def apply_action(self, action: dict[str, Any]) -> None:
    """Sends the action to the robot, if there is one; see `Policy.infer`."""
    if action.get('actions', ()) is None:
      return
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
    self._commands = commands.of(recorder)

  def on_episode_start(self) -> None:
    """Waits for *next*, or `begin` of the recorder, where a person has ended the last episode.

    Raises:
      StoppedError: a person has said stop.
    """
    if not self._recorder.recording:
      self._recorder.events.add('wait', 'The next episode waits for a person to say next.')
    if not self._commands.wait(alone=True):
      raise StoppedError

  def on_step(self, observation: dict[str, Any], action: dict[str, Any]) -> None:
    """Records the step of a program that asks its server itself."""
    if not self._recorder.plays:
      self._recorder.observe(observation, np.asarray(action['actions']))

  def on_episode_end(self) -> None:
    """Ends the episode, unless a person has."""
    self._recorder.end(self._outcome() or 'cut')
