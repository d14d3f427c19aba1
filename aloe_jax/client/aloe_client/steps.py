"""The open episode, step by step: a step is written when it is known what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aloe_client import described
from aloe_client import events as events_lib
from aloe_client import plan as plan_lib
from aloe_client import recording as recording_lib


class Steps:
  """Steps of one episode after another; not for several threads.

  Attributes:
    count: of the open episode, including the one that is not written yet.
    recording: the open episode, or None.
  """

  def __init__(self, events: events_lib.Events):
    self.count = 0
    self.recording: recording_lib.Recording | None = None
    self._pending: dict[str, Any] | None = None
    self._plans: list[plan_lib.Plan] = []
    events.listen(self._keep_event)

  @property
  def is_pending(self) -> bool:
    """Whether a step goes on, so that it may still be said what became of its action."""
    return self._pending is not None

  def begin(self, open_recording: Callable[[], recording_lib.Recording]) -> None:
    """Opens an episode if none is open."""
    if self.recording is None:
      self.recording = open_recording()
      self.count, self._plans = 0, []

  def plan(self, plan: plan_lib.Plan) -> None:
    """Keeps a chunk that is played from the next step on."""
    self._plans.append(plan)

  def add(
    self,
    command: plan_lib.Command,
    executed: np.ndarray,
    *,
    state: np.ndarray,
    features: np.ndarray | None,
    images: Mapping[str, np.ndarray | None],
    prompt: str,
    time: float,
    now: float,
  ) -> None:
    """A step that is executed from now on.

    Args:
      command: of the executor.
      executed: [A] what the robot makes of it, in the units of the policy.
      state: [n] before it.
      features: [V, F] before it, or None.
      images: {camera: uint8 [H, W, 3]} that nobody changes; None for one that is missing.
      prompt: of the observation.
      time: seconds since 1970.
      now: seconds of a clock that only goes forward.
    """
    assert self.recording is not None
    for plan in self._plans:
      self.recording.add(described.of_plan(plan))
    self._plans = []
    for camera in self.recording.lost:
      self.recording.image(camera, self.count, images.get(camera))
    self._pending = {
      'type': 'step',
      'step': self.count,
      'time': time,
      'clock': now,
      'state': state,
      **({} if features is None else {'features': features}),
      'requested': command.requested,
      'executed': executed,
      'who': command.who,
      'held': command.held,
      'plan': command.plan,
      'index': command.index,
      'prompt': prompt,
    }
    self.count += 1

  def checked(self, action: np.ndarray) -> np.ndarray:
    """An action that was executed, which has to be as wide as that of the step before.

    Raises:
      ValueError: it is not, or holds what is no finite number.
    """
    size = action.size if self._pending is None else self._pending['executed'].size
    if action.shape != (size,) or not size or not np.isfinite(action).all():
      raise ValueError(f'executed: found {action.tolist()}, expected {size} finite numbers.')
    return action

  def correct(self, executed: np.ndarray) -> None:
    """The last action was executed as [A]; it has to be as wide as it was.

    Raises:
      ValueError: it is not, or holds what is no finite number.
    """
    if self._pending is not None:
      self._pending['executed'] = self.checked(executed)

  def commit(self, now: float | None) -> None:
    """Writes the last step, which lasted until now; None where that is not known."""
    step, self._pending = self._pending, None
    if step is not None and self.recording is not None:
      start = step.pop('clock')
      self.recording.add({**step, 'dt': None if now is None else now - start})

  def close(self) -> recording_lib.Recording | None:
    """The episode that was open, all its steps written; None if it had none."""
    self.commit(None)
    recording, self.recording = self.recording, None
    if recording is not None and not self.count:
      recording.discard()
      recording = None
    self.count = 0
    return recording

  def _keep_event(self, event: events_lib.Event) -> None:
    recording = self.recording
    if recording is not None:
      recording.add({'type': 'event', 'time': event.time, 'kind': event.kind, 'text': event.text})
