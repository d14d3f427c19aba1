"""Filtered behaviour cloning: what humans did, and the rollouts that succeeded, all alike.

The control for every method with a critic: it sees how an episode ended, and nothing else.
"""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent


def imitates(source: np.ndarray, succeeded: np.ndarray) -> np.ndarray:
  """Demonstrations, human fragments, and the policy's fragments that ended in success."""
  return (source != types.Source.POLICY) | succeeded


AGENT = agent.Agent('filtered_bc', imitates)
