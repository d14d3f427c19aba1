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
import math
import numbers
import pathlib
import threading
import time
from typing import Any

import numpy as np

from aloe_client import asker as asker_lib
from aloe_client import connection as connection_lib
from aloe_client import described
from aloe_client import episode_files
from aloe_client import episode_writer
from aloe_client import events as events_lib
from aloe_client import executor as executor_lib
from aloe_client import images as images_lib
from aloe_client import judged
from aloe_client import motion
from aloe_client import observing
from aloe_client import plan as plan_lib
from aloe_client import rate
from aloe_client import robot as robot_lib
from aloe_client import steps as steps_lib
from aloe_client import told as told_lib

_RATE_SLACK = 0.02  # of the rates of the loop and of the policy


class Recorder:
  """One robot, one policy server and one directory of episodes.

  An episode begins with the first `infer` after another has ended. Its first step is the first
  action, whoever chose it: waiting for the first chunk is not recorded.

  Attributes:
    directory: of the episodes.
    events: what a person has to hear; `events.listen` tells it at once.
    metadata: what the server said of itself.
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
    human: executor_lib.Source | None = None,
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
        of zero, and positions, as of a gripper, that it was sent last.
      stale: seconds that the server may be silent before the robot holds.
      fade: seconds over which a take-over closes the gap between the robot and the person.
      low: least of each number of an action, one or [A]; likewise `high`.
      high: see `low`.
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
    if not task.strip():
      raise ValueError('task: found an empty text, expected what the robot is asked to do.')
    if (to_robot is None) != (to_policy is None):
      raise ValueError('to_robot and to_policy: found one of them, expected both or none.')
    _check_numbers(hz=hz, execute=execute, stale=stale, fade=fade)
    self._clock, self._task, self._human = clock, task, human
    self._to_robot = to_robot or (lambda action: action)
    self._to_policy = to_policy or (lambda command: command)
    encode = images_lib.encoder(images) if isinstance(images, str) else images
    if isinstance(server, str):
      server = connection_lib.Connection(server, key=key, certificate=certificate, robot=robot)
    self._server = server
    self._asks: executor_lib.Asks = asker_lib.Nobody()
    self.metadata: dict[str, Any] = {}
    self.directory = pathlib.Path(directory).expanduser()
    self.events = events_lib.Events(clock)
    with contextlib.ExitStack() as undo:  # a recorder that is not made leaves nothing open
      if server is not None:
        undo.callback(server.close)
        self.metadata = dict(server.open())
        if fault := told_lib.fault(self.metadata):
          raise connection_lib.UnfitServerError(f'The server says of its policy {fault}')
      policy = described.Policy.of(self.metadata, robot or robot_lib.Robot())
      if values is None:
        values = bool(policy.told.get('values'))
      policy.check(execute=execute, real_time=real_time, values=values)
      self.hz = float(hz or policy.hz)
      bounds = {'low': low, 'high': high, 'max_step': max_step}
      limits = None
      if any(bound is not None for bound in bounds.values()):
        if policy.size is None:
          raise ValueError('robot: found no action in it, expected one where commands have limits.')
        limits = motion.Limits(policy.size, **bounds)
      self._writer = episode_writer.EpisodeWriter(self.directory, self.events, encode=encode)
      undo.callback(self._writer.close)
      self._writer.check_free()
      undo.pop_all()
    if policy.told and abs(self.hz / policy.hz - 1) > _RATE_SLACK:
      text = f'{self.hz:g} actions a second are played; the policy was made for {policy.hz:g}.'
      self.events.add('rate', text, loud=True)
    if server is not None:
      itself = hasattr(server, 'take')
      self._asks = server if itself else asker_lib.Asker(server.infer, clock)  # type: ignore
    self._prompt = str(policy.told.get('prompt_key') or 'prompt')
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
      on_plan=self._note_plan,
      events=self.events,
      clock=clock,
    )
    self._lock = threading.RLock()
    self._layout: observing.Layout | None = None
    self._steps = steps_lib.Steps(self.events)
    self._judged = judged.Judged(policy.told, self.events)
    self._monitor = rate.Monitor(self.hz, self.events)
    self._images: dict[str, np.ndarray | None] = {}
    self._paused = False

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
      ValueError: naming the key of the observation that is wrong.
    """
    with self._lock:
      request, state = self._look(observation)
      if self._paused:
        action = self._executor.idle(request, state)
        return None if action is None else self._to_robot(action.copy())
      now = self._tick()
      whole = all(image is not None for image in self._images.values())
      command = self._executor.tick(request, state, self._steps.count, whole=whole)
      if command.action is None:
        return None
      sent = self._to_robot(command.action.copy())
      executed = np.asarray(self._to_policy(sent), np.float32).reshape(command.action.shape)
      self._executor.executed(executed)
      if self._steps.count or not command.held:
        self._add(command, executed, request, state, now)
      return sent

  def executed(self, command: Any) -> None:
    """Says what the robot made of the last command, where it was something else.

    Args:
      command: in the robot's own terms, as `infer` returns it.
    """
    with self._lock:
      action = np.array(self._to_policy(command), np.float32)
      self._steps.correct(action)
      self._executor.executed(action)

  def observe(self, observation: Mapping[str, Any], action: Any, who: str = 'policy') -> None:
    """Records a step that another program plays.

    Args:
      observation: before the action.
      action: [A] that was executed, in the units of the policy.
      who: policy or human.
    """
    if who not in ('policy', 'human'):
      raise ValueError(f'who: found {who!r}, expected policy or human.')
    with self._lock:
      request, state = self._look(observation)
      if not self._paused:
        now = self._tick()
        executed = np.array(action, np.float32)
        command = plan_lib.Command(executed, executed, who, held=False)
        self._add(command, executed, request, state, now)

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

  def takeover(self, source: executor_lib.Source | None = None) -> None:
    """A person acts from the next step on.

    Args:
      source: the person's action [A] for an observation; by default `human`.
    """
    source = source or self._human
    if source is None:
      raise ValueError('takeover: found no source of actions; pass one, or human= to the recorder.')
    with self._lock:
      if self._executor.who != 'human':
        self._executor.takeover(source)
        self.events.add('takeover', 'A person acts.')

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
    """
    with self._lock:
      self._writer.check_free()
      self._paused = False

  def discard(self, *, wait: bool = False) -> None:
    """Takes back the episode that goes on, or else the last one; `wait` as in `end`."""
    with self._lock:
      recording = self._closed(wait)
      if recording is not None:
        recording.discard()
        self.events.add('discarded', 'The episode was taken back.')
      else:
        self._writer.discard_last()

  def snapshot(self) -> dict[str, Any]:
    """What a page or a screen shows now.

    Returns:
      A new map: `who` acts, `holding` (why the robot holds, or empty), `recording`, `task`,
      `episode` (number of the one that goes on or comes next), `step`, `q`, `v`, `spread` (None
      where they are not known), `q_least` of this episode, `q_threshold` and `false_alarms` of the
      report card, `latency_ms`, `delay_ticks`, `hz` and `real_hz`, `checkpoint` and
      `checkpoint_step`, `lost_images` by camera, `waiting_mb` of images, `images` {camera: last
      uint8 [H, W, 3]} and `events`.
    """
    with self._lock:
      plan, recording = self._executor.plan, self._steps.recording
      told = self.metadata.get('aloe') or {}
      of_reply = (plan.reply.get('aloe') or {}) if plan is not None else {}
      return {
        'who': self._executor.who,
        'holding': self._executor.holding,
        'recording': recording is not None,
        'task': self._task,
        'episode': self._writer.count,
        'step': self._steps.count,
        **self._judged.values,
        'q_least': self._judged.least,
        'q_threshold': self._judged.threshold,
        'false_alarms': self._judged.false_alarms,
        'latency_ms': None if plan is None else 1e3 * plan.latency,
        'delay_ticks': self._executor.delay.ticks,
        'hz': self.hz,
        'real_hz': self._monitor.hz,
        'checkpoint': of_reply.get('checkpoint', told.get('checkpoint')),
        'checkpoint_step': of_reply.get('step', told.get('step')),
        'lost_images': dict(recording.lost) if recording is not None else {},
        'waiting_mb': self._writer.waiting / 1e6,
        'images': dict(self._images),
        'events': self.events.recent(),
      }

  def flush(self, timeout: float | None = None) -> bool:
    """Waits until the finished episodes are on the disk; False if they are not in time."""
    return self._writer.flush(timeout)

  def close(self) -> None:
    """Ends an open episode as cut, writes what waits, and leaves the server."""
    with self._lock:
      self.end('cut')
      self._paused = True
    if self._server is not None:
      self._server.close()
    if isinstance(self._asks, asker_lib.Asker):
      self._asks.close()
    self._writer.close()

  # Steps

  def _look(self, observation: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    """The request, and its state [n]; keeps the images."""
    request = {self._prompt: self._task, **observation}
    if self._layout is None:
      self._layout = observing.Layout(self.metadata, request)
    state = self._layout.read_state(request)
    self._images = self._layout.read_images(request)
    return request, state

  def _tick(self) -> float:
    """Writes the step that ends now, in an episode that is opened if none is; returns now."""
    self._steps.begin(self._open)
    now = self._clock.monotonic()
    self._monitor.add(now)
    self._steps.commit(now)
    return now

  def _open(self) -> episode_writer.Recording:
    assert self._layout is not None
    told = self.metadata.get('aloe') or {}
    return self._writer.begin(
      described.header(told, self._layout, self._task, self.hz, self._clock.time())
    )

  def _add(
    self,
    command: plan_lib.Command,
    executed: np.ndarray,
    request: Mapping[str, Any],
    state: np.ndarray,
    now: float,
  ) -> None:
    assert self._layout is not None
    self._steps.add(
      command,
      executed,
      state=state,
      features=self._layout.read_features(request),
      images=self._images,
      prompt=str(request[self._prompt]),
      time=self._clock.time(),
      now=now,
    )

  def _closed(self, wait: bool) -> episode_writer.Recording | None:
    """The episode that was open; None if there was none with a step in it."""
    self._paused = wait or (self._paused and self._steps.recording is None)
    recording = self._steps.close()
    self._executor.reset()
    self._monitor.pause()
    self._judged.reset()
    return recording

  def _note_plan(self, plan: plan_lib.Plan) -> None:
    """Keeps a chunk when it is taken up."""
    self._judged.add(plan.reply.get('aloe') or {})
    self._steps.plan(plan)


def _check_numbers(*, hz: Any, execute: Any, stale: Any, fade: Any) -> None:
  """Refuses numbers that a loop cannot run by.

  Raises:
    ValueError: naming the argument.
  """
  if hz is not None and not (_is_number(hz) and hz > 0):
    raise ValueError(f'hz: found {hz!r}, expected more than 0 steps a second.')
  whole = isinstance(execute, numbers.Integral) and not isinstance(execute, bool)
  if execute is not None and not (whole and execute >= 1):
    raise ValueError(f'execute: found {execute!r}, expected a whole number of actions from 1.')
  for name, seconds in (('stale', stale), ('fade', fade)):
    if not (_is_number(seconds) and seconds >= 0):
      raise ValueError(f'{name}: found {seconds!r}, expected a number of seconds from 0.')


def _is_number(value: Any) -> bool:
  real = isinstance(value, numbers.Real) and not isinstance(value, bool)
  return real and math.isfinite(value)
