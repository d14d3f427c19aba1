"""One Gymnasium environment and the human beside it, asked one thing after another.

Whatever they raise, and whatever they return that nobody can go on from, is one error that says
which environment it was and when.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from aloe_jax import types
from aloe_jax.envs import gymnasium_errors
from aloe_jax.envs import gymnasium_task
from aloe_jax.envs import gymnasium_values


class Scene:
  """Goes through one episode after another.

  Attributes:
    sight: what a policy sees now.
    has_human: whether somebody is there in this episode.

  Args:
    task: of the environment.
    env: one of its instances.
  """

  def __init__(self, task: gymnasium_task.Task, env: Any):
    self._task, self._env = task, env
    self.has_human = False

  def begin(self, seed: int, *, has_human: bool) -> None:
    """Resets the scene, for a new episode with its own human, if there is to be one.

    Raises:
      ValueError: see `gymnasium_errors`; so do all others.
    """
    self._seed, self._steps = seed, 0
    self._reset()
    if not self._task.was_reset_twice:
      self._task.was_reset_twice = True
      self._reset_twice()
    self.has_human = has_human
    if has_human:
      make_human = self._env.get_wrapper_attr('make_human')
      found = self._call('make_human', make_human, np.random.default_rng([seed, 1]))
      with gymnasium_errors.reading(self._where()):
        self._human = gymnasium_values.human(found)

  def step(self, action: np.ndarray, *, is_last: bool) -> tuple[types.EndReason, bool]:
    """Carries an action [A] out.

    Args:
      action: from `Spaces.action`.
      is_last: whether time is over after it.

    Returns:
      How that ended the episode, NONE if it goes on; and whether the environment stopped it.
    """
    self._steps += 1
    found = self._call('step', self._env.step, action.copy())  # which some change in place
    with gymnasium_errors.reading(self._where()):
      observation, reward, terminated, truncated, info = gymnasium_values.stepped(found)
      self.sight = self._task.spaces.sight(observation)
      is_late = truncated or is_last
      end_reason = self._task.ends.of(reward, terminated, is_late, info)
    self._observation, self._info = observation, info
    return end_reason, terminated or truncated

  def recover(self) -> None:
    """Undoes a failure, for the human to go on."""
    self._see_begun('recover', self._env.get_wrapper_attr('recover'))

  def executed(self, action: Any) -> np.ndarray:
    """The action [A] that is carried out for one of a policy."""
    with gymnasium_errors.reading(self._where(1)):
      return self._task.spaces.action(action)

  def human_action(self) -> np.ndarray:
    """What the human does now, [A] as it is carried out."""
    found = self._call('the human', self._human.act, self._observation, self._info, ahead=1)
    with gymnasium_errors.reading(self._where(1)):
      return self._task.spaces.human_action(found)

  def alarmed(self) -> bool:
    """Whether the human, who is there, reaches for the controls."""
    found = self._call('the human', self._human.alarmed, self._observation, self._info)
    with gymnasium_errors.reading(self._where()):
      return gymnasium_values.flag(found, "the human's alarmed(observation, info)")

  def _reset(self) -> None:
    self._see_begun('reset', lambda: self._env.reset(seed=self._seed))

  def _reset_twice(self) -> None:
    """Resets the scene once more, and says it where that is another one."""
    first = self.sight
    self._reset()
    both = zip(jax.tree.leaves(first), jax.tree.leaves(self.sight), strict=True)
    if not all(np.array_equal(one, other) for one, other in both):
      self._task.spaces.remarks.say(
        'seeds',
        f'{self._task.name}: two calls of reset(seed={self._seed}) began with different '
        'observations; expected equal ones, as methods are compared in scenes of equal seeds, and '
        'results repeat only with them. Begin reset with super().reset(seed=seed), and draw all '
        'that is random from self.np_random. It is played on. This is said once.',
      )

  def _see_begun(self, what: str, function: Callable[[], Any]) -> None:
    found = self._call(what, function)
    with gymnasium_errors.reading(self._where()):
      observation, info = gymnasium_values.begun(found, what)
      self._task.spaces.compare(self._env)
      self.sight = self._task.spaces.sight(observation)
    self._observation, self._info = observation, info

  def _call(self, what: str, function: Callable[..., Any], *args: Any, ahead: int = 0) -> Any:
    self._task.note(self._where(ahead), what)
    try:
      return function(*args)
    except (Exception, SystemExit) as error:  # which would end the program as if all were well
      raise gymnasium_errors.raised(self._where(ahead), what, error) from error

  def _where(self, ahead: int = 0) -> str:
    """Environment and step, or one that many steps ahead, as errors begin."""
    step = self._steps + ahead
    when = f'step {step}' if step else 'the start of an episode'
    return f'{self._task.name}, {when} (seed {self._seed})'
