"""Episodes that a critic was not trained on, and what it says of them."""

from collections.abc import Collection, Sequence
import dataclasses
import pathlib

import numpy as np

from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import replay
from aloe_jax.data import rlds
from aloe_jax.data import steps as steps_lib
from aloe_jax.learning import action_bank
from aloe_jax.learning import chunk_weights
from aloe_jax.reporting import estimates
from aloe_jax.reporting import judgement
from aloe_jax.reporting import numbers as report_numbers
from aloe_jax.run import collection
from aloe_jax.run import datasets as datasets_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import restored
from aloe_jax.run import streams
from aloe_jax.run.streams import Stream

BATCH = 256  # chunks or states per call


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
  directory: pathlib.Path,
  *,
  iteration: int,
  count: int,
) -> None:
  """Writes fresh episodes of the policy that a critic judges, a human watching, unless there.

  Args:
    experiment: with a simulator.
    found: the critic's checkpoint, whose actor is the policy that it judges.
    directory: of the episodes.
    iteration: of the critic; with `config.seed` it makes all randomness.
    count: episodes.
  """
  if directory.exists():
    return
  key = streams.key(experiment.config.seed, Stream.HELD_OUT, iteration)
  collector = collection.Collector(experiment, experiment.world.see(found.encoder))
  episodes, _ = collector.collect(found.policy, key, iteration, count)
  rlds.write(directory, episodes, name=experiment.world.name)


def examine(
  experiment: experiment_lib.Experiment,
  found: restored.Restored,
  datasets: datasets_lib.Datasets,
  directories: Sequence[pathlib.Path],
  *,
  trained_on: Collection[str],
  count: int,
  cache: pathlib.Path,
) -> Examined:
  """Has a critic judge episodes.

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
  execute = experiment.config.task.execute
  rows = judgement.planned(buffer, execute)
  rows = rows[np.isin(episode[rows], chosen)]
  sampled, actions = learner.agent.samples_policy, None
  datasets.encode_rows(directories, judgement.states(buffer, rows) if sampled else rows)
  if sampled:
    actions = _sample(experiment, found, buffer, rows, ' '.join(contents), cache)
  if experiment.continues_ended:
    buffer.continue_ended(rows)
  total = len(rows) + (0 if actions is None else len(actions))
  with progress.bar('Judge', total, 'chunks') as advance:
    judged = judgement.judge(
      learner, found.critic, buffer, rows, actions, batch_size=BATCH, progress=advance
    )
  advantage = np.zeros(len(buffer), np.float32)
  advantage[rows] = judged.advantage * chunking.reward_scale
  weights = chunk_weights.weigh(learner, buffer, rows, advantage)
  numbers = report_numbers.measure(
    judged, episode[rows], horizon=chunking.critic_horizon, discount=chunking.discount
  )
  if actions is not None and actions.shape[1] > 1 and execute < chunking.critic_horizon:
    apart = judgement.departures(buffer, rows, actions, execute)
    numbers |= report_numbers.replanning(judged, episode[rows], *apart)
  told = chunk_weights.diagnostics(weights, buffer, learner.settings)
  numbers |= report_numbers.of_weights(told, weights.weight[rows], judged.source)
  held_out = not set(contents) & set(trained_on)
  return Examined(judged, episode[rows], steps, weights, numbers, held_out)


def _sample(
  experiment: experiment_lib.Experiment,
  found: restored.Restored,
  buffer: replay.Replay,
  rows: np.ndarray,
  data: str,
  cache: pathlib.Path,
) -> np.ndarray:
  """Actions [S, M, h, A] of the policy where a critic of actions needs them."""
  asked = judgement.states(buffer, rows)
  config = experiment.config
  seed = streams.integer(config.seed, Stream.REPORT_SAMPLES, found.meta['iteration'])
  samples = config.actor.samples
  key = action_bank.make_key(found.policy, seed=seed, samples=samples, rows=len(asked), data=data)

  def observation(index: np.ndarray) -> types.Observation:
    return buffer.observation(asked[index], images=experiment.reads_images)

  with progress.bar('Sample', len(asked), 'states') as advance:
    bank = action_bank.draw(
      found.policy,
      observation,
      key,
      cache,
      layout=experiment.layout,
      batch_size=config.actor.batch_size,
      progress=advance,
    )
  return bank.action
