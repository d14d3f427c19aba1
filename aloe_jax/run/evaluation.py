"""Success rate and throughput of a policy, as Appendix E defines them."""

import dataclasses

import jax
import ml_collections
import numpy as np

from aloe_jax import metrics
from aloe_jax import types
from aloe_jax.envs import simulation
from aloe_jax.policy import Policy

_FIRST_SCENES = 1_000_000  # those of seed 0; no run has them for its seed by chance
COLUMNS = ('policy', 'success', '95 % interval', 'episodes/h', 'successes/h', 'ends')


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What came of a number of autonomous episodes.

  Attributes:
    episodes: how many.
    ends: {end reason: episodes that ended so}.
    steps: all environment steps, of successes and failures alike.
    control_hz: steps per second of the robot.
  """

  episodes: int
  ends: dict[str, int]
  steps: int
  control_hz: float

  @property
  def successes(self) -> int:
    """Episodes that ended in success."""
    return self.ends.get('success', 0)

  @property
  def success_rate(self) -> float:
    """Successes over episodes."""
    return self.successes / self.episodes

  @property
  def interval(self) -> tuple[float, float]:
    """95 % Wilson interval of the success rate."""
    return metrics.wilson_interval(self.successes, self.episodes)

  @property
  def throughput(self) -> float:
    """Completed episodes (success, failure or timeout) per hour of robot time, resets excluded."""
    return self.episodes / (self.steps / self.control_hz / 3600)

  @property
  def successes_per_hour(self) -> float:
    """Successful episodes per hour of robot time, resets excluded."""
    return self.successes / (self.steps / self.control_hz / 3600)

  def summary(self) -> dict:
    """Everything, for JSON."""
    low, high = self.interval
    return dataclasses.asdict(self) | {
      'successes': self.successes,
      'success_rate': self.success_rate,
      'low': low,
      'high': high,
      'throughput': self.throughput,
      'successes_per_hour': self.successes_per_hour,
    }

  def cells(self) -> list[str]:
    """A table's row under `COLUMNS`, after the policy's name."""
    low, high = self.interval
    return [
      f'{100 * self.success_rate:.1f} %',
      f'{100 * low:.1f}-{100 * high:.1f} %',
      f'{self.throughput:.0f}',
      f'{self.successes_per_hour:.0f}',
      ', '.join(f'{reason} {count}' for reason, count in sorted(self.ends.items())),
    ]


def scenes(config: ml_collections.ConfigDict) -> int:
  """The seed of a run's evaluations, 0 to 2^31 - 1.

  All iterations of a run have the same one, and all methods that `config.seed` is the same of, so
  that they are compared in the same scenes. Other seeds have others, so that what is averaged over
  seeds is averaged over scenes too.
  """
  given = config.evaluation.seed
  return given if given >= 0 else (_FIRST_SCENES + config.seed) % 2**31


def evaluate(
  unwatched: simulation.Simulation,
  policy: Policy,
  *,
  episodes: int,
  seed: int,
  control_hz: float,
  progress: simulation.Progress,
) -> Evaluation:
  """Runs a policy alone; the same seed gives every policy the same scenes.

  Args:
    unwatched: environments with nobody beside them.
    policy: to be evaluated.
    episodes: how many, all side by side.
    seed: of scenes, motion noise and the policy's own noise.
    control_hz: steps per second of the robot.
    progress: told now and then.
  """
  trajectories = unwatched.run(
    policy, key=jax.random.key(seed), episodes=episodes, progress=progress
  )
  reasons, counts = np.unique(trajectories.first_end, return_counts=True)
  ends = {types.EndReason(r).name.lower(): int(c) for r, c in zip(reasons, counts, strict=True)}
  return Evaluation(episodes, ends, int(trajectories.lengths.sum()), control_hz)
