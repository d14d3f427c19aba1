"""Parameters in half precision train: what they give is cast before it becomes a loss."""

import jax
import jax.numpy as jnp
import pytest
import robot

from aloe_jax.run import experiment


@pytest.mark.parametrize('weights', ['per_phase', 'per_step'])
def test_an_actor_of_bfloat16_stays_one_and_its_losses_are_float32(weights):
  rule = 'measured' if weights == 'per_phase' else 'paper'
  config = robot.make_config(
    actor__param_dtype='bfloat16', actor__weights=weights, actor__rule=rule
  )
  config.task.update(action_size=robot.SIZE, proprio_size=robot.SIZE, cameras=('head',))
  made = experiment.Experiment(config)
  learner = made.learner(reward_scale=1.0)
  given = jnp.ones((1, 1), jnp.float32) if weights == 'per_phase' else None
  batches = jax.tree.map(lambda x: x[None], made.example()).replace(weight=given)

  def train():
    actor = jax.tree.map(lambda x: x.astype('bfloat16'), learner.init_actor(0, made.example()))
    return learner.train_step(learner.init(0, made.example(), actor), None, batches)

  state, metrics = jax.eval_shape(train)
  assert {leaf.dtype for leaf in jax.tree.leaves(state.actor)} == {jnp.dtype('bfloat16')}
  assert {leaf.dtype for leaf in jax.tree.leaves(metrics)} == {jnp.dtype('float32')}
