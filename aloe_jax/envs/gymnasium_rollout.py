"""Rollouts in Gymnasium environments: a policy in several at once, a human ready to take over.

The environments of a process are stepped one after another, and the policy is asked for the
chunks of all of them together. Each plays e steps of its chunk; one whose episode is over begins
the next one before the policy is asked again. Fragments end as on the table top, see `rollout`.

Legend of shapes: P places, each an environment; E episodes, T recorded steps.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import simulation
from aloe_jax.policy import Policy

PLACES = 8  # environments side by side: enough for a batch, as each holds a whole physics engine

_act = jax.jit(lambda policy, sight, key: policy.act(sight, key))


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
  """Episodes of one world, with or without somebody beside them.

  Attributes:
    world: the environments.
    see: what a policy sees of one observation.
    execute: e, steps of a chunk that are played before the policy is asked again.
    limit: steps after which a fragment times out.
    human: 'none' (evaluation), 'watching' (collection) or 'demonstrating' (no policy).
  """

  task: gymnasium_task.Task
  see: simulation.See
  execute: int
  limit: int
  human: str = 'none'

  def __post_init__(self) -> None:
    if self.human == 'demonstrating' and not self.task.has_human:
      raise ValueError(
        f'{self.task.name} has nobody to demonstrate: its environment has no make_human(rng), '
        'see aloe_jax/envs/gymnasium_task.py; or give demonstrations with '
        'config.data.episodes, and config.task.demonstrations=0.'
      )

  def run(
    self,
    policy: Policy | None,
    *,
    key: jax.Array,
    episodes: int,
    progress: simulation.Progress = simulation.untold,
  ) -> simulation.Trajectories:
    """Plays E episodes, P at a time; see `simulation.Simulation`."""
    key_seeds, key_policy = jax.random.split(key)
    seeds = _seeds(key_seeds, episodes)
    places = [_Place(self, env) for env in self.task.environments(min(PLACES, episodes))]
    records: list[_Record] = []  # by episode
    asked = 0
    while True:
      for place in places:
        if place.is_free and len(records) < episodes:
          records.append(place.begin(int(seeds[len(records)])))
      if all(place.is_free for place in places):
        return _trajectories(records)
      chunk: Any = np.zeros((len(places), self.execute, self.task.spaces.action_size))
      if policy is not None:
        sight = jax.tree.map(lambda *x: np.stack(x), *(place.sight for place in places))
        chunk = np.asarray(_act(policy, sight, jax.random.fold_in(key_policy, asked)))
        asked += 1
      for place, planned in zip(places, chunk, strict=True):
        place.play(planned[: self.execute])
      done = len(records) - sum(not place.is_free for place in places)
      progress(done, episodes, sum(len(record.action) for record in records))


@dataclasses.dataclass
class _Record:
  """What was seen and done in one episode, step by step."""

  sight: list[types.Sight] = dataclasses.field(default_factory=list)
  action: list[np.ndarray] = dataclasses.field(default_factory=list)
  source: list[int] = dataclasses.field(default_factory=list)
  end_reason: list[int] = dataclasses.field(default_factory=list)


class _Place:
  """One environment, and the episode that goes on in it."""

  def __init__(self, setup: Setup, env: Any):
    self._setup, self._env = setup, env
    self.is_free = True

  def begin(self, seed: int) -> _Record:
    """Resets the scene; returns the record that this episode will fill."""
    self._observation, self._info = self._env.reset(seed=seed)
    self._source = types.Source.POLICY
    self._human: Any = None  # a `gymnasium_task.Human`, where there is one
    if self._setup.human != 'none' and self._setup.task.has_human:
      make_human = self._env.get_wrapper_attr('make_human')
      self._human = make_human(np.random.default_rng([seed, 1]))
    if self._setup.human == 'demonstrating':
      self._source = types.Source.DEMO
    self._record = _Record()
    self._steps = 0
    self.is_free = False
    self.sight = self._setup.see(self._observation)
    return self._record

  def play(self, planned: Any) -> None:
    """Plays some actions [e, A] of the policy, or lets the human act for as many steps."""
    for action in planned:
      if self.is_free:
        return
      if self._source != types.Source.POLICY:
        action = self._human.act(self._observation, self._info)
      self._step(self._setup.task.spaces.action(np.asarray(action)))

  def _step(self, action: np.ndarray) -> None:
    record, source, before = self._record, self._source, self.sight
    self._observation, reward, terminated, truncated, self._info = self._env.step(action)
    self._steps += 1
    end_reason = types.EndReason.NONE
    if gymnasium_task.succeeded(float(reward), terminated, self._info):
      end_reason = types.EndReason.SUCCESS
    elif terminated:
      end_reason = types.EndReason.FAILURE
    elif truncated or self._steps >= self._setup.limit:
      end_reason = types.EndReason.TIMEOUT
    elif self._is_watched and self._human.alarmed(self._observation, self._info):
      end_reason = types.EndReason.TAKEOVER
    if end_reason != types.EndReason.NONE:
      self._end(end_reason, stopped=terminated or truncated)
    record.sight.append(before)
    record.action.append(action)
    record.source.append(source)
    record.end_reason.append(end_reason)
    self.sight = self._setup.see(self._observation)

  @property
  def _is_watched(self) -> bool:
    return self._source == types.Source.POLICY and self._human is not None

  def _end(self, end_reason: types.EndReason, *, stopped: bool) -> None:
    """Ends the fragment: the human goes on if they can, or the place is free."""
    can_go_on = not stopped or self._setup.task.recovers
    if end_reason == types.EndReason.SUCCESS or not self._is_watched or not can_go_on:
      self.is_free = True
      return
    if stopped:
      self._observation, self._info = self._env.get_wrapper_attr('recover')()
    self._source, self._steps = types.Source.HUMAN, 0


def _seeds(key: jax.Array, episodes: int) -> np.ndarray:
  """[E] of scenes and people; that of an episode does not depend on how many there are."""
  keys = jax.vmap(lambda episode: jax.random.fold_in(key, episode))(jnp.arange(episodes))
  return np.asarray(jax.vmap(lambda key: jax.random.randint(key, (), 0, 2**31 - 1))(keys))


def _trajectories(records: list[_Record]) -> simulation.Trajectories:
  """Records of different lengths, filled up with zeros to the longest."""
  lengths = np.array([len(record.action) for record in records])
  active = np.arange(lengths.max()) < lengths[:, None]

  def filled(values: list[np.ndarray]) -> np.ndarray:
    array = np.zeros((*active.shape, *values[0].shape[1:]), values[0].dtype)
    array[active] = np.concatenate(values)
    return array

  return simulation.Trajectories(
    state=filled([np.stack([np.asarray(s.state) for s in r.sight]) for r in records]),
    features=filled([np.stack([np.asarray(s.features) for s in r.sight]) for r in records]),
    action=filled([np.stack(r.action).astype(np.float32) for r in records]),
    source=filled([np.array(r.source, np.int8) for r in records]),
    end_reason=filled([np.array(r.end_reason, np.int8) for r in records]),
    active=active,
    simulator_state=None,
  )
