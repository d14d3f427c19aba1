"""A run that is killed at random moments ends bit for bit as one that was left alone."""

import random

import chaos
import pytest

# Orbax says so of every tree that is read without its shapes.
pytestmark = pytest.mark.filterwarnings('ignore:Sharding info not provided')


def test_a_run_that_was_killed_twice_is_the_unbroken_one(tmp_path, compiled_once):
  """`python tests/chaos.py` does more of it."""
  runs = chaos.Chaos('sim_debug', tmp_path, random.Random(5), processes=1)
  seconds, expected = runs.unbroken()
  runs.broken('broken', 2, seconds)
  chaos.assert_equal(tmp_path / 'broken', expected)
  runs.assert_quiet('broken')
