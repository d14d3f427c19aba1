"""One Gymnasium environment, and the episode that goes on in it, step by step."""

import dataclasses
from typing import Any

import numpy as np

from aloe_jax import types
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
    self._task, self._env, self._rules = task, env, rules
    self.is_free = True
    self.record = Record()

  def begin(self, seed: int) -> None:
    """Resets the scene, for a new episode with its own human."""
    self._observation, self._info = self._env.reset(seed=seed)
    self._source = types.Source.POLICY
    self._human: Any = None  # a `gymnasium_task.Human`, where there is one
    if self._rules.human != 'none' and self._task.has_human:
      make_human = self._env.get_wrapper_attr('make_human')
      self._human = make_human(np.random.default_rng([seed, 1]))
    if self._rules.human == 'demonstrating':
      self._source = types.Source.DEMO
    self.record = Record()
    self._steps = 0
    self.is_free = False
    self.sight = self._task.spaces.sight(self._observation)

  def play(self, planned: Any) -> None:
    """Plays some actions [e, A] of the policy, or lets the human act for as many steps."""
    for action in planned:
      if self.is_free:
        return
      if self._source != types.Source.POLICY:
        action = self._human.act(self._observation, self._info)
      self._step(self._task.spaces.action(np.asarray(action)))

  def _step(self, action: np.ndarray) -> None:
    record, source, before = self.record, self._source, self.sight
    self._observation, reward, terminated, truncated, self._info = self._env.step(action)
    self._steps += 1
    is_late = truncated or self._steps >= self._rules.limit
    end_reason = gymnasium_task.end_of(float(reward), terminated, is_late, self._info)
    is_asked = end_reason == types.EndReason.NONE and self._is_watched
    if is_asked and self._human.alarmed(self._observation, self._info):
      end_reason = types.EndReason.TAKEOVER
    if end_reason != types.EndReason.NONE:
      self._end(end_reason, stopped=terminated or truncated)
    record.sight.append(before)
    record.action.append(action)
    record.source.append(source)
    record.end_reason.append(end_reason)
    self.sight = self._task.spaces.sight(self._observation)

  @property
  def _is_watched(self) -> bool:
    return self._source == types.Source.POLICY and self._human is not None

  def _end(self, end_reason: types.EndReason, *, stopped: bool) -> None:
    """Ends the fragment: the human goes on if they can, or the place is free."""
    can_go_on = not stopped or self._task.recovers
    if end_reason == types.EndReason.SUCCESS or not self._is_watched or not can_go_on:
      self.is_free = True
      return
    if stopped:
      self._observation, self._info = self._env.get_wrapper_attr('recover')()
    self._source, self._steps = types.Source.HUMAN, 0
