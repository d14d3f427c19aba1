"""HG-DAgger: behaviour cloning on demonstrations and on what the human did at take-overs."""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent


def imitates(source: np.ndarray, succeeded: np.ndarray) -> np.ndarray:
  """Demonstrations and human fragments."""
  del succeeded
  return np.isin(source, [types.Source.DEMO, types.Source.HUMAN])


AGENT = agent.Agent('dagger', imitates)
