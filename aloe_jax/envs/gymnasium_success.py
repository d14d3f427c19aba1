"""Whether a step has done the task, by what an environment says of it, and how that ends it."""

from collections.abc import Mapping
from typing import Any

from aloe_jax import types
from aloe_jax.envs import gymnasium_observation
from aloe_jax.envs import gymnasium_values

SIGNS = ('success', 'is_success')  # of `info`; either will do


class Ends:
  """How the steps of a task end its episodes, always by one sign of success.

  Args:
    task: name of it, for what is said.
    remarks: says which sign it is, where that is the reward.
  """

  def __init__(self, task: str, remarks: gymnasium_observation.Remarks):
    self._task, self._remarks = task, remarks
    self._had_sign = False  # in some step
    self._lacked_sign = False  # in the last step of an episode

  def of(
    self, reward: Any, terminated: bool, truncated: bool, info: Mapping[str, Any]
  ) -> types.EndReason:
    """How a step ends the episode; NONE if it goes on.

    Raises:
      ValueError: as `succeeded`; or `info` has a success in some episodes only.
    """
    success = succeeded(reward, terminated, info)
    self._see(reward, terminated, info)
    if success:
      return types.EndReason.SUCCESS
    if terminated:
      return types.EndReason.FAILURE
    return types.EndReason.TIMEOUT if truncated else types.EndReason.NONE

  def _see(self, reward: Any, terminated: bool, info: Mapping[str, Any]) -> None:
    """Holds the sign of a step to those of others, and says it where nobody may expect it."""
    has_sign = any(sign in info for sign in SIGNS)
    self._had_sign |= has_sign
    self._lacked_sign |= terminated and not has_sign
    if self._had_sign and self._lacked_sign:
      here, elsewhere = (
        ('a', 'had none at an earlier end') if has_sign else ('no', 'had one before')
      )
      raise ValueError(
        f"info has {here} 'success' in this step and {elsewhere}; expected it at every end, or at "
        "none. Say in info['success'] of every step whether the task is done: False where it "
        'has failed.'
      )
    if has_sign:
      return
    if alike := [key for key in info if isinstance(key, str) and key.lower() in SIGNS]:
      self._remarks.say(
        'a success by another name',
        f"{self._task}: info has no 'success' but {', '.join(map(repr, alike))}, which is not "
        "read; call it 'success'. This is said once.",
      )
    if terminated:
      self._remarks.say(
        'success by the reward',
        f"{self._task}: success is read off the reward, as info has no 'success': an end with a "
        'positive one is a success, every other a failure. This first end paid '
        f"{gymnasium_values.reward(reward):.6g}. Say info['success'] in every step where that is "
        'not so, as where staying alive is paid. This is said once.',
      )


def succeeded(reward: Any, terminated: bool, info: Mapping[str, Any]) -> bool:
  """Whether a step has done the task.

  Raises:
    ValueError: what counts, 'success' or else the reward, cannot be read, or is two things at once.
  """
  told = {
    sign: gymnasium_values.flag(info[sign], f'info[{sign!r}]') for sign in SIGNS if sign in info
  }
  if len(set(told.values())) > 1:
    first, second = (f'info[{sign!r}] is {value}' for sign, value in told.items())
    raise ValueError(f'{first} and {second}; expected one answer. Leave one of the two out.')
  if told:
    return any(told.values())
  return gymnasium_values.reward(reward) > 0 and terminated
