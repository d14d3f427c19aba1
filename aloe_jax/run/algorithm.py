"""Algorithm 1 in one working directory, phase by phase.

Each phase leaves something whole on disk: a directory of episodes, a checkpoint, an evaluation.
"""

import jax
import numpy as np

from aloe_jax import config as config_lib
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import stopping
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.buckets import twin
from aloe_jax.data import replay
from aloe_jax.data import sampler
from aloe_jax.learning import action_bank
from aloe_jax.run import collection
from aloe_jax.run import evaluation
from aloe_jax.run import imitated
from aloe_jax.run import next_steps
from aloe_jax.run import opening
from aloe_jax.run import phase_checkpoints
from aloe_jax.run import phases
from aloe_jax.run import policy_actions
from aloe_jax.run import removal
from aloe_jax.run import results
from aloe_jax.run import return_range
from aloe_jax.run import streams
from aloe_jax.run import unfinished
from aloe_jax.run import updates as updates_lib
from aloe_jax.run import weighing
from aloe_jax.run.streams import Stream

SWEEP_BATCH = 1024  # chunks per call of the sweep that weighs them


class Run:
  """One run of Algorithm 1 in one working directory.

  Args:
    opened: what its phases work on.
  """

  def __init__(self, opened: opening.Opened):
    self._opened = opened
    self._experiment = opened.experiment
    self._config = opened.experiment.config
    self._data, self._learner, self._updates = opened.data, opened.learner, opened.updates
    self._plan = opened.data.plan
    with config_lib.user_errors():
      self._results = results.Results(opened.workdir / 'evaluations.json')
    self._anew = self._results.forget(opened.done, warms_up=opened.warms_up)
    for iteration in self._anew:
      progress.CONSOLE.print(
        f'The evaluation of iteration {iteration} is made anew: checkpoint '
        f'{phases.actor_number(iteration)}, of which it was, is not there any more.'
      )
    self._actions = policy_actions.PolicyActions(opened.experiment, opened.workdir)
    self._buffer: tuple[int, replay.Replay] | None = None  # of the iteration that used one last
    self._left = phase_checkpoints.PhaseCheckpoints(opened, self._results)

  def run(self) -> None:
    """Lines 1-17 of Algorithm 1."""
    workdir = self._opened.workdir
    with self._opened.metrics:
      self.warm_start()
      for iteration in range(1, self._plan.last + 1):
        self.begin(iteration)
        self.collect(iteration)
        self.train_critic(iteration)
        self.train_actor(iteration)
        self.evaluate(iteration)
    removal.remove_empty(twin.there(workdir / unfinished.DIRECTORY))
    if self._config.sim.task:
      name, prompt = self._experiment.agent.name, self._config.task.prompt
      self._results.report(workdir / 'curves.png', name, prompt, self._plan.appended)
    if self._left.done is not None:
      next_steps.tell(workdir, self._opened.checkpoints.path(self._left.done), self._experiment)

  def warm_start(self) -> None:
    """Line 1: imitates the demonstrations (Eq. 16), and evaluates the result."""
    if self._opened.warms_up:
      updates = self._config.actor.warm_start_updates
      buffer = self._replay(0)
      rows = buffer.starts[buffer.source[buffer.starts] == types.Source.DEMO]
      self._updates.restart_actor(updates, self._config.actor.warm_start_lr)
      phase = phases.Phase('Warm start', 0, 'warm_start', 0)
      equal = weighing.Imitated(rows, np.ones(len(buffer), np.float32))
      self._train_actor(phase, updates, buffer, equal)
    self.evaluate(0)

  def begin(self, iteration: int) -> None:
    """Says what an iteration does that a user has appended, unless it has done it."""
    one, done = self._plan.at(iteration), self._left.done
    if one is None or phases.is_done(done, phases.actor_number(iteration)):
      return
    has_critic = self._learner.networks.critic is not None
    origin = self._plan.origin(done, warms_up=self._opened.warms_up, has_critic=has_critic)
    if origin != done != self._opened.done:  # the weights here are those of the phase before
      raise SystemExit(
        f'{self._opened.workdir} is where it was before iteration {iteration}, which begins from '
        f'checkpoint {origin}: the same command goes on with it.'
      )
    progress.CONSOLE.print(
      self._plan.told(iteration, has_critic=has_critic), highlight=False, soft_wrap=True
    )

  def collect(self, iteration: int) -> None:
    """Line 3: rolls the policy out under a watching human; writes every fragment."""
    if not self._plan.collects(iteration):
      return
    if collection.is_written(self._data.directory(iteration)):
      self._tell_other_policy(iteration)
      return
    key = self._key(Stream.COLLECT, iteration)
    with stopping.saying(_again(f'Collect {iteration}')):
      fingerprint = self._updates.policy_fingerprint()
      collector = self._opened.collector()
      episodes, shares = collector.collect(self._policy(), fingerprint, key, iteration)
      # First, as a run that is stopped in between collects again and comes to the same numbers.
      self._opened.metrics.write(self._updates.count, shares, phase='collect')
      collection.write(self._data.directory(iteration), episodes, self._experiment.world.name)

  def _tell_other_policy(self, iteration: int) -> None:
    """Says where the policy that enters an iteration is not the one that played its rollouts."""
    if phases.is_done(self._left.done, phases.actor_number(iteration)):
      return  # it has moved on
    with config_lib.user_errors():
      played = self._data.policies(iteration)
    directory = self._data.directory(iteration)
    now = self._updates.policy_fingerprint() if played else ''
    told = ''
    if played and played != (now,):
      told = (
        f'{directory} is kept, and was played by another policy ({", ".join(played)}) than the one '
        f'that enters iteration {iteration} ({now}): a checkpoint before it was learnt anew.'
      )
    elif not played and iteration - 1 in self._anew:  # of an older version
      told = (
        f'{directory} is kept, and does not tell which policy played it; the one that enters '
        f'iteration {iteration} was learnt anew, and may be another.'
      )
    if told:
      progress.CONSOLE.print(
        f'Collect {iteration}: {told} An unbroken run learns from rollouts of its own policy; for '
        'that, start another --workdir.',
        highlight=False,
        soft_wrap=True,
      )

  def train_critic(self, iteration: int) -> None:
    """Lines 4-9: N_Q critic updates on everything collected so far."""
    number = phases.critic_number(iteration)
    if self._learner.networks.critic is None or phases.is_done(self._left.done, number):
      return
    config = self._config.critic
    updates = self._plan.updates(iteration, 'critic')
    buffer = self._replay(iteration)
    phase = phases.Phase(f'Critic {iteration}', number, 'critic', iteration)
    if not updates and not self._left.is_begun(number):
      self._skip(phase)
      return
    if self._plan.updates(iteration, 'actor'):
      self._imitated(iteration, buffer)  # told before the critic learns for nothing
    bank = self._draw_bank(iteration, buffer)
    rows = buffer.starts
    if self._is_measured:
      rows = rows[~buffer.held_out[rows]]
    self._tell_absent(phase, buffer, rows)
    self._updates.restart_critic(updates)
    seed = self._seed(Stream.CRITIC_ROWS, iteration)

    def batches(first: int, count: int) -> updates_lib.Drawn:
      action = None if bank is None else bank.action
      images = bank is None and self._experiment.reads_images
      size = config.batch_size
      drawn = buffer.critic_batches(seed, first, count, size, action, rows=rows, images=images)
      return drawn, None

    self._left.critic_learnt = True
    self._left.update(phase, 'critic', updates, batches)

  def train_actor(self, iteration: int) -> None:
    """Lines 10-15: N_pi weighted flow-matching updates."""
    number = phases.actor_number(iteration)
    if phases.is_done(self._left.done, number):
      return
    buffer = self._replay(iteration)
    updates = self._plan.updates(iteration, 'actor')
    phase = phases.Phase(f'Actor {iteration}', number, 'actor', iteration)
    if updates or self._left.is_begun(number):
      rows = self._imitated(iteration, buffer)
      # Of the policy and the critic that enter the phase: a run that resumes inside it has both
      # from the checkpoint before, and comes to the same weights.
      found = self._weigh(iteration, buffer, rows)
      self._tell_absent(phase, buffer, found.rows)
      self._updates.restart_actor(updates, self._config.actor.lr)
      self._left.tagged = found.tags is not None
      self._train_actor(phase, updates, buffer, found)
    else:
      self._skip(phase)
    self._actions.release()

  def evaluate(self, iteration: int) -> None:
    """Success rate and throughput of the policy as it is now, on the scenes of the run's seed."""
    if not self._config.sim.task or iteration in self._results:
      return
    config = self._config.evaluation
    what = f'Evaluate {iteration}'
    with (
      stopping.saying(_again(what)),
      progress.bar(what, config.episodes, 'episodes') as advance,
    ):
      result = evaluation.evaluate(
        self._experiment.world.simulation(self._opened.see),
        self._policy(),
        episodes=config.episodes,
        seed=evaluation.scenes(self._config),
        control_hz=self._config.task.control_hz,
        progress=lambda finished, total, steps: advance(finished, steps=steps),
      )
    low, high = result.interval
    numbers = {
      'success_rate': result.success_rate,
      'low': low,
      'high': high,
      'throughput': result.throughput,
    }
    self._opened.metrics.write(self._updates.count, numbers, phase='evaluate')
    self._results.add(iteration, result)  # last: what is there is not evaluated again
    twin.push()
    self._left.remove_surplus()
    progress.CONSOLE.print(
      f'Evaluate {iteration}: success {100 * result.success_rate:.1f} % '
      f'({100 * low:.1f}-{100 * high:.1f}) over {result.episodes} episodes'
    )

  def _train_actor(
    self,
    phase: phases.Phase,
    updates: int,
    buffer: replay.Replay,
    of: weighing.Imitated,
  ) -> None:
    seed, size = self._seed(Stream.ACTOR_ROWS, phase.iteration), self._config.actor.batch_size

    def batches(first: int, count: int) -> updates_lib.Drawn:
      images = self._experiment.reads_images or self._opened.encoder is None
      told = of.rows, of.weight, of.tags
      return None, buffer.actor_batches(seed, first, count, size, *told, images=images)

    self._left.update(phase, 'actor', updates, batches)

  def _imitated(self, iteration: int, buffer: replay.Replay) -> np.ndarray:
    """Rows [R] of the chunks that the actor learns from; ends the program where there is none."""
    with config_lib.user_errors():
      failures = not self._is_measured
      return imitated.rows(self._learner.agent, buffer, iteration, failures=failures)

  @property
  def _is_measured(self) -> bool:
    """Whether the critic is tested on episodes that are held out from it."""
    return action_critic.is_measured(self._learner.agent, self._config)

  def _weigh(self, iteration: int, buffer: replay.Replay, rows: np.ndarray) -> weighing.Imitated:
    """What the phase learns from, of the chunks at `rows` that the agent imitates."""
    if self._learner.agent.advantage is None:
      return weighing.Imitated(rows, np.ones(len(buffer), np.float32))
    if self._config.actor.weights == 'per_step':
      return weighing.Imitated(rows, None)
    bank, size = self._draw_bank(iteration, buffer), SWEEP_BATCH
    actions: weighing.PolicyActions | None = None
    if bank is not None:
      actions = bank.at
    elif self._learner.agent.samples_policy:
      actions = self._actions.asked(self._plan.bank(iteration), self._policy(), buffer)
      size = self._config.actor.batch_size  # what the actor takes at a time
    what, seed = f'Weights {iteration}', self._seed(Stream.IMITATED, iteration)
    judges = weighing.Judges(self._learner, self._updates.state.critic, buffer, actions, size)
    with stopping.saying(_again(what)):
      found = weighing.weigh(judges, rows, self._config, what, seed)
    # Of the first update that they weigh: a run that resumes before it writes them again.
    self._opened.metrics.write(self._updates.count + 1, found.numbers, phase='weights')
    return found

  def _skip(self, phase: phases.Phase) -> None:
    """Leaves the checkpoint of a phase that learns nothing."""
    one = self._plan.at(phase.iteration)
    if one is None or phase.name in one.learns:
      field = self._plan.field(phase.iteration, phase.name)
      progress.CONSOLE.print(
        f'{phase.what}: skipped, as config.{field} is 0; nothing of it has changed.'
      )
    self._left.save(phase, skipped=one is None or phase.name in one.learns)

  def _draw_bank(self, iteration: int, buffer: replay.Replay) -> action_bank.Bank | None:
    return self._actions.bank(
      iteration,
      self._policy,
      buffer,
      self._data.digest(iteration),
      fingerprint=self._updates.policy_fingerprint,
      drawn_by=self._plan.bank(iteration),
      aside=self._updates.aside,
    )

  def _replay(self, iteration: int) -> replay.Replay:
    """The buffer of an iteration, which its phases share."""
    if self._buffer is not None and self._buffer[0] == iteration:
      return self._buffer[1]
    buffer = self._opened.buffer(iteration)
    with config_lib.user_errors():
      agent, reached = self._experiment.agent, self._opened.return_range
      return_range.check(buffer, agent, reached, return_range.WANTED)
      if iteration and self._experiment.continues_ended:
        buffer.continue_ended()
    self._buffer = iteration, buffer
    return buffer

  def _policy(self) -> policy_lib.Policy:
    """The policy that acts now."""
    state = self._updates.state
    return self._experiment.policy(
      state.acting,
      self._opened.inputs,
      state.critic,
      self._opened.encoder,
      tagged=self._left.tagged,
    )

  def _key(self, stream: Stream, number: int) -> jax.Array:
    return streams.key(self._config.seed, stream, number)

  def _seed(self, stream: Stream, iteration: int) -> int:
    return streams.integer(self._config.seed, stream, 2 * iteration)

  def _tell_absent(self, phase: phases.Phase, buffer: replay.Replay, rows: np.ndarray) -> None:
    """Says where batches hold other shares than were asked for."""
    if told := sampler.tell_absent(rows, buffer.source, self._config.data.ratios):
      progress.CONSOLE.print(f'{phase.what}: {told}', highlight=False, soft_wrap=True)


def _again(what: str) -> str:
  """What a signal says that breaks off something of which nothing is kept."""
  return f'{what} is repeated from its beginning by the same command; all before is kept.'
