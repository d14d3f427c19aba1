"""A run's critic learning on, with the run's own data, for any policy: fitted Q evaluation.

Targets of Eq. (7) whose next actions are those of a policy that does not move make the critic that
policy's. Order of the data and noise of the policies are the same in every call, so that two
critics differ by what is told them alone.
"""

import contextlib
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from aloe_jax import config as config_lib
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax.data import replay
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning import train_state
from aloe_jax.run import collected
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import plan as plan_lib
from aloe_jax.run import policy_actions
from aloe_jax.run import restored
from aloe_jax.run import streams
from aloe_jax.run.streams import Stream


class Further:
  """What a critic of actions learns on from, at the end of its phase of an iteration.

  Args:
    experiment: of the run.
    found: the critic's checkpoint.
    workdir: of the run.
    scratch: directory for what policies sample.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    found: restored.Restored,
    workdir: pathlib.Path,
    scratch: pathlib.Path,
  ):
    self._experiment, self._found = experiment, found
    self._iteration: int = found.meta['iteration']
    data = collected.RunData(experiment, workdir, plan_lib.read(experiment.config, workdir))
    data.encode(found.encoder)
    chunking = experiment.chunking(found.meta['fail_cost'])
    ratios = dict(experiment.config.data.ratios)
    self._buffer = replay.Replay(data.read(self._iteration), found.inputs, chunking, ratios)
    self._is_continued = False
    self._digest = data.digest(self._iteration)
    self._actions = policy_actions.PolicyActions(experiment, scratch)
    self._asked: policy_lib.Policy | None = None  # whose bank there is
    self._optimizer = experiment.critic_optimizer(experiment.config.critic.updates)
    self._steps: dict[learner_lib.Learner, Any] = {}  # compiled

  def train(self, learner: learner_lib.Learner, policy: policy_lib.Policy, what: str) -> Any:
    """Parameters of the critic after `critic.updates` more, targets starting from what it is.

    Args:
      learner: of the critic; its settings say what ended chunks are filled up with.
      policy: that the critic comes to judge.
      what: it is called on the screen.
    """
    config, layout = self._experiment.config, self._experiment.layout
    updates, size = config.critic.updates, config.train.critic_updates_per_call
    learner = dataclasses.replace(learner, critic_optimizer=self._optimizer)
    if learner.settings.past_end == 'executed' and not self._is_continued:
      with config_lib.user_errors():
        self._buffer.continue_ended()
      self._is_continued = True
    if self._asked is not policy:
      self._actions.release()
      self._asked = policy
    bank = self._actions.bank(
      self._iteration,
      lambda: policy,
      self._buffer,
      self._digest,
      fingerprint=lambda: policy_lib.fingerprint(policy.params),
      drawn_by=self._iteration,
      aside=lambda asked: contextlib.nullcontext(),
    )
    if learner not in self._steps:
      self._steps[learner] = layout.compile(learner.train_step)
    step = self._steps[learner]
    state = layout.place_state(self._state(learner, policy, sampled=bank is None))
    seed = streams.integer(config.seed, Stream.CRITIC_ROWS, 2 * self._iteration + 1)
    action = None if bank is None else bank.action
    images = bank is None and self._experiment.reads_images
    with progress.bar(what, updates, 'updates') as advance:
      for first in range(0, updates, size):
        count = min(size, updates - first)
        drawn = self._buffer.critic_batches(
          seed, first, count, config.critic.batch_size, action, images=images
        )
        state, metrics = step(state, layout.place_batches(drawn), None)
        advance(first + count, loss=float(layout.fetch(metrics)['critic']['loss']))
    return layout.fetch(state).critic

  def _state(
    self, learner: learner_lib.Learner, policy: policy_lib.Policy, *, sampled: bool
  ) -> train_state.TrainState:
    """With the critic as it is; with an actor only where the step samples its policy."""
    actor, critic, target = (  # copies, as the step uses its state up
      jax.tree.map(np.array, x)
      for x in (policy.params if sampled else {}, self._found.critic, self._found.critic)
    )
    state = learner.init(self._experiment.config.seed, self._experiment.example(), actor)
    return state.replace(
      critic=critic, critic_target=target, critic_optimizer=learner.critic_optimizer.init(critic)
    )
