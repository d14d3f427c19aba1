"""Places where episodes are played side by side, in this process or shared out over several.

A physics engine takes most of the time of a rollout, and one process steps its environments one
after another. Shared out over processes, each steps its own while the others step theirs. Which
place plays which episode does not depend on how many processes there are, so that neither do the
episodes.
"""

from collections.abc import Mapping, Sequence
import functools
import multiprocessing
import os
import signal
from typing import Any, NamedTuple, Protocol
import warnings

import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_place
from aloe_jax.envs import gymnasium_task

PLACES = 8  # environments side by side: enough for a batch, as each holds a whole physics engine


class Now(NamedTuple):
  """How a place stands.

  Attributes:
    sight: what a policy sees there.
    steps: of the episode so far.
    record: of the episode, once it is over.
  """

  sight: types.Sight
  steps: int
  record: gymnasium_place.Record | None


class Places(Protocol):
  """Some places, by number from 0.

  Attributes:
    is_closed: whether nothing can be played in them any more, after an error.
  """

  is_closed: bool

  def rules(self, rules: gymnasium_place.Rules) -> None:
    """Clears all places, for episodes that are played by these rules."""

  def begin(self, seeds: Mapping[int, int]) -> dict[int, Now]:
    """Begins episodes, {place: seed}; how these places stand then."""

  def play(self, planned: Mapping[int, np.ndarray]) -> dict[int, Now]:
    """Plays actions, {place: [e, A]}; how these places stand then."""


class Here:
  """Places in this process.

  Args:
    task: of the environments, which are made as they are needed.
  """

  is_closed = False

  def __init__(self, task: gymnasium_task.Task):
    self._task = task

  def rules(self, rules: gymnasium_place.Rules) -> None:
    self._rules = rules
    self._places: dict[int, gymnasium_place.Place] = {}

  def begin(self, seeds: Mapping[int, int]) -> dict[int, Now]:
    for place, seed in seeds.items():
      if place not in self._places:
        # By number within the task, so that each place keeps its environment.
        env = self._task.environments(place + 1)[place]
        self._places[place] = gymnasium_place.Place(self._task, env, self._rules)
      self._places[place].begin(seed)
    return self._now(seeds)

  def play(self, planned: Mapping[int, np.ndarray]) -> dict[int, Now]:
    for place, actions in planned.items():
      self._places[place].play(actions)
    return self._now(planned)

  def _now(self, numbers: Any) -> dict[int, Now]:
    places = {number: self._places[number] for number in numbers}
    return {
      number: Now(place.sight, len(place.record.action), place.record if place.is_free else None)
      for number, place in places.items()
    }


class SharedOut:
  """Places dealt out in turn over processes of this machine, see `gymnasium.vector`.

  Args:
    task: of the environments.
    processes: how many; at most as many as places.
  """

  is_closed = False

  def __init__(self, task: gymnasium_task.Task, processes: int):
    from gymnasium import vector

    makes = [functools.partial(_share, task.name, number) for number in range(processes)]
    # Not forked: JAX has threads, which a copy of this process would not have.
    self._vector = vector.AsyncVectorEnv(
      makes,
      shared_memory=False,
      context='spawn',
      autoreset_mode=vector.AutoresetMode.DISABLED,
    )
    self._processes = processes

  def rules(self, rules: gymnasium_place.Rules) -> None:
    self._call('rules', [rules] * self._processes)

  def begin(self, seeds: Mapping[int, int]) -> dict[int, Now]:
    return self._deal('begin', seeds)

  def play(self, planned: Mapping[int, np.ndarray]) -> dict[int, Now]:
    return self._deal('play', planned)

  def _deal(self, what: str, by_place: Mapping[int, Any]) -> dict[int, Now]:
    hands: list[dict[int, Any]] = [{} for _ in range(self._processes)]
    for place, value in by_place.items():
      hands[place % self._processes][place // self._processes] = value
    found = self._call(what, hands)
    return {place: found[place % self._processes][place // self._processes] for place in by_place}

  def _call(self, what: str, hands: Sequence[Any]) -> tuple[Any, ...]:
    try:
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of what is raised here all the same
        return self._vector.call('do', what, hands)
    except BaseException:  # also of somebody who stops the run: others may be at work still
      self.is_closed = True
      self._vector.close(terminate=True)
      raise


def _share(task: str, number: int) -> Any:
  """What one process has: places behind an environment's face, as `gymnasium.vector` wants one."""
  import gymnasium

  class Share(gymnasium.Env):
    """Does what its own hand asks for; makes its environments when something first does."""

    observation_space = action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    _places: Here | None = None

    def do(self, what: str, hands: Sequence[Any]) -> Any:
      if self._places is None:
        if multiprocessing.parent_process() is not None:
          # Somebody who stops the run stops this one too, in its own time.
          signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._places = Here(gymnasium_task.Task(task))
      try:
        return getattr(self._places, what)(hands[number])
      except Exception as error:  # of a kind that can be made anew on the other side
        raise RuntimeError(f'{task}: {type(error).__name__}: {error}') from error

  return Share()


def cores() -> int:
  """Processor cores that this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def make(task: gymnasium_task.Task, processes: int) -> Places:
  """The places of a task; those of as many processes are made once and kept by the task.

  Args:
    task: of the environments.
    processes: over which they are shared out; 0 for as many as there are cores.
  """
  count = min(processes or cores(), PLACES)
  if count not in task.places or task.places[count].is_closed:
    task.places[count] = SharedOut(task, count) if count > 1 else Here(task)
  return task.places[count]
