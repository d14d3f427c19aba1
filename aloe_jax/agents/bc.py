"""Behaviour cloning (Eq. 16) on the demonstrations."""

import numpy as np

from aloe_jax import types
from aloe_jax.agents import agent


def imitates(source: np.ndarray, succeeded: np.ndarray) -> np.ndarray:
  """Demonstrations only."""
  del succeeded
  return source == types.Source.DEMO


AGENT = agent.Agent('bc', imitates)
