"""A train state on its devices, and the compiled updates that move it on, phase by phase."""

import collections
from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import itertools
import math
import pathlib
import signal
from typing import Any

import jax

from aloe_jax import metrics as metrics_lib
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax import types
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning import optimizer as optimizer_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import small
from aloe_jax.parallel import host_memory
from aloe_jax.parallel import hosts
from aloe_jax.run import checkpoints as checkpoints_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import state_items
from aloe_jax.run import step_time
from aloe_jax.run import unfinished

# Of the state, what waits while the policy that acts is asked, but for what that is made of.
IDLE = (
  'actor',
  'actor_ema',
  'actor_frozen',
  'actor_optimizer',
  'critic_target',
  'critic_optimizer',
)
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
    trace: directory for traces of a few calls of each phase; None for none.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    learner: learner_lib.Learner,
    state: TrainState,
    metrics: metrics_lib.Writer,
    checkpoints: checkpoints_lib.Checkpoints,
    trace: pathlib.Path | None = None,
  ):
    self._experiment = experiment
    self._layout = experiment.layout
    self._step = self._layout.compile(learner.train_step)
    self._metrics = metrics
    self._checkpoints = checkpoints
    self._trace = trace
    self._placed = self._layout.place_state(state)
    self._fingerprint: str | None = None  # of the policy, until the actor moves
    self._unchanged: dict[str, pathlib.Path] = {}

  @property
  def state(self) -> TrainState:
    """One global copy."""
    return self._layout.fetch(self._placed)

  @property
  def count(self) -> int:
    """Updates since the beginning of the run."""
    return int(self.state.step)

  @property
  def unchanged(self) -> dict[str, pathlib.Path]:
    """{item: checkpoint of the run that holds the same as the state}."""
    return dict(self._unchanged)

  def is_saved(self, path: pathlib.Path) -> None:
    """Tells that a checkpoint of this run holds the state as it is."""
    self._unchanged = dict.fromkeys(state_items.shareable(path), path)

  def is_counted_anew(self) -> None:
    """Tells that no checkpoint has the count of updates that the state has."""
    self._unchanged.pop('step', None)

  def policy_fingerprint(self) -> str:
    """Of the policy that acts; all its numbers are read once for as long as the actor rests."""
    if self._fingerprint is None:
      self._fingerprint = policy_lib.fingerprint(self.state.acting)
    return self._fingerprint

  @contextlib.contextmanager
  def aside(self, asked: Any) -> Iterator[None]:
    """Inside it `IDLE` waits in the host's memory, where devices have memory of their own.

    Args:
      asked: arrays that the devices go on with: those of the state among them stay.
    """
    lent = self._lent(asked) if host_memory.is_apart() else None
    if lent is not None:
      self._placed = self._placed.replace(**lent.arrays)
    try:
      yield
    finally:
      if lent is not None:
        self._placed = self._placed.replace(**lent.returned())

  def _lent(self, asked: Any) -> host_memory.Lent | None:
    """`IDLE` at the host; None where that has no room, which is said."""
    try:
      return host_memory.Lent({name: getattr(self._placed, name) for name in IDLE}, asked)
    except jax.errors.JaxRuntimeError as error:
      progress.CONSOLE.print(
        'What updates alone need stays on the devices, as the host has no room for it: '
        f'{next(iter(str(error).splitlines()), "")}',
        highlight=False,
        soft_wrap=True,
      )
      return None

  def restart_actor(self, updates: int, lr: float) -> None:
    """Gives the actor a fresh optimiser for a phase of some updates."""
    state, self._placed = self.state, None
    state = state.replace(actor_optimizer=None)  # the old one goes before there is a new one
    optimizer_state = self._experiment.actor_optimizer(updates, lr).init(state.actor)
    self._placed = self._layout.place_state(state.replace(actor_optimizer=optimizer_state))
    self._unchanged.pop('actor_optimizer', None)

  def restart_critic(self, updates: int) -> None:
    """Gives the critic a fresh optimiser for a phase of some updates."""
    state, self._placed = self.state, None
    state = state.replace(critic_optimizer=None)
    optimizer_state = self._experiment.critic_optimizer(updates).init(state.critic)
    self._placed = self._layout.place_state(state.replace(critic_optimizer=optimizer_state))
    self._unchanged.pop('critic_optimizer', None)

  def take_tower(self) -> Any:
    """Parts the actor from the tower that it has trained, and gives the tower as it acts.

    The rest goes on from what acts too, which is what has learnt to read this tower.
    """
    state, self._placed = self.state, None
    average = dict(state.actor_ema['params'])
    tower = average.pop(small.TOWER)
    kinds = {name: state.actor['params'][name] for name in average}
    actor = {'params': jax.tree.map(lambda x, y: x.astype(y.dtype, copy=True), average, kinds)}
    state = state.replace(actor=actor, actor_ema={'params': average}, actor_optimizer=None)
    config = self._experiment.config.actor
    fresh = self._experiment.actor_optimizer(config.warm_start_updates, config.warm_start_lr)
    self._placed = self._layout.place_state(state.replace(actor_optimizer=fresh.init(actor)))
    self._fingerprint = None
    return tower

  def run(
    self, what: str, phase: str, updates: int, batches: Batches, saves: unfinished.Saves
  ) -> None:
    """Runs a phase, a compiled call at a time; its metrics are read one call late.

    It goes on where a save inside the phase was made, and then ends as it would have.

    Args:
      what: it is called on the screen.
      phase: 'critic' or 'actor'.
      updates: N.
      batches: reads what the updates learn from.
      saves: those of the phase.

    Raises:
      SystemExit: the loss is no number.
      stopping.Stopped: by a signal, after the call in flight and a save.
    """
    size = self._experiment.config.train[f'{phase}_updates_per_call']
    pending = None
    if phase == 'actor':
      self._fingerprint = None
    for name in state_items.CHANGED[phase]:
      self._unchanged.pop(name, None)
    begin = saves.done
    if begin:
      self._lay_over(phase, saves)
      if begin >= updates:
        progress.CONSOLE.print(
          f'{what}: ends after {begin} updates, as no more than {updates} are wanted now.'
        )
        return
      progress.CONSOLE.print(f'{what}: goes on after {begin} of {updates} updates.')
    step = self.count - begin

    def load(first: int) -> list[Any]:
      drawn = batches(first, min(size, updates - first))
      return [b if b is None else self._layout.place_batches(b) for b in drawn]

    def fields() -> dict[str, Any]:
      state = self.state
      return {name: getattr(state, name) for name in state_items.CHANGED[phase]}

    trace = None if self._trace is None else self._trace / what.lower().replace(' ', '_')
    clock = step_time.StepTime(self._metrics, phase, trace)
    vote = hosts.Vote('what comes after this call')
    # The next calls' batches are read and decoded while the device works on this one's.
    with (
      stopping.saying(_repeated(what, begin, updates)),
      stopping.deferred() as deferral,
      futures.ThreadPoolExecutor(1) as loader,
      progress.bar(what, updates, 'updates', begin) as advance,
    ):
      calls = iter(range(begin, updates, size))
      loading = collections.deque(
        loader.submit(load, first) for first in itertools.islice(calls, PREFETCH)
      )
      for first in range(begin, updates, size):
        clock.begin_call()
        with clock.waiting('data'):
          placed = loading.popleft().result()
        loading.extend(loader.submit(load, later) for later in itertools.islice(calls, 1))
        self._placed, metrics = self._step(self._placed, *placed)
        deferral.loses = True
        if pending is not None:
          advance(first, loss=self._log(step + first, phase, pending, clock))
        pending, done = metrics, min(first + size, updates)
        clock.end_call(step + done, done - first, metrics, last=done == updates)
        # Hosts agree: 0, a signal came to one of them; 1, it is time to save; 2, neither.
        wish = vote.lowest(0 if stopping.asked() else 1 if saves.due() else 2, otherwise=2)
        if done == updates or wish == 2:
          continue
        advance(
          done, loss=self._log(step + done, phase, pending, clock)
        )  # before the save that is after
        pending = None
        if wish == 1:
          saves.save(done, step + done, fields)
          continue
        with stopping.saying(_unsaved(what, done, updates, saves.done)):
          whole = saves.save_now(done, step + done, fields)
        for later in loading:
          later.cancel()
        raise stopping.Stopped(
          stopping.asked() or signal.SIGTERM, _stopped(what, done, updates, saves.done, whole)
        )
      if pending is not None:
        advance(updates, loss=self._log(step + updates, phase, pending, clock))

  def _lay_over(self, phase: str, saves: unfinished.Saves) -> None:
    """Replaces what the phase changes by what was saved; there are never two of it in memory."""
    state, self._placed = self.state, None
    fresh = {name: getattr(state, name) for name in state_items.CHANGED[phase]}
    optimizer = f'{phase}_optimizer'
    settings = optimizer_lib.settings(fresh[optimizer])
    like = state_items.described(fresh)
    state = state.replace(**dict.fromkeys(fresh))
    del fresh
    read = saves.read(like)
    read[optimizer] = optimizer_lib.with_settings(read[optimizer], settings)
    self._placed = self._layout.place_state(state.replace(**read))

  def _log(self, step: int, phase: str, metrics: Any, clock: step_time.StepTime) -> float:
    """Writes one call's metrics; stops the run where the loss is no number."""
    with clock.waiting('device'):
      scalars = {name: float(x) for name, x in self._layout.fetch(metrics)[phase].items()}
    if not math.isfinite(scalars['loss']):
      raise SystemExit(
        f'error: the {phase} loss is {scalars["loss"]} at update {step}; the last checkpoint is '
        f'{self._checkpoints.latest()}. Lower config.{phase}.lr, or look for extreme values '
        'in the data.'
      )
    self._metrics.write(step, scalars, phase=phase)
    return scalars['loss']


def _repeated(what: str, begin: int, updates: int) -> str:
  """What a signal says that comes before the first call of a phase has ended."""
  if begin:
    return f'{what} goes on after {begin} of {updates} updates by the same command.'
  return f'{what} begins anew by the same command.'


def _stopped(what: str, done: int, updates: int, saved: int, whole: bool) -> str:
  if whole:
    return (
      f'Stopped in {what} after {done} of {updates} updates; saved. The same command goes on from '
      'there.'
    )
  return f'Stopped. {_unsaved(what, done, updates, saved)}'


def _unsaved(what: str, done: int, updates: int, saved: int) -> str:
  from_where = f'after {saved} updates' if saved else 'at the beginning of the phase'
  return (
    f'{what} came to {done} of {updates} updates, which could not be saved. The same command goes '
    f'on {from_where}.'
  )
