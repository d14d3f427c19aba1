"""Plays a policy, lets a person take over, and writes what happened as episodes.

    recorder = aloe_client.Recorder('ws://server:8000', 'fold the t-shirt', 'recordings')
    pace = recorder.pace()
    while recorder.recording:
      pace.wait()
      action = recorder.infer(robot.observe())
      if action is not None:
        robot.send(action)
    recorder.close()

`takeover`, `release`, `end` and `discard` may be called from any thread, such as that of a page or
a keyboard. The robot's loop calls `infer`, which never waits for the server or the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import contextlib
import pathlib
import threading
import time
from typing import Any

import numpy as np

from aloe_client import acting as acting_lib
from aloe_client import arguments
from aloe_client import asker as asker_lib
from aloe_client import connection as connection_lib
from aloe_client import described
from aloe_client import episode_files
from aloe_client import episode_writer
from aloe_client import episodes as episodes_lib
from aloe_client import events as events_lib
from aloe_client import executor as executor_lib
from aloe_client import images as images_lib
from aloe_client import person as person_lib
from aloe_client import plan as plan_lib
from aloe_client import rate
from aloe_client import recording as recording_lib
from aloe_client import robot as robot_lib
from aloe_client import sight as sight_lib
from aloe_client import snapshot
from aloe_client import units as units_lib


class Recorder:
  """One robot, one policy server and one directory of episodes.

  An episode begins with the first `infer` after another has ended. Its first step is the first
  action, whoever chose it: waiting for the first chunk is not recorded.

  Attributes:
    directory: of the episodes.
    events: what a person has to hear; `events.listen` tells it at once.
    hz: steps a second.
  """

  def __init__(
    self,
    server: str | asker_lib.Server | None,
    task: str,
    directory: str | pathlib.Path,
    *,
    robot: robot_lib.Robot | None = None,
    key: str | None = None,
    certificate: str | None = None,
    hz: float | None = None,
    execute: int | None = None,
    human: person_lib.Source | None = None,
    hold: Callable[[np.ndarray], Any] | None = None,
    stale: float = 1.0,
    fade: float = 1.0,
    low: Any = None,
    high: Any = None,
    max_step: Any = None,
    to_robot: Callable[[np.ndarray], Any] | None = None,
    to_policy: Callable[[Any], Any] | None = None,
    real_time: bool = False,
    values: bool | None = False,
    images: str | Callable[[np.ndarray], bytes] = 'auto',
    clock: Any = time,
  ):
    """Connects, holds the server against the robot, and locks the directory. Nothing moves.

    Args:
      server: address such as ws://server:8000, a `Connection`, or None to record what another
        program plays, see `observe`.
      task: the prompt of observations without one.
      directory: of the episodes, see `episode_files`.
      robot: what it is; a server with a policy of another one is refused.
      key: that the server asks for.
      certificate: of the authority of a server's own certificate.
      hz: steps a second; by default as the server says.
      execute: e, actions of a chunk that are played; by default as the server says.
      human: who acts after `takeover()` without a source.
      hold: the action that keeps the robot where it is, given the state [n]; by default velocities
        of zero, and positions, as of a gripper, that it was sent last; none where no kind is told.
      stale: seconds that the server may be silent before the robot holds.
      fade: seconds over which a take-over closes the gap between the robot and the person.
      low, high: least and most of each number of an action, one or [A].
      max_step: largest change of each from one command to the next, one or [A].
      to_robot: the robot's own command for an action [A]; what it clips counts as executed.
      to_policy: its inverse; both or none.
      real_time: real-time chunking.
      values: ask for Q, V and the ensemble's spread; None where the server offers them.
      images: auto, jpeg, png or raw, see `images.encoder`; or what makes bytes of pixels.
      clock: `monotonic`, `time` and `sleep`; those of a simulator, where there is one.

    Raises:
      LostServerError: the server cannot be reached.
      UnfitServerError: it is none, or one for another robot.
      LockedError: another program records in the directory.
      FullDiskError: there is too little room for an episode.
      ValueError: naming the argument that is wrong.
    """
    acts = {'human': human, 'hold': hold, 'to_robot': to_robot, 'to_policy': to_policy}
    given = {'directory': directory, 'robot': robot, 'clock': clock}
    arguments.check(task, acts, hz=hz, execute=execute, stale=stale, fade=fade, **given)
    arguments.check_access(server, key=key, certificate=certificate)
    self._clock, self._task, self._human = clock, task, human
    encode = images_lib.encoder(images) if isinstance(images, str) else images
    if isinstance(server, str):
      server = connection_lib.Connection(server, key=key, certificate=certificate, robot=robot)
    self._server = server
    told: dict[str, Any] = {}
    self.directory = pathlib.Path(directory).expanduser()
    self.events = events_lib.Events(clock)
    with contextlib.ExitStack() as undo:  # a recorder that is not made leaves nothing open
      if server is not None:
        undo.callback(server.close)
        told = asker_lib.greeting(server, robot)
      policy = described.Policy.of(told, robot or robot_lib.Robot())
      values = bool(policy.told.get('values')) if values is None else values
      policy.check(execute=execute, real_time=real_time, values=values)
      self.hz = float(hz or policy.hz)
      limits = arguments.limits(policy.size, {'low': low, 'high': high, 'max_step': max_step})
      self._writer = episode_writer.EpisodeWriter(self.directory, self.events, encode=encode)
      undo.callback(self._writer.close)
      self._writer.check_free()
      undo.pop_all()
    if text := policy.other_rate(self.hz):
      self.events.add('rate', text, loud=True)
    if server is not None and hold is None and (text := policy.unknown_hold()):
      self.events.add('hold', text, loud=True)
    self._asks = asker_lib.of(server, clock)
    self._told, self._acting = told, acting_lib.Acting(policy.told)
    self._units = units_lib.Units(to_robot, to_policy, self.events)
    self._sight = sight_lib.Sight(told, task, self.events)
    self._episodes = episodes_lib.Episodes(
      self._writer, self._sight, self.events, policy, self._acting, task, self.hz, clock
    )
    self._steps = self._episodes.steps
    self._executor = executor_lib.Executor(
      self._asks,
      hz=self.hz,
      execute=execute or policy.execute,
      size=policy.size,
      limits=limits,
      kind=policy.kind,
      turns=policy.turns,
      same=policy.same,
      hold=hold,
      stale=stale,
      fade=fade,
      real_time=real_time,
      options=({'values': True} if values else {}) if policy.told else None,
      acting=self._acting,
      on_plan=self._episodes.plan,
      events=self.events,
      clock=clock,
    )
    self._lock = threading.RLock()
    self._paused = self._is_closed = False

  def __enter__(self) -> Recorder:
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  # The robot's loop

  def pace(self) -> rate.Pace:
    """What keeps the loop at `hz`."""
    return rate.Pace(self.hz, self._clock)

  def infer(self, observation: Mapping[str, Any]) -> Any:
    """The command for an observation, at once.

    Args:
      observation: a request of the server; the prompt may be left out.

    Returns:
      An action [A] float32, or what `to_robot` makes of it; None where nothing may be sent yet:
      the first chunk is on its way.

    Raises:
      FullDiskError: there is no room for an episode; nothing was sent.
      RuntimeError: the recorder is closed.
      ValueError: naming the key of the observation that is wrong, where no episode goes on yet.
        Within one that is told as an event, and the robot holds.
    """
    with self._lock:
      self._check_open()
      if count := self._steps.count:
        found = self._sight.find(observation, f'Episode {self._writer.count}, step {count}')
      else:
        found = self._sight.look(observation)
      if found is None:
        return self._units.at_rest(self._executor.blind(self._sight.state))
      request, state = found
      if self._paused:
        return self._units.at_rest(self._executor.idle(request, state))
      now = self._episodes.tick()
      whole = all(image is not None for image in self._sight.images.values())
      command = self._executor.tick(request, state, self._steps.count, whole=whole)
      if command.action is None:
        return None
      both = self._units.sent(command.action)
      if both is None:
        return self._units.at_rest(self._executor.unsent(state))
      sent, executed = both
      self._executor.executed(executed)
      if self._steps.count or not command.held:
        self._episodes.add(command, executed, request, state, now)
      return sent

  def executed(self, command: Any) -> None:
    """Says what the robot made of the last command, where it was something else.

    Args:
      command: in the robot's own terms, as `infer` returns it; of no use after the episode's end.

    Raises:
      ValueError: it is none.
    """
    with self._lock:
      if self._steps.is_pending:
        action = self._units.executed(command)
        self._steps.correct(action)
        self._executor.executed(action)

  def observe(self, observation: Mapping[str, Any], action: Any, who: str = 'policy') -> None:
    """Records a step that another program plays.

    Args:
      observation: before the action.
      action: [A] that was executed, in the units of the policy.
      who: policy or human.

    Raises:
      RuntimeError: the recorder is closed.
      ValueError: naming what is wrong; the step is not recorded, and the episode goes on.
    """
    if who not in ('policy', 'human'):
      raise ValueError(f'who: found {who!r}, expected policy or human.')
    with self._lock:
      self._check_open()
      request, state = self._sight.look(observation, begins=not self._steps.count)
      if not self._paused:
        executed = self._steps.checked(np.array(action, np.float32))
        now = self._episodes.tick()
        command = plan_lib.Command(executed, executed, who, held=False)
        self._episodes.add(command, executed, request, state, now)

  @property
  def metadata(self) -> dict[str, Any]:
    """What the server said of itself, with the checkpoint that answers now."""
    return self._acting.greeting(self._told)

  @property
  def plays(self) -> bool:
    """Whether `infer` has a server to ask; otherwise another program plays, see `observe`."""
    return self._server is not None

  # A person, from any thread

  @property
  def holding(self) -> str:
    """Why the robot holds, or empty; 'first' until the first chunk of an episode is there."""
    return self._executor.holding

  @property
  def recording(self) -> bool:
    """Whether an episode goes on or begins with the next `infer`; False while `end(wait=True)`."""
    return not self._paused

  def takeover(self, source: person_lib.Source | None = None) -> bool:
    """A person acts from the next step on.

    Args:
      source: the person's action [A] for an observation; by default `human`.

    Returns:
      Whether a person acts. Where nothing gives their actions that is told, and the policy goes on.
    """
    source = source or self._human
    with self._lock:
      if not callable(source):
        self.events.add('takeover', f'{arguments.NO_PERSON} The policy acts.', loud=True)
      elif self._executor.who != 'human':
        self._executor.takeover(source)
        self.events.add('takeover', 'A person has taken over.')
      return self._executor.who == 'human'

  def release(self) -> None:
    """The policy acts again, from a chunk planned from now on."""
    with self._lock:
      if self._executor.who == 'human':
        self._executor.release()
        self.events.add('release', 'The policy is asked for a new chunk.')

  def end(self, reason: str, *, wait: bool = False) -> bool:
    """Ends the episode.

    Args:
      reason: success, failure, timeout or cut.
      wait: no other episode begins before `begin`, and the robot holds, unless a person acts, who
        may put the scene in order.

    Returns:
      Whether there was one.
    """
    if reason not in episode_files.ENDS:
      raise ValueError(f'end: found {reason!r}, expected one of {", ".join(episode_files.ENDS)}.')
    with self._lock:
      recording = self._closed(wait)
      if recording is not None:
        recording.finish(reason)
        self.events.add('end', f'The episode ended: {reason}.')
      return recording is not None

  def begin(self) -> None:
    """Another episode may begin, after `end(wait=True)`.

    Raises:
      FullDiskError: there is no room for it.
      RuntimeError: the recorder is closed.
    """
    with self._lock:
      self._check_open()
      self._writer.check_free()
      self._paused = False

  def discard(self, *, wait: bool = False) -> str:
    """Takes back the episode that goes on, or else the last one; `wait` as in `end`.

    Returns:
      Which one, for a person; empty if there is none.

    Raises:
      RuntimeError: the recorder is closed.
    """
    with self._lock:
      self._check_open()
      recording = self._closed(wait)
      if recording is None:
        return self._writer.discard_last()
      recording.discard()
      self.events.add('discarded', 'The episode was taken back.')
      return f'Episode {self._writer.count}'

  def snapshot(self) -> dict[str, Any]:
    """What a page or a screen shows now, as a new map; see `snapshot.of`."""
    with self._lock:
      return {
        **snapshot.of(self._executor, self._episodes, self._writer, self._sight, self.events),
        'task': self._task,
        'may_take_over': self.plays and self._human is not None,
        'hz': self.hz,
      }

  def flush(self, timeout: float | None = None) -> bool:
    """Waits until the finished episodes are on the disk; False if they are not in time."""
    return self._writer.flush(timeout)

  def close(self) -> None:
    """Ends an open episode as cut, writes what waits, and leaves the server."""
    with self._lock:
      self.end('cut')
      self._paused = self._is_closed = True
    if self._server is not None:
      self._server.close()
    if isinstance(self._asks, asker_lib.Asker):
      self._asks.close()
    self._writer.close()

  # Steps

  def _check_open(self) -> None:
    if self._is_closed:
      raise RuntimeError(f'{self.directory}: this recorder is closed; make another one.')

  def _closed(self, wait: bool) -> recording_lib.Recording | None:
    """The episode that was open; None if there was none with a step in it."""
    self._paused = wait or (self._paused and self._steps.recording is None)
    self._executor.reset()
    return self._episodes.close()
