"""Rollouts in Gymnasium environments: a policy in several at once, a human ready to take over.

The policy is asked for the chunks of all places together. Each plays e steps of its chunk; one
whose episode is over begins the next one before the policy is asked again. Fragments end as on the
table top, see `rollout`.

Legend of shapes: P places, each an environment; E episodes, T recorded steps.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_place
from aloe_jax.envs import gymnasium_places
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import simulation
from aloe_jax.policy import Policy

_UNASKED = 16  # steps that a human acts before others hear of it, where no policy is asked


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
  """Episodes of one world, with or without somebody beside them.

  Attributes:
    task: of the environments.
    execute: e, steps of a chunk that are played before the policy is asked again.
    limit: steps after which a fragment times out.
    human: 'none' (evaluation), 'watching' (collection) or 'demonstrating' (no policy).
    processes: over which places are shared out; 0 for as many as there are cores.
  """

  task: gymnasium_task.Task
  execute: int
  limit: int
  human: str = 'none'
  processes: int = 1

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
    places = gymnasium_places.make(self.task, self.processes)
    places.rules(gymnasium_place.Rules(self.limit, self.human))
    count = min(gymnasium_places.PLACES, episodes)
    now: dict[int, gymnasium_places.Now] = {}
    playing: dict[int, int] = {}  # the episode of each place
    records: dict[int, gymnasium_place.Record] = {}  # of episodes that are over
    asked = 0
    while len(records) < episodes:
      free = [place for place in range(count) if place not in playing]
      begun = len(records) + len(playing)
      starts = dict(zip(free, range(begun, episodes), strict=False))
      if starts:
        now |= places.begin({place: int(seeds[episode]) for place, episode in starts.items()})
        playing |= starts
      chunk: Any = np.zeros((count, _UNASKED, self.task.spaces.action_size))
      if policy is not None:
        sight = jax.tree.map(lambda *x: np.stack(x), *(now[place].sight for place in range(count)))
        chunk = np.asarray(_act(policy, sight, jax.random.fold_in(key_policy, asked)))
        chunk = chunk[:, : self.execute]
        asked += 1
      now |= places.play({place: chunk[place] for place in sorted(playing)})
      for place in list(playing):
        if (record := now[place].record) is not None:
          records[playing.pop(place)] = record
      steps = sum(len(record.action) for record in records.values())
      steps += sum(now[place].steps for place in playing)
      progress(len(records), episodes, steps)
    return _trajectories([records[episode] for episode in range(episodes)])


@jax.jit
def _act(policy: Policy, sight: types.Sight, key: jax.Array) -> types.Array:
  return policy.act(sight, key)


def _seeds(key: jax.Array, episodes: int) -> np.ndarray:
  """[E] of scenes and people; that of an episode does not depend on how many there are."""
  keys = jax.vmap(lambda episode: jax.random.fold_in(key, episode))(jnp.arange(episodes))
  return np.asarray(jax.vmap(lambda key: jax.random.randint(key, (), 0, 2**31 - 1))(keys))


def _trajectories(records: list[gymnasium_place.Record]) -> simulation.Trajectories:
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
