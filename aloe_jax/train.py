"""Algorithm 1, from demonstrations to an evaluated policy, phase by phase.

  python -m aloe_jax.train --config=experiments/laundry.py:sim --workdir=runs/laundry

Each phase leaves something whole on disk: a directory of episodes, a checkpoint, an evaluation.
The same command goes on after the last of them, wherever it was stopped.
"""

from collections.abc import Callable, Sequence
import json
import pathlib
from typing import Any

import jax
import numpy as np

from aloe_jax import command_line
from aloe_jax import config as config_lib
from aloe_jax import metrics as metrics_lib
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.data import rlds
from aloe_jax.data import statistics
from aloe_jax.data import steps as steps_lib
from aloe_jax.data import tags as tags_lib
from aloe_jax.learning import action_bank
from aloe_jax.learning import chunk_weights
from aloe_jax.preprocessing import normalize
from aloe_jax.run import checkpoints
from aloe_jax.run import collected
from aloe_jax.run import collection
from aloe_jax.run import datasets
from aloe_jax.run import evaluation
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import kept
from aloe_jax.run import next_steps
from aloe_jax.run import policy_actions
from aloe_jax.run import requirements
from aloe_jax.run import results
from aloe_jax.run import return_range
from aloe_jax.run import starting_point
from aloe_jax.run import streams
from aloe_jax.run import updates as updates_lib
from aloe_jax.run.streams import Stream

SWEEP_BATCH = 1024  # chunks per call of the sweep that weighs them


class Run:
  """One run of Algorithm 1 in one working directory.

  Args:
    experiment: what to run.
    workdir: of the run; new, or of the same experiment, to go on with.
  """

  def __init__(self, experiment: experiment_lib.Experiment, workdir: pathlib.Path):
    self._experiment = experiment
    self._config = experiment.config
    self._workdir = workdir
    self._checkpoints = checkpoints.Checkpoints(workdir / 'checkpoints')
    self._results = results.Results(workdir / 'evaluations.json')
    self._actions = policy_actions.PolicyActions(experiment, workdir)

  def run(self) -> None:
    """Lines 1-17 of Algorithm 1."""
    self.begin()
    if self._config.sim.task:
      self.demonstrate()
    self.open()
    with self._metrics:
      self.warm_start()
      for iteration in range(1, self._iterations + 1):
        self.collect(iteration)
        self.train_critic(iteration)
        self.train_actor(iteration)
        self.evaluate(iteration)
    if self._config.sim.task:
      name, prompt = self._experiment.agent.name, self._config.task.prompt
      self._results.report(self._workdir / 'curves.png', name, prompt)
    elif self._done is not None:
      next_steps.tell(self._workdir, self._checkpoints.path(self._done), self._experiment)

  def begin(self) -> None:
    """Finds what to start from, the actor and the frozen encoder; reads the data given.

    What can be wrong is looked at in the order of what it costs.
    """
    experiment = self._experiment
    self._done = self._checkpoints.latest()
    with config_lib.user_errors():
      self._start = starting_point.find(self._config.actor.checkpoint)
      if self._done is not None:
        self._start = starting_point.Start('run', str(self._checkpoints.path(self._done)))
      starting_point.check(self._start, experiment)
      self._stats: dict[str, normalize.Stats] | None = None
      if self._config.data.normalization != 'none':
        self._stats = starting_point.stats(self._start, experiment)
      self._inputs = experiment.inputs(self._stats)
      self._tagged = starting_point.tagged(self._start)  # whether the actor was taught tags
      self._critic_learnt = starting_point.critic_learnt(self._start)  # anything at all
      self._actor: Any = None  # parameters to start from; None where a whole state is
      if self._start.kind != 'run':
        self._actor = starting_point.actor_params(self._start, experiment)
      self._encoder = starting_point.encoder_params(self._start, experiment, self._actor)
      self._see = experiment.world.see(self._encoder)
      self._collector = collection.Collector(experiment, self._see)
      self._data = collected.RunData(experiment, self._encoder, self._workdir)
      self._data.open_given()

  def open(self) -> None:
    """Reads what there is on disk: data, its statistics, and the state to go on from."""
    experiment = self._experiment
    with config_lib.user_errors():
      self._data.check()
      steps = self._data.read(0)
      self._fail_cost = datasets.cost_of_failure(self._config, steps)
      if self._stats is None and self._config.data.normalization != 'none':
        self._stats = self._compute_stats(steps)
        self._inputs = experiment.inputs(self._stats)
      # Building the buffer checks the data before anything is written.
      buffer = replay.Replay(steps, self._inputs, self._chunking())
      if self._warms_up and not (buffer.source[buffer.starts] == types.Source.DEMO).any():
        raise ValueError(
          'there is no demonstration in the episodes, which the actor imitates first; give some, '
          'or --config.actor.warm_start_updates=0 for a checkpoint that has done so.'
        )
      self._return_range = return_range.find(
        buffer,
        experiment.agent,
        starting_point.return_range(self._start),
        learns=self._critic_learns,
      )
    self._learner = experiment.learner(self._chunking().reward_scale, self._return_range)
    example = buffer.actor_batch(buffer.starts[:1], images=experiment.reads_images)

    def create(actor=None):
      return self._learner.init(self._config.seed, example, actor)

    if self._start.kind == 'run':
      with config_lib.user_errors():
        like = experiment.layout.shapes(create)
        path = pathlib.Path(self._start.path)
        state = checkpoints.restore(path, like, experiment.architecture())
    else:
      state = experiment.layout.create(create, self._actor)
      self._actor = None
    if self._start.kind == 'run':
      progress.CONSOLE.print(f'Going on from {self._start.path}, after {int(state.step)} updates.')
    elif self._start.path:
      progress.CONSOLE.print(f'Starting from the weights of {self._start.path}.')
    self._keep_config()
    resume_step = None if self._done is None else int(state.step) + 1
    self._metrics = metrics_lib.MetricsWriter(
      self._workdir / 'metrics',
      resume_step=resume_step,
      wandb_name=self._workdir.resolve().name if self._config.train.wandb else '',
    )
    self._updates = updates_lib.Updates(
      experiment, self._learner, state, self._metrics, self._checkpoints
    )

  def demonstrate(self) -> None:
    """Has the human demonstrate until enough episodes succeed; keeps those."""
    directory = self._data.directory(0)
    if directory.exists() or not self._config.task.demonstrations:
      return
    with config_lib.user_errors():
      episodes = self._collector.demonstrate(
        lambda number: self._key(Stream.DEMONSTRATIONS, number)
      )
    self._keep_config()
    rlds.write(directory, episodes, name=self._experiment.world.name)

  def warm_start(self) -> None:
    """Line 1: imitates the demonstrations (Eq. 16), and evaluates the result."""
    if self._warms_up:
      updates = self._config.actor.warm_start_updates
      buffer = self._replay(0)
      rows = buffer.starts[buffer.source[buffer.starts] == types.Source.DEMO]
      self._updates.restart_actor(updates, self._config.actor.warm_start_lr)
      ones = np.ones(len(buffer), np.float32)
      self._train_actor('Warm start', 0, updates, buffer, rows, ones)
      self._save(0, 'warm_start', 0)
    self.evaluate(0)

  def collect(self, iteration: int) -> None:
    """Line 3: rolls the policy out under a watching human; writes every fragment."""
    if not self._config.sim.task or self._data.directory(iteration).exists():
      return
    key = self._key(Stream.COLLECT, iteration)
    episodes, shares = self._collector.collect(self._policy(), key, iteration)
    rlds.write(self._data.directory(iteration), episodes, name=self._experiment.world.name)
    self._metrics.write(self._updates.count, shares, phase='collect')

  def train_critic(self, iteration: int) -> None:
    """Lines 4-9: N_Q critic updates on everything collected so far."""
    number = 2 * iteration - 1
    if self._learner.networks.critic is None or self._is_done(number):
      return
    config = self._config.critic
    updates = self._critic_updates(iteration)
    buffer = self._replay(iteration)
    if not updates:
      field = 'first_updates' if iteration == 1 else 'updates'
      self._tell_skipped(f'Critic {iteration}', f'critic.{field}')
      self._save(number, 'critic', iteration)
      return
    bank = self._draw_bank(iteration, buffer)
    self._updates.restart_critic(updates)
    seed = self._seed(Stream.CRITIC_ROWS, iteration)

    def batches(first: int, count: int):
      action = None if bank is None else bank.action
      images = bank is None and self._experiment.reads_images
      size = config.batch_size
      return buffer.critic_batches(seed, first, count, size, action, images=images), None

    self._updates.run(f'Critic {iteration}', 'critic', updates, batches)
    self._critic_learnt = True
    self._save(number, 'critic', iteration)

  def train_actor(self, iteration: int) -> None:
    """Lines 10-15: N_pi weighted flow-matching updates."""
    number = 2 * iteration
    if self._is_done(number):
      return
    buffer = self._replay(iteration)
    updates = self._config.actor.updates
    if updates:
      agent, starts = self._learner.agent, buffer.starts
      rows = starts[agent.imitates(buffer.source[starts], buffer.succeeded[starts])]
      weight, tags = self._weigh(iteration, buffer, rows)
      self._updates.restart_actor(updates, self._config.actor.lr)
      self._train_actor(f'Actor {iteration}', iteration, updates, buffer, rows, weight, tags)
      self._tagged = tags is not None
    else:
      self._tell_skipped(f'Actor {iteration}', 'actor.updates')
    self._save(number, 'actor', iteration)
    self._actions.forget()

  def evaluate(self, iteration: int) -> None:
    """Success rate and throughput of the policy as it is now, on the same scenes every time."""
    if not self._config.sim.task or iteration in self._results:
      return
    config = self._config.evaluation
    with progress.bar(f'Evaluate {iteration}', config.episodes, 'episodes') as advance:
      result = evaluation.evaluate(
        self._experiment.world.simulation(self._see),
        self._policy(),
        episodes=config.episodes,
        seed=config.seed,
        control_hz=self._config.task.control_hz,
        progress=lambda finished, total, steps: advance(finished, steps=steps),
      )
    self._results.add(iteration, result)
    low, high = result.interval
    numbers = {
      'success_rate': result.success_rate,
      'low': low,
      'high': high,
      'throughput': result.throughput,
    }
    self._metrics.write(self._updates.count, numbers, phase='evaluate')
    progress.CONSOLE.print(
      f'Evaluate {iteration}: success {100 * result.success_rate:.1f} % '
      f'({100 * low:.1f}-{100 * high:.1f}) over {result.episodes} episodes'
    )

  @property
  def _warms_up(self) -> bool:
    """Whether there is imitation to be done: a checkpoint of ours has done it."""
    return not self._start.is_own and self._config.actor.warm_start_updates > 0

  @property
  def _iterations(self) -> int:
    iterations = self._config.iterations
    return iterations if self._config.sim.task else min(iterations, 1)

  def _train_actor(self, what, iteration, updates, buffer, rows, weight, tags=None) -> None:
    seed, size = self._seed(Stream.ACTOR_ROWS, iteration), self._config.actor.batch_size

    def batches(first: int, count: int):
      images = self._experiment.reads_images
      drawn = buffer.actor_batches(seed, first, count, size, rows, weight, tags, images=images)
      return None, drawn

    self._updates.run(what, 'actor', updates, batches)

  def _weigh(
    self, iteration: int, buffer: replay.Replay, rows: np.ndarray
  ) -> tuple[np.ndarray | None, tags_lib.Tags | None]:
    """Weights [N] of the chunks at `rows`, or None for those of every step; and their tags."""
    if self._learner.agent.advantage is None:
      return np.ones(len(buffer), np.float32), None
    if self._config.actor.weights == 'per_step':
      return None, None
    bank, size = self._draw_bank(iteration, buffer), SWEEP_BATCH
    actions: Callable[[np.ndarray], np.ndarray] | None = None
    if bank is not None:
      actions = bank.at
    elif self._learner.agent.samples_policy:
      actions = self._actions.asked(iteration, self._policy(), buffer)
      size = self._config.actor.batch_size  # what the actor takes at a time
    with progress.bar(f'Weights {iteration}', len(rows), 'chunks') as advance:
      weights = chunk_weights.sweep(
        self._learner,
        self._updates.state.critic,
        buffer,
        rows,
        actions,
        batch_size=size,
        progress=advance,
      )
    numbers = chunk_weights.diagnostics(weights, buffer, self._learner.settings)
    # Of the first update that they weigh: a run that resumes before it writes them again.
    self._metrics.write(self._updates.count + 1, numbers, phase='weights')
    tags = None if weights.tag is None else tags_lib.Tags(weights.tag, self._config.recap.drop)
    return weights.weight, tags

  def _critic_updates(self, iteration: int) -> int:
    """N_Q of an iteration."""
    config = self._config.critic
    return config.first_updates if iteration == 1 else config.updates

  def _tell_skipped(self, what: str, field: str) -> None:
    progress.CONSOLE.print(f'{what}: skipped, as config.{field} is 0; nothing of it has changed.')

  @property
  def _critic_learns(self) -> bool:
    """Whether critic updates come before the critic is asked again, if it ever is."""
    iteration = (self._done or 0) // 2 + 1
    over, critic_done = iteration > self._iterations, self._is_done(2 * iteration - 1)
    return over or not (critic_done or self._critic_updates(iteration) == 0)

  def _draw_bank(self, iteration: int, buffer: replay.Replay) -> action_bank.Bank | None:
    return self._actions.bank(
      iteration,
      self._policy(),
      buffer,
      self._data.digest,
      fingerprint=self._updates.policy_fingerprint,
    )

  def _replay(self, iteration: int) -> replay.Replay:
    buffer = self._data.replay(iteration, self._inputs, self._chunking())
    with config_lib.user_errors():
      wanted = 'episodes to begin with, config.data.episodes, that hold the highest and lowest'
      return_range.check(buffer, self._experiment.agent, self._return_range, wanted)
    return buffer

  def _compute_stats(self, steps: steps_lib.Steps) -> dict[str, normalize.Stats]:
    """What states and actions are normalised by, where nothing that a run starts from says it."""
    with progress.bar('Statistics', len(steps), 'steps') as advance:
      return statistics.compute(steps, self._inputs, self._chunking(), progress=advance)

  def _policy(self) -> policy_lib.Policy:
    """The policy that acts now."""
    state = self._updates.state
    return self._experiment.policy(
      state.actor_ema, self._inputs, state.critic, self._encoder, tagged=self._tagged
    )

  def _chunking(self) -> replay.Chunking:
    return self._experiment.chunking(self._fail_cost)

  def _keep_config(self) -> None:
    config_lib.keep(self._config, self._workdir / 'config.json')

  def _is_done(self, number: int) -> bool:
    return self._done is not None and number <= self._done

  def _save(self, number: int, phase: str, iteration: int) -> None:
    meta = {
      'phase': phase,
      'iteration': iteration,
      'agent': self._experiment.agent.name,
      'tagged': self._tagged,
      'critic_learnt': self._critic_learnt,
      'fail_cost': self._fail_cost,
      'return_range': self._return_range,
      'architecture': self._experiment.architecture(),
      **({} if self._stats is None else normalize.to_json(self._stats)),
      'config': json.loads(self._config.to_json()),
    }
    self._checkpoints.save(number, self._updates.state, self._encoder, meta)
    self._done = number

  def _key(self, stream: Stream, number: int) -> jax.Array:
    return streams.key(self._config.seed, stream, number)

  def _seed(self, stream: Stream, iteration: int) -> int:
    return streams.integer(self._config.seed, stream, 2 * iteration)


def main(argv: Sequence[str] | None = None) -> None:
  """Runs or goes on with the experiment of a command line, by default the program's."""
  given = command_line.parse(command_line.parser('aloe_jax.train', __doc__), argv)
  config = kept.config(given, 'train')
  with config_lib.user_errors():
    requirements.check(config, given.workdir)
    experiment = experiment_lib.Experiment(config)
    experiment.inputs(None)  # builds the tokenizer
    starting_point.check(starting_point.find(config.actor.checkpoint), experiment)
  Run(experiment, given.workdir).run()


if __name__ == '__main__':
  command_line.run(main)
