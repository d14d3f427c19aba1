"""Fixtures that any test file may ask for."""

import jax
import pytest


@pytest.fixture(scope='module')
def quick_compilation():
  """XLA leaves most optimisations out: tiny networks compile for longer than they run."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
