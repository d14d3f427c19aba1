"""Filtered behaviour cloning that filters the policy alone: of its rollouts, those that succeeded.

Whatever a human did is kept, at take-overs that failed too.
"""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent


def imitates(source: np.ndarray, succeeded: np.ndarray) -> np.ndarray:
  """Demonstrations, human fragments, and the policy's fragments that ended in success."""
  return (source != types.Source.POLICY) | succeeded


AGENT = agent.Agent('filtered_policy_bc', imitates)
