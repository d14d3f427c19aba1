"""What the policy that enters an iteration does at states of the buffer: banked, or asked anew."""

from collections.abc import Callable
import contextlib
import pathlib
from typing import Any

import numpy as np

from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.learning import action_bank
from aloe_jax.parallel import host_memory
from aloe_jax.parallel import hosts
from aloe_jax.parallel import shared_disk
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import streams
from aloe_jax.run.streams import Stream


class PolicyActions:
  """Actions of a policy that does not move, for agents that ask for them; the same either way.

  Args:
    experiment: whose agent asks, and whose config says whether there is a bank.
    workdir: of the run.
  """

  def __init__(self, experiment: experiment_lib.Experiment, workdir: pathlib.Path):
    self._experiment = experiment
    self._config = experiment.config.actor
    self._directory = workdir / 'bank'
    self._bank: action_bank.Bank | None = None

  def bank(
    self,
    iteration: int,
    policy: Callable[[], policy_lib.Policy],
    buffer: replay.Replay,
    data: str,
    *,
    fingerprint: Callable[[], str],
    drawn_by: int,
    aside: Callable[[Any], contextlib.AbstractContextManager[None]],
  ) -> action_bank.Bank | None:
    """Actions at every state of the buffer, drawn by the first call; None where there is no bank.

    Args:
      iteration: of the run.
      policy: tells the one that enters it.
      buffer: of the iteration.
      data: digest of its datasets.
      fingerprint: tells `policy.fingerprint` of the policy's parameters.
      drawn_by: the iteration whose random numbers it is drawn by: another one where that one had
        the same policy, whose bank then serves again.
      aside: inside it the devices hold little but the parameters that it is given.
    """
    if not (self._experiment.agent.samples_policy and self._config.bank):
      return None
    acting, observation = policy(), self._observation(buffer)
    key = action_bank.make_key(
      acting,
      seed=self._seed(drawn_by),
      samples=self._config.samples,
      rows=len(buffer),
      data=data,
      fingerprint=fingerprint(),
    )
    if self._bank is None:
      if drawn_by != iteration:
        found = (self._directory / key.name).exists()
        progress.CONSOLE.print(
          f'Bank {iteration}: that of iteration {drawn_by} is used again.'
          if found
          else f'Bank {iteration}: drawn, as there is none of this policy and these episodes.'
        )
      self._remove_others(key.name)
      what = f'Bank {iteration}'
      kept = f'{what} goes on after the states that it has by the same command.'
      if host_memory.is_apart():
        acting = acting.rounded(observation(np.arange(1)))
      with (
        aside(acting.params),
        stopping.saying(kept),
        progress.bar(what, len(buffer), 'states') as advance,
      ):
        self._bank = action_bank.draw(
          acting,
          observation,
          key,
          self._directory,
          layout=self._experiment.layout,
          batch_size=self._config.batch_size,
          progress=advance,
        )
    self._bank.check(key)
    return self._bank

  def asked(
    self, iteration: int, policy: policy_lib.Policy, buffer: replay.Replay
  ) -> Callable[[np.ndarray], np.ndarray]:
    """Draws at rows [B] what the bank of the iteration would hold of them, [B, M, h, A]."""
    return action_bank.sampler(
      policy,
      self._observation(buffer),
      seed=self._seed(iteration),
      samples=self._config.samples,
      layout=self._experiment.layout,
    )

  def release(self) -> None:
    """Tells that the policy moves on; its bank stays on disk, for a phase that is learnt again."""
    self._bank = None

  def _remove_others(self, name: str) -> None:
    """Removes the banks of other policies, to make room."""
    shared = shared_disk.is_shared(self._directory)  # all hosts ask
    if hosts.is_first() or not shared:
      for path in self._directory.glob('*'):
        if not path.name.startswith((name, f'.{name}')):
          path.unlink(missing_ok=True)

  def _observation(self, buffer: replay.Replay) -> Callable[[np.ndarray], types.Observation]:
    return lambda rows: buffer.observation(rows, images=self._experiment.reads_images)

  def _seed(self, iteration: int) -> int:
    return streams.integer(self._experiment.config.seed, Stream.BANK, 2 * iteration)
