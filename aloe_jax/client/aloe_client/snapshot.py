"""What a page or a screen shows of a recorder at one moment."""

from __future__ import annotations

from typing import Any

from aloe_client import episode_writer
from aloe_client import episodes as episodes_lib
from aloe_client import events as events_lib
from aloe_client import executor as executor_lib
from aloe_client import sight as sight_lib


def of(
  executor: executor_lib.Executor,
  episodes: episodes_lib.Episodes,
  writer: episode_writer.EpisodeWriter,
  sight: sight_lib.Sight,
  events: events_lib.Events,
) -> dict[str, Any]:
  """The part of `Recorder.snapshot` that is read from those who play, write and judge.

  Args:
    executor: that plays.
    episodes: that are written.
    writer: of the directory.
    sight: what the robot sees.
    events: what happened.

  Returns:
    A new map: `who` acts, `holding` (why the robot holds, or empty), `recording`, `episode` (number
    of the one that goes on or comes next), `step`, `q`, `v`, `spread` (None where they are not
    known), `q_least` of this episode, `q_threshold` and `false_alarms` of the report card,
    `latency_ms`, `delay_ticks`, `real_hz`, `checkpoint` and `checkpoint_step` (of the chunk that is
    played, else of the one that answers), `lost_images` by camera, `waiting_mb` of images, `seen`
    (observations), `images` {camera: last uint8 [H, W, 3]} and `events`. Beside them a recorder
    tells its `task` and `hz`, and whether a person `may_take_over`.
  """
  plan, judged = executor.plan, episodes.judged
  recording = episodes.steps.recording
  acts = executor.acting.facts if plan is None else plan.reply['aloe']
  return {
    'who': executor.who,
    'holding': executor.holding,
    'recording': recording is not None,
    'episode': writer.count,
    'step': episodes.steps.count,
    **judged.values,
    'q_least': judged.least,
    'q_threshold': judged.threshold,
    'false_alarms': judged.false_alarms,
    'latency_ms': None if plan is None else 1e3 * plan.latency,
    'real_hz': episodes.monitor.hz,
    'delay_ticks': executor.delay.ticks,
    'checkpoint': acts['checkpoint'],
    'checkpoint_step': acts['step'],
    'waiting_mb': writer.waiting / 1e6,
    'seen': sight.count,
    'images': dict(sight.images),
    'events': events.recent(),
    'lost_images': dict(recording.lost) if recording is not None else {},
  }
