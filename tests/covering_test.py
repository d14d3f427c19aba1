"""All pairs of settings, cheaply: refused in one message, or their programs have shapes.

`python tests/covering.py` trains every row; here one is trained, and of the others the programs of
critic and actor are traced, π0.5's of a few.
"""

import dataclasses
import functools
import re

import covering
import jax
import numpy as np
import pytest

from aloe_jax.learning import learner as learner_lib
from aloe_jax.run import experiment

TRACED = {'sim_debug': 1, 'debug': 6}  # every n-th row


@functools.cache
def array(variant):
  refused = covering.refused_pairs(variant)
  return refused, covering.rows(variant, refused)


@pytest.mark.parametrize('variant', covering.VARIANTS)
def test_a_refused_pair_is_told_by_its_field_with_what_to_do(variant):
  refused, rows = array(variant)
  for (a, _, b, _), message in refused.items():
    assert f'config.{a}' in message or f'config.{b}' in message, message
    assert re.search('[Ee]xpected|give|choose', message), message
  assert rows


@pytest.mark.parametrize('variant', covering.VARIANTS)
def test_every_pair_of_values_is_refused_or_in_some_row(variant):
  refused, rows = array(variant)
  every = covering.options(variant)
  seen = {(a, row[a], b, row[b]) for row in rows for a in row for b in row}
  for a, xs in every.items():
    for b, ys in every.items():
      if list(every).index(a) < list(every).index(b):
        missing = [(x, y) for x in xs for y in ys if (a, x, b, y) not in seen | refused.keys()]
        assert not missing, (a, b, missing)


def batches(described, tree):
  """`tree` of a batch of one as two batches of as many rows as the config says."""
  size = described.config.actor.batch_size
  return jax.tree.map(lambda x: np.broadcast_to(x[None], (2, size, *x.shape[1:])), tree)


def traced(described, learner):
  """Traces a critic's and an actor's update as the phases give them their batches."""
  config, agent = described.config, learner.agent
  example = described.example()
  state = jax.eval_shape(lambda: learner.init(0, example))
  weighed = agent.advantage is None or config.actor.weights == 'per_phase'
  chunk = example.action[:, : described.chunking(1.0).critic_horizon]
  unplayed = chunk if described.continues_ended else None
  weight = np.ones(1, np.float32) if weighed else None
  actor = dataclasses.replace(example, weight=weight, unplayed=unplayed)
  metrics = {}
  if agent.critic_loss is not None:
    drawn = example.action[:, None] if agent.samples_policy and config.actor.bank else None
    critic = learner_lib.types.CriticBatch(
      observation=example.observation,
      action=chunk,
      valid=np.ones(chunk.shape[:2], bool),
      reward=np.zeros(1, np.float32),
      discount=np.zeros(1, np.float32),
      returns=np.zeros(1, np.float32),
      next_observation=example.observation,
      ended=np.zeros(1, bool),
      next_action=drawn,
      policy_action=drawn,
      unplayed=unplayed,
      position=np.zeros(1, np.int32),
      between=None if drawn is None else described.example_between(example),
    )
    _, found = jax.eval_shape(learner.train_step, state, batches(described, critic), None)
    metrics |= found
  _, found = jax.eval_shape(learner.train_step, state, None, batches(described, actor))
  return metrics | found


@pytest.mark.parametrize('variant', covering.VARIANTS)
def test_the_programs_of_every_row_can_be_made_or_the_row_is_refused(variant):
  rows = array(variant)[1][:: TRACED[variant]]
  made = 0
  for row in rows:
    if covering.refusal(variant, row):
      continue
    described = experiment.Experiment(covering.make_config(variant, row))
    metrics = traced(described, described.learner(reward_scale=0.01))
    for name, found in metrics.items():
      assert (found['loss'].shape, found['loss'].dtype) == ((), np.float32), (row, name)
    made += 1
  assert made >= len(rows) / 2


def test_a_row_without_a_bank_runs(tmp_path):
  cheap = {'agent': 'aloe', 'actor.bank': False, 'sim.observation': 'objects'}
  row = next(row for row in array('sim_debug')[1] if cheap.items() <= row.items())
  assert covering.play('sim_debug', row, tmp_path / 'run', tmp_path / 'compiled') == 'ran', row
