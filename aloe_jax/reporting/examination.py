"""Episodes that a critic was not trained on, and what it says of them."""

from collections.abc import Collection, Sequence
import contextlib
import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np

from aloe_jax import config as config_lib
from aloe_jax import estimates
from aloe_jax import policy as policy_lib
from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.agents import action_critic
from aloe_jax.agents import agent as agent_lib
from aloe_jax.data import replay
from aloe_jax.data import rlds
from aloe_jax.data import steps as steps_lib
from aloe_jax.learning import action_bank
from aloe_jax.learning import chunk_weights
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning import measured_weights
from aloe_jax.reporting import alarm
from aloe_jax.reporting import ended
from aloe_jax.reporting import judgement
from aloe_jax.reporting import numbers as report_numbers
from aloe_jax.reporting import slopes
from aloe_jax.run import collection
from aloe_jax.run import datasets as datasets_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import imitated
from aloe_jax.run import restored
from aloe_jax.run import streams
from aloe_jax.run import weighing
from aloe_jax.run.streams import Stream

BATCH = 256  # chunks or states per call


@dataclasses.dataclass(frozen=True)
class Material:
  """What a critic is examined on.

  Attributes:
    found: the critic's checkpoint, whose actor is the policy that it judges.
    learner: of that critic.
    steps: of the episodes.
    buffer: of the same, ended chunks continued.
    starts: rows of all chunks of the episodes that are judged whose features are at hand.
    rows: [R] of those, the chunks that are judged.
    actions: [S, M, h, A] of the policy at `judgement.states(buffer, rows)`; None for a critic of
      states.
    execute: e, steps after which the policy plans anew.
    contents: digests of the datasets that the episodes are of.
    held_out: whether none of the episodes was trained on.
    is_measured: whether chunks weigh as far as the critic is found right.
  """

  found: restored.Restored
  learner: learner_lib.Learner
  steps: steps_lib.Steps
  buffer: replay.Replay
  starts: np.ndarray
  rows: np.ndarray
  actions: np.ndarray | None
  execute: int
  contents: str
  held_out: bool
  is_measured: bool

  def episode(self, rows: np.ndarray) -> np.ndarray:
    """[B] int, that rows [B] lie in."""
    return np.cumsum(self.steps.is_first)[rows] - 1

  def samples(self, rows: np.ndarray) -> np.ndarray:
    """Chunks [B, M, h, A] of the policy at each of some rows [B] that are judged."""
    assert self.actions is not None
    return self.actions[np.searchsorted(judgement.states(self.buffer, self.rows), rows)]

  def plan(self, rows: np.ndarray) -> np.ndarray:
    """A chunk [B, h, A] of the policy at each of some rows [B] that are judged."""
    return self.samples(rows)[:, 0]

  def judge(
    self, learner: learner_lib.Learner, critic_params: Any, what: str = 'Judge'
  ) -> judgement.Judgement:
    """Has a critic of the same shape judge the chunks."""
    total = len(self.rows) + (0 if self.actions is None else len(self.actions))
    with progress.bar(what, total, 'chunks') as advance:
      return judgement.judge(
        learner,
        critic_params,
        self.buffer,
        self.rows,
        self.actions,
        batch_size=BATCH,
        progress=advance,
      )

  def ended_auroc(self, settings: agent_lib.Settings) -> estimates.Estimate:
    """Whether ended chunks show their end to a critic of some settings."""
    rows = self.rows if settings.past_end == 'policy' else self.starts
    return ended.auroc(self.buffer, settings, rows, self.episode(rows), self.plan)


@dataclasses.dataclass(frozen=True)
class Examined:
  """A critic beside episodes.

  Attributes:
    judged: R chunks of the episodes.
    episode: [R] that each chunk lies in.
    steps: of the episodes.
    weights: that their chunks get.
    numbers: of the card.
    held_out: whether none of the episodes was trained on.
  """

  judged: judgement.Judgement
  episode: np.ndarray
  steps: steps_lib.Steps
  weights: chunk_weights.Weights
  numbers: dict[str, estimates.Estimate]
  held_out: bool

  @property
  def episodes(self) -> int:
    """How many of them."""
    return int(np.unique(self.episode).size)


def play(
  experiment: experiment_lib.Experiment,
  found: restored.Restored,
  parent: pathlib.Path,
  *,
  iteration: int,
  count: int,
) -> pathlib.Path:
  """Writes fresh episodes of the policy that a critic judges, a human watching, unless there.

  Those of another policy, which had the checkpoint before, or of another task, lie elsewhere.

  Args:
    experiment: with a simulator.
    found: the critic's checkpoint, whose actor is the policy that it judges.
    parent: of the directory of the episodes.
    iteration: of the critic; with `config.seed` it makes all randomness.
    count: episodes.

  Returns:
    The directory.
  """
  fingerprint = policy_lib.fingerprint(found.policy.params)
  of = f'{fingerprint} {experiment.config.sim.task}'
  name = f'iteration_{iteration}-{count}-{hashlib.sha256(of.encode()).hexdigest()[:8]}'
  directory = parent / name
  if directory.exists():
    return directory
  key = streams.key(experiment.config.seed, Stream.HELD_OUT, iteration)
  collector = collection.Collector(experiment, experiment.world.see(found.encoder))
  episodes, _ = collector.collect(found.policy, fingerprint, key, iteration, count)
  with contextlib.suppress(FileExistsError):  # of another report, which came to the same
    rlds.write(directory, episodes, name=experiment.world.name)
  return directory


def gather(
  experiment: experiment_lib.Experiment,
  found: restored.Restored,
  datasets: datasets_lib.Datasets,
  directories: Sequence[pathlib.Path],
  *,
  trained_on: Collection[str],
  count: int,
  cache: pathlib.Path,
) -> Material:
  """Reads episodes, and asks the policy what it would do there.

  Args:
    experiment: of the run.
    found: the critic's checkpoint.
    datasets: that open directories.
    directories: of the episodes.
    trained_on: digests of the datasets that the critic was trained on.
    count: at most so many episodes, evenly spaced, are judged.
    cache: directory for what the policy samples.

  Raises:
    FileNotFoundError: naming a directory that is missing.
    ValueError: naming what a directory lacks.
  """
  steps = datasets.read(directories, sparsely=True)
  contents = [datasets.content(directory) for directory in directories]
  chunking = experiment.chunking(found.meta['fail_cost'])
  chunking = dataclasses.replace(chunking, failures=True)  # even if none was learnt from
  buffer = replay.Replay(steps, found.inputs, chunking)
  kept = found.meta.get('return_range', rewards.RETURN_RANGE)
  learner = experiment.learner(chunking.reward_scale, tuple(kept), found.inputs)
  episode = np.cumsum(steps.is_first) - 1
  chosen = np.linspace(0, episode[-1], min(count, episode[-1] + 1)).round()
  rows = judgement.planned(buffer, experiment.config.task.execute)
  rows, starts = (x[np.isin(episode[x], chosen)] for x in (rows, buffer.starts))
  sampled, actions = learner.agent.samples_policy, None
  datasets.encode_rows(directories, judgement.states(buffer, rows) if sampled else rows)
  if sampled:
    actions = sample(experiment, found, found.policy, buffer, rows, ' '.join(contents), cache)
  if experiment.continues_ended:
    with config_lib.user_errors():
      # Where pictures have to be encoded, features are there of the rows that are judged alone.
      buffer.continue_ended(None if experiment.encoder is None else rows)
  return Material(
    found=found,
    learner=learner,
    steps=steps,
    buffer=buffer,
    starts=starts if experiment.encoder is None else rows,
    rows=rows,
    actions=actions,
    execute=experiment.config.task.execute,
    contents=' '.join(contents),
    held_out=not set(contents) & set(trained_on),
    is_measured=action_critic.is_measured(learner.agent, experiment.config),
  )


def examine(material: Material) -> Examined:
  """Has a critic judge episodes."""
  learner, buffer, rows = material.learner, material.buffer, material.rows
  chunking, episode = buffer.chunking, material.episode(rows)
  judged = material.judge(learner, material.found.critic)
  weights = _measured(material) if material.is_measured else _weighed(material, judged)
  numbers = report_numbers.measure(
    judged, episode, horizon=chunking.critic_horizon, discount=chunking.discount
  )
  numbers |= alarm.measure(judged, episode)
  if material.actions is not None:
    numbers |= slopes.measure(
      judged,
      episode,
      horizon=chunking.horizon,
      execute=material.execute,
      discount=chunking.discount,
    )
    numbers['ended_auroc'] = material.ended_auroc(learner.settings)
  told = chunk_weights.diagnostics(weights, buffer, learner.settings)
  numbers |= report_numbers.of_weights(told, weights.weight[rows], judged.source)
  return Examined(judged, episode, material.steps, weights, numbers, material.held_out)


def _weighed(material: Material, judged: judgement.Judgement) -> chunk_weights.Weights:
  """Weights or tags of the chunks that are judged, by an agent's own rule."""
  buffer, rows = material.buffer, material.rows
  advantage = np.zeros(len(buffer), np.float32)
  advantage[rows] = judged.advantage * buffer.chunking.reward_scale
  return chunk_weights.weigh(material.learner, buffer, rows, advantage)


def _measured(material: Material) -> chunk_weights.Weights:
  """Weights of the chunks that would be imitated, as far as the critic is right about them all."""
  buffer, rows = material.buffer, material.rows
  judged = measured_weights.judge(
    material.learner,
    material.found.critic,
    buffer,
    rows,
    material.samples,
    batch_size=BATCH,
    progress=lambda done: None,
  )
  own = rows[buffer.source[rows] == types.Source.POLICY]
  trust = weighing.measure(judged.at(own), buffer, material.execute)
  kept = imitated.without_failures(buffer, rows)
  risen = imitated.without_idle(buffer, kept, judged.at(kept).v)
  kept = next(x for x in (risen, kept, rows) if len(x))  # where all failed, how all would weigh
  settings = material.learner.settings
  return measured_weights.weigh(judged.at(kept), settings, trust.value, len(buffer))


def sample(
  experiment: experiment_lib.Experiment,
  found: restored.Restored,
  policy: policy_lib.Policy,
  buffer: replay.Replay,
  rows: np.ndarray,
  data: str,
  cache: pathlib.Path,
) -> np.ndarray:
  """What a policy does where a critic of actions needs it, every policy by the same noise.

  Args:
    experiment: of the run.
    found: the critic's checkpoint.
    policy: asked.
    buffer: of the episodes.
    rows: [R] of the chunks that are judged.
    data: digests of the episodes.
    cache: directory for what is sampled.

  Returns:
    [S, M, h, A] at `judgement.states(buffer, rows)`.
  """
  asked = judgement.states(buffer, rows)
  config = experiment.config
  seed = streams.integer(config.seed, Stream.REPORT_SAMPLES, found.meta['iteration'])
  samples = config.actor.samples
  key = action_bank.make_key(policy, seed=seed, samples=samples, rows=len(asked), data=data)

  def observation(index: np.ndarray) -> types.Observation:
    return buffer.observation(asked[index], images=experiment.reads_images)

  with progress.bar('Sample', len(asked), 'states') as advance:
    bank = action_bank.draw(
      policy,
      observation,
      key,
      cache,
      layout=experiment.layout,
      batch_size=config.actor.batch_size,
      progress=advance,
    )
  return bank.action
