"""A train state on its devices, and the compiled updates that move it on, phase by phase."""

import collections
from collections.abc import Callable
from concurrent import futures
import itertools
import math
from typing import Any

from aloe_jax import metrics as metrics_lib
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.run import checkpoints as checkpoints_lib
from aloe_jax.run import experiment as experiment_lib

PREFETCH = 2  # calls whose batches are read ahead

# (first, count) -> batches of the critic and of the actor for as many updates, None for neither.
Drawn = tuple[types.CriticBatch | None, types.ActorBatch | None]
Batches = Callable[[int, int], Drawn]


class Updates:
  """One train state and what changes it.

  Args:
    experiment: whose layout says where the state lies, and whose config how many updates a
      compiled call takes.
    learner: of that experiment.
    state: to go on from, one global copy.
    metrics: where losses are written to.
    checkpoints: what a person is pointed to when a loss is no number.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    learner: learner_lib.Learner,
    state: TrainState,
    metrics: metrics_lib.MetricsWriter,
    checkpoints: checkpoints_lib.Checkpoints,
  ):
    self._experiment = experiment
    self._layout = experiment.layout
    self._step = self._layout.compile(learner.train_step)
    self._metrics = metrics
    self._checkpoints = checkpoints
    self._placed = self._layout.place_state(state)
    self._fingerprint: str | None = None  # of the policy, until the actor moves

  @property
  def state(self) -> TrainState:
    """One global copy."""
    return self._layout.fetch(self._placed)

  @property
  def count(self) -> int:
    """Updates since the beginning of the run."""
    return int(self.state.step)

  def policy_fingerprint(self) -> str:
    """Of the policy that acts; all its numbers are read once for as long as the actor rests."""
    if self._fingerprint is None:
      self._fingerprint = policy_lib.fingerprint(self.state.acting)
    return self._fingerprint

  def restart_actor(self, updates: int, lr: float) -> None:
    """Gives the actor a fresh optimiser for a phase of some updates."""
    state = self.state
    optimizer_state = self._experiment.actor_optimizer(updates, lr).init(state.actor)
    self._placed = self._layout.place_state(state.replace(actor_optimizer=optimizer_state))

  def restart_critic(self, updates: int) -> None:
    """Gives the critic a fresh optimiser for a phase of some updates."""
    state = self.state
    optimizer_state = self._experiment.critic_optimizer(updates).init(state.critic)
    self._placed = self._layout.place_state(state.replace(critic_optimizer=optimizer_state))

  def run(self, what: str, phase: str, updates: int, batches: Batches) -> None:
    """Runs a phase, a compiled call at a time; its metrics are read one call late.

    Args:
      what: it is called on the screen.
      phase: 'critic' or 'actor'.
      updates: N.
      batches: reads what the updates learn from.

    Raises:
      SystemExit: the loss is no number.
    """
    size = self._experiment.config.train[f'{phase}_updates_per_call']
    pending = None
    step = self.count
    if phase == 'actor':
      self._fingerprint = None

    def load(first: int) -> list[Any]:
      drawn = batches(first, min(size, updates - first))
      return [b if b is None else self._layout.place_batches(b) for b in drawn]

    # The next calls' batches are read and decoded while the device works on this one's.
    with (
      futures.ThreadPoolExecutor(1) as loader,
      progress.bar(what, updates, 'updates') as advance,
    ):
      calls = iter(range(0, updates, size))
      loading = collections.deque(
        loader.submit(load, first) for first in itertools.islice(calls, PREFETCH)
      )
      for first in range(0, updates, size):
        placed = loading.popleft().result()
        loading.extend(loader.submit(load, later) for later in itertools.islice(calls, 1))
        self._placed, metrics = self._step(self._placed, *placed)
        if pending is not None:
          advance(first, loss=self._log(step + first, phase, pending))
        pending = metrics
      advance(updates, loss=self._log(step + updates, phase, pending))

  def _log(self, step: int, phase: str, metrics: Any) -> float:
    """Writes one call's metrics; stops the run where the loss is no number."""
    scalars = {name: float(x) for name, x in self._layout.fetch(metrics)[phase].items()}
    if not math.isfinite(scalars['loss']):
      raise SystemExit(
        f'error: the {phase} loss is {scalars["loss"]} at update {step}; the last checkpoint is '
        f'{self._checkpoints.latest()}. Lower config.{phase}.lr, or look for extreme values '
        'in the data.'
      )
    self._metrics.write(step, scalars, phase=phase)
    return scalars['loss']
