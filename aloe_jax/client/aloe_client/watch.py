"""Follows a recorder for those who look at it: what goes on, since when, and Q all along."""

from __future__ import annotations

from collections.abc import Mapping
import math
import shutil
import time
from typing import Any

from aloe_client import commands as commands_lib

_POINTS = 4000  # of a trace, before every other one is left out
_STALLED = 1.0  # seconds without a step, after which the robot's loop is said to stand
_HOLDING = {
  'first': 'waits for the first chunk',
  'played': 'the chunk is played to its end',
  'silent': 'the server is silent',
  'stalled': 'the loop stood still',
  'unsent': 'what would be sent is of no use',
  'unseen': 'what it sees is of no use',
  'person': 'your actions are of no use',
}


class Watch:
  """Looks at a recorder; call `look` from one thread, a few times a second."""

  def __init__(self, recorder: Any, clock: Any = time):
    self._recorder, self._clock = recorder, clock
    self._commands = commands_lib.of(recorder)
    self._phase, self._since = '', clock.monotonic()
    self._open = False  # an episode that is followed
    self._step, self._moved = 0, clock.monotonic()
    self._seen, self._looked = -1, clock.monotonic()  # observations, and when the last one came
    self._trace = 0
    self._points: list[list[Any]] = []  # [step, q, v, spread, whether a human acts]
    self._disk: tuple[float, float | None] = (-math.inf, None)  # when it was asked, free GB

  def look(self) -> dict[str, Any]:
    """What goes on now.

    Returns:
      A new map. Beside numbers of the recorder's snapshot: `phase` (recording, ready, paused or
      stopped) and `phase_s` since when; `stalled_s` since the last step, or 0; `holding` in words;
      `acts` (policy, human, holds or nobody) and `acting`, that in words, or empty; `low`, whether
      Q lies below the threshold now; `fell`, whether it did in this episode; `free_gb` of the disk;
      `waiting`, whether the program waits for next; `trace`, number of the episode that `points`
      are of, [step, q, v, spread, human] each; `images` and `events`.
    """
    now = self._clock.monotonic()
    state = self._recorder.snapshot()
    phase = self._find_phase(state)
    if phase != self._phase:
      self._phase, self._since = phase, now
    self._follow(state, now)
    acts, acting = self._find_actor(state, now)
    policy = state['who'] != 'human'
    q, level = _number(state['q']), _number(state['q_threshold'])
    least = _number(state['q_least'])
    below = level is not None and q is not None and q < level
    return {
      'phase': phase,
      'phase_s': now - self._since,
      'stalled_s': self._stalled(now),
      'waiting': self._commands.waiting,
      'who': state['who'],
      'holding': _in_words(state),
      'acts': acts,
      'acting': acting,
      'may_take_over': state['may_take_over'],
      'task': state['task'],
      'episode': state['episode'],
      'step': state['step'],
      'q': q,
      'v': _number(state['v']),
      'spread': _number(state['spread']),
      'q_least': least,
      'q_threshold': level,
      'false_alarms': _number(state['false_alarms']),
      'low': below and policy and phase == 'recording',
      'fell': level is not None and least is not None and least < level,
      'latency_ms': _number(state['latency_ms']),
      'delay_ticks': state['delay_ticks'],
      'hz': _number(state['hz']),
      'real_hz': _number(state['real_hz']),
      'checkpoint': state['checkpoint'],
      'checkpoint_step': state['checkpoint_step'],
      'lost': {camera: count for camera, count in state['lost_images'].items() if count},
      'waiting_mb': _number(state['waiting_mb']),
      'free_gb': self._free(now),
      'trace': self._trace,
      'points': list(self._points),
      'images': state['images'],
      'events': state['events'],
    }

  def _find_phase(self, state: Mapping[str, Any]) -> str:
    if state['recording'] and state['step']:  # without a step there is nothing to judge
      return 'recording'
    if self._recorder.recording:
      return 'ready'
    return 'stopped' if self._commands.stopped else 'paused'

  def _find_actor(self, state: Mapping[str, Any], now: float) -> tuple[str, str]:
    """Who moves the robot now, and that in words; nobody, where its loop asks for no action."""
    if state['seen'] != self._seen:
      self._seen, self._looked = state['seen'], now
    human = state['who'] == 'human'
    stands = now - self._looked > _STALLED
    if self._commands.waiting or stands:
      if human:
        return 'nobody', 'You act once the robot’s program goes on'
      stalled = self._phase == 'recording' and stands
      return 'nobody', 'Nobody acts: the robot’s loop stands' if stalled else ''
    if state['holding']:
      nothing_sent = state['holding'] == 'first' and not state['step']
      holds = '' if nothing_sent else 'Holds: '
      words = f'{holds}{_in_words(state)}'
      return 'holds', words[0].upper() + words[1:]
    if human:
      return 'human', 'You act' if self._phase in ('recording', 'ready') else 'You act, unrecorded'
    return 'policy', 'Policy acts' if self._phase == 'recording' else ''

  def _stalled(self, now: float) -> float:
    still = now - self._moved
    return still if self._phase == 'recording' and still > _STALLED else 0.0

  def _follow(self, state: Mapping[str, Any], now: float) -> None:
    """Notes Q and who acts; what the last episode left stays until the next one moves."""
    if not (state['recording'] and state['step']):
      self._open, self._moved = False, now
      return
    step = state['step']
    if not self._open or step < self._step:
      self._open, self._step = True, 0
      self._trace += 1
      self._points = []
    if step != self._step:
      self._step, self._moved = step, now
    human = state['who'] == 'human'
    values = [None if human else _number(state[name]) for name in ('q', 'v', 'spread')]
    point = [*values, human]
    if not self._points or point != self._points[-1][1:]:
      self._points.append([step, *point])
    if len(self._points) > _POINTS:
      self._trace += 1  # who looks at it begins anew
      self._points = _thinned(self._points)

  def _free(self, now: float) -> float | None:
    """Gigabytes of the disk, asked now and then: a disk of the network may be slow to say."""
    asked, free = self._disk
    if now - asked > 5:
      try:
        free = shutil.disk_usage(self._recorder.directory).free / 1e9
      except OSError:
        free = None
      self._disk = (now, free)
    return free


def summary(state: Mapping[str, Any]) -> str:
  """One line for a person: 'episode 3, recording, step 128, policy acts, Q -41.2, ...'."""
  parts = [f'episode {state["episode"]}', _phase(state)]
  if state['phase'] == 'recording':
    parts.append(f'step {state["step"]}')
  if state['acting']:
    acting = state['acting']
    parts.append(acting.lower() if state['acts'] == 'policy' else acting.upper())
  if state['phase'] == 'recording':
    if state['q'] is not None and state['who'] != 'human':
      parts.append(f'Q {state["q"]:.1f}')
    if state['low']:
      parts.append(f'Q IS BELOW {state["q_threshold"]:.1f}')
    if state['stalled_s']:
      parts.append(f'THE LOOP STANDS {state["stalled_s"]:.0f} s')
    if state['real_hz']:
      parts.append(f'{state["real_hz"]:.1f} of {state["hz"]:g} Hz')
    if state['latency_ms'] is not None:
      parts.append(f'{state["latency_ms"]:.0f} ms')
  if state['lost']:
    parts.append(f'{sum(state["lost"].values())} IMAGES LOST')
  if state['free_gb'] is not None:
    parts.append(f'{state["free_gb"]:.0f} GB free')
  return ', '.join(parts)


def _phase(state: Mapping[str, Any]) -> str:
  if state['phase'] in ('paused', 'stopped'):
    waits = ': waits for next' if state['phase'] == 'paused' else ''
    return f'{state["phase"]} {state["phase_s"]:.0f} s{waits}'
  return 'no episode yet' if state['phase'] == 'ready' else 'recording'


def _in_words(state: Mapping[str, Any]) -> str:
  """Why the robot holds."""
  if state['holding'] == 'first' and state['step']:
    return 'waits for a new chunk'
  return _HOLDING.get(state['holding'], state['holding'])


def _thinned(points: list[list[Any]]) -> list[list[Any]]:
  """Every other point, and all at which another acts."""
  return [p for i, p in enumerate(points) if i % 2 == 0 or p[-1] != points[i - 1][-1]]


def _number(value: Any) -> float | None:
  """For JSON, which has no NaN."""
  return float(value) if value is not None and math.isfinite(value) else None
