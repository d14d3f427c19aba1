"""Episodes from the simulator: demonstrations of its human, and rollouts that the human watches."""

import collections
from collections.abc import Callable, Mapping, Sequence
import pathlib

import jax
import numpy as np

from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.buckets import twin
from aloe_jax.data import fragments
from aloe_jax.data import rlds
from aloe_jax.envs import recording
from aloe_jax.envs import simulation
from aloe_jax.parallel import hosts
from aloe_jax.run import experiment as experiment_lib

POLICY = 'policy'  # in the metadata of an episode: the fingerprint of the policy that played it
MAX_ROUNDS = 20  # of demonstrations, before giving up on a task that nobody succeeds at


class Collector:
  """Plays the task of a config.

  Args:
    experiment: with a simulator.
    see: what a policy sees of it, from `World.see`.
  """

  def __init__(self, experiment: experiment_lib.Experiment, see: simulation.See):
    self._experiment = experiment
    self._see = see

  def demonstrate(self, key: Callable[[int], jax.Array]) -> list[rlds.Episode]:
    """Has the human demonstrate until enough episodes succeed; those alone are kept.

    Args:
      key: of each round of attempts.

    Raises:
      ValueError: the task is hardly ever done, or sooner than a chunk is long.
    """
    config = self._experiment.config
    wanted, attempts = config.task.demonstrations, config.sim.attempts
    demonstrating = self._experiment.world.simulation(self._see, human='demonstrating')
    rounds: list[tuple[simulation.Trajectories, np.ndarray]] = []
    lengths = np.zeros(0, int)  # of the demonstrations kept so far
    with progress.bar('Demonstrations', wanted, 'successes') as advance:
      while len(lengths) < wanted:
        if len(rounds) == MAX_ROUNDS:
          raise ValueError(
            f'{MAX_ROUNDS * attempts} demonstrations gave {len(lengths)} successes, expected '
            f'{wanted}; {_advice(rounds)}'
          )
        trajectories = demonstrating.run(None, key=key(len(rounds)), episodes=attempts)
        success = trajectories.first_end == types.EndReason.SUCCESS
        keep = success & (np.cumsum(success) <= wanted - len(lengths))
        lengths = np.append(lengths, trajectories.lengths[keep])
        rounds.append((trajectories, keep))
        advance(len(lengths), attempted=len(rounds) * attempts)
    fragments.check_horizon(lengths, config.task.chunk)
    return [
      episode
      for trajectories, keep in rounds
      for episode in self._record(trajectories, keep, iteration=0)
    ]

  def collect(
    self,
    policy: policy_lib.Policy,
    fingerprint: str,
    key: jax.Array,
    iteration: int,
    episodes: int | None = None,
  ) -> tuple[list[rlds.Episode], dict[str, float]]:
    """Rolls a policy out under a watching human.

    Args:
      policy: that acts.
      fingerprint: `policy.fingerprint` of its parameters, told in the metadata of each episode.
      key: of scenes, people and noise.
      iteration: told in the metadata of each episode.
      episodes: how many; by default `sim.rollouts`.

    Returns:
      Every episode, on the first host, which writes them; and the share of each end reason among
      the policy's own fragments.
    """
    episodes = episodes or self._experiment.config.sim.rollouts
    watched = self._experiment.world.simulation(self._see, human='watching')
    with progress.bar(f'Collect {iteration}', episodes, 'episodes') as advance:
      trajectories = watched.run(
        policy,
        key=key,
        episodes=episodes,
        progress=lambda finished, total, steps: advance(finished, steps=steps),
      )
    ends = [types.EndReason(reason).name.lower() for reason in trajectories.first_end]
    shares = {reason: ends.count(reason) / episodes for reason in sorted(set(ends))}
    keep = np.ones(episodes, bool)
    return self._record(trajectories, keep, iteration, {POLICY: fingerprint}), shares

  def _record(
    self,
    trajectories: simulation.Trajectories,
    keep: np.ndarray,
    iteration: int,
    played_by: Mapping[str, str] | None = None,
  ) -> list[rlds.Episode]:
    """The kept episodes, with what the cameras saw."""
    if not hosts.is_first():
      return []  # the first writes them
    steps = int(trajectories.lengths[keep].sum())
    with progress.bar(f'Record {iteration}', steps, 'steps') as advance:
      episodes = recording.to_episodes(
        trajectories,
        prompt=self._experiment.prompt,
        keep=keep,
        render=self._experiment.world.render,
        metadata={
          'task': self._experiment.config.sim.task,
          'iteration': iteration,
          'fps': self._experiment.config.task.control_hz,
          **(played_by or {}),
        },
        progress=advance,
      )
      return list(episodes)


def is_written(directory: pathlib.Path) -> bool:
  """Whether there are episodes; all hosts ask before any of them plays, and hear the same."""
  return bool(hosts.lowest(directory.exists(), f'{directory.name} are looked for'))


def write(directory: pathlib.Path, episodes: Sequence[rlds.Episode], name: str) -> None:
  """Writes what was played, once for all hosts, which all have it then; see `rlds.write`."""
  if hosts.is_first():
    rlds.write(directory, episodes, name=name)
    twin.push()
  hosts.wait(f'{directory.name} are written')
  twin.pull()
  hosts.wait(f'{directory.name} are everywhere')


def _advice(rounds: list[tuple[simulation.Trajectories, np.ndarray]]) -> str:
  """What to do where too few demonstrations succeed."""
  if any(keep.any() for _, keep in rounds):
    return 'raise config.sim.attempts.'
  ends = collections.Counter(
    types.EndReason(end).name.lower() for found, _ in rounds for end in found.first_end
  )
  told = ', '.join(f'{count} {end}' for end, count in ends.most_common())
  return (
    f'they ended in {told}. See whether the human can do the task within config.task.max_steps, '
    "and whether the simulator says so: by info['success'] in Gymnasium."
  )
