"""One Gymnasium environment, and the episode that goes on in it, step by step."""

import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_scene
from aloe_jax.envs import gymnasium_task


@dataclasses.dataclass(frozen=True)
class Rules:
  """How an episode is played.

  Attributes:
    limit: steps after which a fragment times out.
    human: 'none' (evaluation), 'watching' (collection) or 'demonstrating' (no policy).
  """

  limit: int
  human: str


@dataclasses.dataclass
class Record:
  """What was seen and done in one episode, step by step."""

  sight: list[types.Sight] = dataclasses.field(default_factory=list)
  action: list[np.ndarray] = dataclasses.field(default_factory=list)
  source: list[int] = dataclasses.field(default_factory=list)
  end_reason: list[int] = dataclasses.field(default_factory=list)


class Place:
  """Plays one episode after another.

  Attributes:
    is_free: whether no episode goes on here.
    sight: what a policy sees now.
    record: of the episode, which the place goes on to fill.

  Args:
    task: of the environment.
    env: one of its instances.
    rules: how episodes are played.
  """

  def __init__(self, task: gymnasium_task.Task, env: Any, rules: Rules):
    self._task, self._rules = task, rules
    self._scene = gymnasium_scene.Scene(task, env)
    self.is_free = True
    self.record = Record()

  @property
  def sight(self) -> types.Sight:
    return self._scene.sight

  def begin(self, seed: int) -> None:
    """Resets the scene, for a new episode with its own human.

    Raises:
      ValueError: the environment did what nobody can go on from, see `gymnasium_scene`; so does
        `play`.
    """
    has_human = self._rules.human != 'none' and self._task.has_human
    self._scene.begin(seed, has_human=has_human)
    self._source = types.Source.POLICY
    if self._rules.human == 'demonstrating':
      self._source = types.Source.DEMO
    self.record = Record()
    self._steps = 0
    self.is_free = False

  def play(self, planned: Any) -> None:
    """Plays some actions [e, A] of the policy, or lets the human act for as many steps."""
    for action in planned:
      if self.is_free:
        return
      if self._source == types.Source.POLICY:
        self._step(self._scene.executed(action))
      else:
        self._step(self._scene.human_action())

  def _step(self, action: np.ndarray) -> None:
    record, source, before = self.record, self._source, self.sight
    self._steps += 1
    end_reason, stopped = self._scene.step(action, is_last=self._steps >= self._rules.limit)
    is_asked = end_reason == types.EndReason.NONE and self._is_watched
    if is_asked and self._scene.alarmed():
      end_reason = types.EndReason.TAKEOVER
    if end_reason != types.EndReason.NONE:
      self._end(end_reason, stopped=stopped)
    record.sight.append(before)
    record.action.append(action)
    record.source.append(source)
    record.end_reason.append(end_reason)

  @property
  def _is_watched(self) -> bool:
    return self._source == types.Source.POLICY and self._scene.has_human

  def _end(self, end_reason: types.EndReason, *, stopped: bool) -> None:
    """Ends the fragment: the human goes on if they can, or the place is free."""
    can_go_on = not stopped or self._task.recovers
    if end_reason == types.EndReason.SUCCESS or not self._is_watched or not can_go_on:
      self.is_free = True
      return
    if stopped:
      self._scene.recover()
    self._source, self._steps = types.Source.HUMAN, 0
