"""What training asks of any simulator, and what comes back: episodes played under some policy.

Legend of shapes: E environments, T recorded steps, A action width, V views, F feature width.
"""

from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax
import numpy as np

from aloe_jax import types
from aloe_jax.policy import Policy

See = Callable[[Any], types.Sight]  # of one state of a simulator


@flax.struct.dataclass
class Trajectories:
  """What happened, as NumPy arrays; T steps of which each environment used the first few.

  Attributes:
    state: [E, T, n], of the robot, in its own units.
    features: [E, T, V, F], or None where the policy reads images.
    action: [E, T, A].
    source: [E, T] int8, `types.Source`.
    end_reason: [E, T] int8, `types.EndReason`.
    active: [E, T] bool, False once an environment has finished.
    simulator_state: leaves [E, T, ...], to draw images from; None where there are none.
  """

  state: np.ndarray
  features: np.ndarray | None
  action: np.ndarray
  source: np.ndarray
  end_reason: np.ndarray
  active: np.ndarray
  simulator_state: Any

  @property
  def lengths(self) -> np.ndarray:
    """[E] steps of each episode, all its fragments together."""
    return self.active.sum(axis=1)

  @property
  def first_end(self) -> np.ndarray:
    """[E] `types.EndReason` of each episode's first fragment: the policy's own outcome."""
    first = np.argmax(self.end_reason != types.EndReason.NONE, axis=1)
    return np.take_along_axis(self.end_reason, first[:, None], axis=1)[:, 0]


class Progress(Protocol):
  """Told now and then: environments finished, out of how many, and steps so far."""

  def __call__(self, finished: int, total: int, steps: int) -> None: ...


def untold(finished: int, total: int, steps: int) -> None:
  """The `Progress` of who does not wait for it."""


class Simulation(Protocol):
  """Environments, with nobody, a watching or a demonstrating human beside them."""

  def run(
    self, policy: Policy | None, *, key: jax.Array, episodes: int, progress: Progress = untold
  ) -> Trajectories:
    """Runs each of E environments for one episode.

    Args:
      policy: who acts; None where the human demonstrates.
      key: all randomness. Equal keys give equal scenes and people, whatever the policy.
      episodes: E.
      progress: told now and then.
    """
