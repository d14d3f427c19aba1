"""Episodes one after another: opened by their first tick, timed, judged and written."""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from aloe_client import acting as acting_lib
from aloe_client import described
from aloe_client import episode_writer
from aloe_client import events as events_lib
from aloe_client import judged as judged_lib
from aloe_client import plan as plan_lib
from aloe_client import rate
from aloe_client import recording as recording_lib
from aloe_client import sight as sight_lib
from aloe_client import steps as steps_lib


class Episodes:
  """What becomes of the ticks of a robot's loop; not for several threads.

  Attributes:
    steps: of the open episode.
    judged: what the critic says of it.
    monitor: of the loop's rate.
  """

  def __init__(
    self,
    writer: episode_writer.EpisodeWriter,
    sight: sight_lib.Sight,
    events: events_lib.Events,
    policy: described.Policy,
    acting: acting_lib.Acting,
    task: str,
    hz: float,
    clock: Any,
  ):
    """Opens none yet.

    Args:
      writer: of the directory.
      sight: what the robot sees.
      events: of what happens.
      policy: that acts.
      acting: the checkpoint that answers.
      task: what the robot is asked to do.
      hz: ticks a second.
      clock: `monotonic` and `time`.
    """
    self.steps = steps_lib.Steps(events)
    self.judged = judged_lib.Judged(policy.told, events)
    self.monitor = rate.Monitor(hz, events)
    self._writer, self._sight, self._policy, self._acting = writer, sight, policy, acting
    self._task, self._hz, self._clock = task, hz, clock

  def tick(self) -> float:
    """Writes the step that ends now, in an episode that is opened if none is; returns now."""
    self.steps.begin(self._open)
    now = self._clock.monotonic()
    self.monitor.add(now)
    self.steps.commit(now)
    return now

  def add(
    self,
    command: plan_lib.Command,
    executed: np.ndarray,
    request: Mapping[str, Any],
    state: np.ndarray,
    now: float,
  ) -> None:
    """A step that is executed from now on; see `Steps.add`."""
    assert self._sight.layout is not None
    self.steps.add(
      command,
      executed,
      state=state,
      features=self._sight.layout.read_features(request),
      images=self._sight.images,
      prompt=self._sight.prompt(request),
      time=self._clock.time(),
      now=now,
    )

  def plan(self, plan: plan_lib.Plan) -> None:
    """Keeps a chunk when it is taken up."""
    self.judged.add(plan.reply.get('aloe') or {})
    self.steps.plan(plan)

  def close(self) -> recording_lib.Recording | None:
    """The episode that was open; None if there was none with a step in it."""
    recording = self.steps.close()
    self.monitor.pause()
    self.judged.reset()
    return recording

  def _open(self) -> recording_lib.Recording:
    assert self._sight.layout is not None
    told = {**self._policy.told, **self._acting.facts}
    policy = dataclasses.replace(self._policy, told=told)
    return self._writer.begin(
      described.header(policy, self._sight.layout, self._task, self._hz, self._clock.time())
    )
