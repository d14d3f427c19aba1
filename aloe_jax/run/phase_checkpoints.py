"""What phases of updates leave: saves inside them, and a checkpoint at the end of each."""

from typing import Any

from aloe_jax import config as config_lib
from aloe_jax import stopping
from aloe_jax.data import action_kinds
from aloe_jax.parallel import hosts
from aloe_jax.preprocessing import normalize
from aloe_jax.run import opening
from aloe_jax.run import padded_state
from aloe_jax.run import phases
from aloe_jax.run import results as results_lib
from aloe_jax.run import starting_point
from aloe_jax.run import surplus
from aloe_jax.run import unfinished
from aloe_jax.run import updates as updates_lib


class PhaseCheckpoints:
  """Brings the updates of each phase to their end, and what they have learnt to the disk.

  Args:
    opened: the run.
    results: its evaluations.

  Attributes:
    done: number of the newest checkpoint, or None.
    tagged: whether the actor was taught tags.
    critic_learnt: whether the critic has learnt anything at all.
  """

  def __init__(self, opened: opening.Opened, results: results_lib.Results):
    self._opened, self._results = opened, results
    self._config = opened.experiment.config
    self.done = opened.done
    self.tagged = starting_point.tagged(opened.start)
    self.critic_learnt = starting_point.critic_learnt(opened.start)

  def is_begun(self, number: int) -> bool:
    """Whether some updates of the phase that leaves this checkpoint were done and saved before."""
    return self._opened.found is not None and self._opened.found.number == number

  def update(
    self, phase: phases.Phase, learns: str, updates: int, batches: updates_lib.Batches
  ) -> None:
    """Runs the updates of a phase, which go on where they were saved, and leaves its checkpoint.

    Args:
      phase: to be done.
      learns: 'critic' or 'actor'.
      updates: N of the whole phase.
      batches: reads what the updates learn from.

    Raises:
      stopping.Stopped: by a signal, when what was learnt is saved.
    """
    opened = self._opened
    saves = unfinished.Saves(
      opened.workdir,
      phase.what,
      phase.number,
      self._meta(phase) | {'updates': updates},
      after=self.done,
      found=opened.found,
      minutes=self._config.train.save_minutes,
      metrics=opened.metrics,
    )
    with stopping.deferred() as deferral:
      opened.updates.run(phase.what, learns, updates, batches, saves)
      deferral.loses = True
      with stopping.saying(_unsaved(phase, saves.done)):
        saves.settle()
        if opened.encoder is None:
          opened.freeze_tower()
        self.save(phase)
      saves.finish()
    self.remove_surplus()

  def save(self, phase: phases.Phase, *, skipped: bool = False) -> None:
    """Writes the checkpoint that a phase leaves, which says so where it had no updates."""
    opened, updates = self._opened, self._opened.updates
    meta = self._meta(phase) | ({'skipped': True} if skipped else {})
    with stopping.deferred() as deferral:
      deferral.loses = True
      opened.checkpoints.save(phase.number, updates.state, opened.encoder, meta, updates.unchanged)
      updates.is_saved(opened.checkpoints.path(phase.number))
      self.done = phase.number

  def remove_surplus(self) -> None:
    """Removes the checkpoints that are not to be kept."""
    if hosts.is_first():
      written, best = self._opened.checkpoints, self._results.best
      best = None if best is None else phases.actor_number(best)
      written.remove(surplus.numbers(written.numbers(), self._config.train.keep, best))

  def _meta(self, phase: phases.Phase) -> dict[str, Any]:
    """What a checkpoint says about itself."""
    opened = self._opened
    note = opened.data.plan.note(phase.iteration, phase.name)
    return {
      'phase': phase.name,
      **({'note': note} if note else {}),
      'iteration': phase.iteration,
      'step': opened.updates.count,
      'agent': opened.experiment.agent.name,
      'tagged': self.tagged,
      'critic_learnt': self.critic_learnt,
      'fail_cost': opened.fail_cost,
      'return_range': opened.return_range,
      action_kinds.NAME: opened.action_kind,
      'architecture': opened.experiment.architecture(),
      **({} if opened.stats is None else normalize.to_json(opened.stats)),
      'config': config_lib.to_json(self._config),
      **padded_state.MARK,
    }


def _unsaved(phase: phases.Phase, saved: int) -> str:
  """What is said where the process ends before the checkpoint of a phase is whole."""
  where = f'after {saved} updates' if saved else 'at the beginning of the phase'
  return f'{phase.what} has no checkpoint yet; the same command goes on {where}.'
