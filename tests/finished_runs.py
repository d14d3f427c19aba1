"""Checkpoints of runs that never ran: random parameters, and all that lies beside them."""

import json

import jax
import numpy as np
import robot
import tiny

from aloe_jax.preprocessing import normalize
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment

FAIL_COST = 60.0  # steps


def write(workdir, number=1, **changes):
  """A run of `robot.make_config(**changes)` after the phase of that number; its experiment."""
  built = experiment.Experiment(robot.make_config(**changes))
  rng = np.random.default_rng(number)

  def random(leaf):
    return (0.2 * tiny.normal(rng, *leaf.shape)).astype(leaf.dtype)

  shapes = built.abstract_state()
  state = jax.tree.map(random, shapes).replace(step=np.int32(40 + number))
  tower = shapes.actor['params'].get('PaliGemma', {}).get('img', {})
  if built.learns_tower:
    seen = built.example(trains_tower=True)
    tower = jax.eval_shape(lambda: built.learner(1.0).init_actor(0, seen))['params']['tower']
  meta = {
    'phase': ('actor', 'critic')[number % 2] if number else 'warm_start',
    'iteration': (number + 1) // 2,
    'agent': built.config.agent,
    'tagged': False,
    'fail_cost': FAIL_COST,
    'architecture': built.architecture(),
    'config': json.loads(built.config.to_json()),
  }
  if built.config.data.normalization != 'none':
    meta |= normalize.to_json(robot.make_stats(scale=2.0))
  kept = checkpoints.Checkpoints(workdir / 'checkpoints')
  kept.save(number, state, jax.tree.map(random, tower), meta)
  return built
