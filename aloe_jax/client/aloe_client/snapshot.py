"""What a page or a screen shows of a recorder at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aloe_client import episodes as episodes_lib
from aloe_client import executor as executor_lib


def of(
  executor: executor_lib.Executor,
  episodes: episodes_lib.Episodes,
  metadata: Mapping[str, Any],
) -> dict[str, Any]:
  """The part of `Recorder.snapshot` that is read from those who play, write and judge.

  Args:
    executor: that plays.
    episodes: that are written.
    metadata: what the server said of itself.
  """
  plan, judged = executor.plan, episodes.judged
  recording = episodes.steps.recording
  told = metadata.get('aloe') or {}
  of_reply = (plan.reply.get('aloe') or {}) if plan is not None else {}
  return {
    'who': executor.who,
    'holding': executor.holding,
    'recording': recording is not None,
    'step': episodes.steps.count,
    **judged.values,
    'q_least': judged.least,
    'q_threshold': judged.threshold,
    'false_alarms': judged.false_alarms,
    'latency_ms': None if plan is None else 1e3 * plan.latency,
    'real_hz': episodes.monitor.hz,
    'delay_ticks': executor.delay.ticks,
    'checkpoint': of_reply.get('checkpoint', told.get('checkpoint')),
    'checkpoint_step': of_reply.get('step', told.get('step')),
    'lost_images': dict(recording.lost) if recording is not None else {},
  }
