"""Gymnasium environments by name, as worlds that policies and people act in.

'gymnasium:Pendulum-v1' is any registered environment ('gymnasium:my_module:MyTask-v0' imports
`my_module` first); 'ogbench:cube-single-v0', 'metaworld:push-v3' and 'gym_aloha:insertion' are
tasks of OGBench, Meta-World and gym-aloha with a scripted human each.

An environment says how its episodes end: a step whose `info` has a true 'success' (or
'is_success') is a success, and where `info` has neither, a termination with a positive reward;
every other termination is a failure. It is one of the two in all episodes. Two methods that it may
have besides those of Gymnasium:

    make_human(rng)   the person beside it, a `Human`: demonstrates, watches and takes over
    recover()         what an operator's hands do after a failure, before they go on from there;
                      returns observation and info, as `reset` does
"""

from collections.abc import Callable
import importlib
import math
from typing import Any, Protocol

import numpy as np

from aloe_jax import closing
from aloe_jax.envs import gymnasium_errors
from aloe_jax.envs import gymnasium_spaces
from aloe_jax.envs import gymnasium_success

# What a name begins with: the module whose `make` makes the rest of it, none for what is
# registered with Gymnasium, and how pip installs what that needs.
KINDS = {
  'gymnasium': ('', "-c constraints.txt -e '.[sim]'"),
  'ogbench': ('aloe_jax.envs.ogbench_tasks', "-c constraints.txt -e '.[sim]'"),
  'metaworld': ('aloe_jax.envs.metaworld_task', "-c constraints_mujoco3.txt -e '.[metaworld]'"),
  'gym_aloha': ('aloe_jax.envs.gym_aloha_task', "-c constraints_mujoco3.txt -e '.[gym-aloha]'"),
}


class Human(Protocol):
  """Who demonstrates an episode, or watches one and takes over; drawn anew for each.

  What they do is a function of what can be seen, so that they can go on from any state, and of
  their own style; nothing tells them which policy they watch.
  """

  def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
    """Their action [A] in this state."""

  def alarmed(self, observation: Any, info: dict[str, Any]) -> bool:
    """Whether they reach for the controls; asked once after every step of the policy."""


class Task:
  """One task, in as many instances as are asked for; they are kept, as making one takes long.

  Attributes:
    name: such as 'ogbench:cube-single-v0'.
    spaces: what policies read and write.
    ends: how steps end its episodes.
    has_human: whether somebody can demonstrate and take over.
    recovers: whether the human can go on after a failure.
    was_reset_twice: whether it was seen that equal seeds begin equal scenes.
    places: where its episodes are played, {processes: places}; see `gymnasium_places`.
    note: told before each call of an environment, where in an episode it is and what is called.

  Args:
    name: such as 'ogbench:cube-single-v0'.
    is_quiet: whether remarks on what is seen are only kept, see `Spaces`.

  Raises:
    ValueError: there is no such environment, it does not fit, or packages are missing.
  """

  def __init__(self, name: str, *, is_quiet: bool = False):
    self.name = name
    self.was_reset_twice = False
    self.places: dict[int, Any] = {}
    self.note: Callable[[str, str], None] = lambda where, what: None
    env = _make(name)
    try:
      self.spaces = gymnasium_spaces.Spaces(env, name, is_quiet=is_quiet)
    except BaseException:
      _close(name, env)
      raise
    self._environments = [env]
    closing.at_end(self.close)
    self.ends = gymnasium_success.Ends(name, self.spaces.remarks)
    self.has_human = env.has_wrapper_attr('make_human')
    self.recovers = env.has_wrapper_attr('recover')

  def environments(self, count: int) -> list[Any]:
    """The first `count` instances."""
    while len(self._environments) < count:
      self.note(self.name, 'making it')
      self._environments.append(_make(self.name))
    return self._environments[:count]

  def close(self) -> None:
    """Closes all environments; one that cannot be closed is told, and nothing else comes of it."""
    for places in self.places.values():
      places.close()
    self.places.clear()
    while self._environments:
      if told := _close(self.name, self._environments.pop()):
        self.spaces.remarks.say('close', told)

  def compare(self, *, max_steps: int, control_hz: float) -> None:
    """Says where an environment registered with Gymnasium was made for other episodes.

    Args:
      max_steps: after which an episode times out.
      control_hz: steps per second.
    """
    if KINDS[self.name.partition(':')[0]][0]:  # ours: nothing of this is registered
      return
    (env,) = self.environments(1)
    limit, rate = _own_limit(env), (env.metadata or {}).get('render_fps')
    if limit and limit != max_steps:
      self.spaces.remarks.say(
        'max_steps',
        f'{self.name}: its max_episode_steps is {limit}, but episodes last up to {max_steps} '
        f'steps, as config.task.max_steps says. Give --config.task.max_steps={limit} for its own '
        'limit.',
      )
    if isinstance(rate, int | float) and rate > 0 and not math.isclose(rate, control_hz):
      self.spaces.remarks.say(
        'control_hz',
        f'{self.name}: its render_fps is {rate:g}, but {control_hz:g} steps pass for a second, by '
        'which rates per hour are told and a robot is played in real time. Give '
        f'--config.task.control_hz={rate:g}, if it makes a picture of every step.',
      )


def _own_limit(env: Any) -> int | None:
  """Steps of an episode that an environment was registered with; None if it has no limit."""
  import gymnasium

  # Of the registry: the environment was made without.
  spec = gymnasium.registry.get(env.spec.id) if env.spec else None
  return spec.max_episode_steps if spec else None


def _make(task: str) -> Any:
  """A new environment that does not end its episodes for want of time."""
  kind, _, name = task.partition(':')
  module, install = KINDS[kind]
  try:
    import gymnasium

    make = importlib.import_module(module).make if module else _registered
  except ImportError as error:
    raise ValueError(
      f'config.sim.task is {task!r}, which needs a package that is not here ({error}): '
      f'pip install {install}'
    ) from error
  try:
    return make(name)
  except (gymnasium.error.Error, ImportError) as error:
    raise ValueError(f'config.sim.task is {task!r}: {error}') from error
  except (Exception, SystemExit) as error:
    if module and isinstance(error, ValueError):  # ours, which says what is wrong with a name
      raise
    raise gymnasium_errors.raised(task, 'making it', error) from error


def _close(task: str, env: Any) -> str:
  """Closes an environment; what is to be told of it, '' if nothing."""
  try:
    env.close()
  except (Exception, SystemExit) as error:
    return (
      f'{gymnasium_errors.raised(task, "close", error)} What was played is whole; what the '
      'environment had started may still run.'
    )
  return ''


def _registered(name: str) -> Any:
  import gymnasium

  # The limit is the rollout's: a human goes on where the policy has run out of time.
  return gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True)
