"""What the actor may cost at π0.5's widths, by the compiler's count; nothing is run."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from aloe_jax.agents import AGENTS
from aloe_jax.dry_run import robot as paper_robot
from aloe_jax.run import experiment as experiment_lib
from benchmarks import flops
from experiments import laundry

SHARE = 9  # one layer of so many of tower, language model and expert: 3 of 27, 2 of 18


@pytest.fixture(scope='module')
def experiment():
  config = laundry.get_config()
  paper_robot.fill_in(config)
  config.actor.vision.depth //= SHARE
  config.actor.language.depth //= SHARE
  return experiment_lib.Experiment(config)


@pytest.fixture(scope='module')
def learner(experiment):
  return experiment.learner(reward_scale=1.0)


@pytest.fixture(scope='module')
def state(experiment, learner):
  return jax.eval_shape(lambda: learner.init(0, experiment.example()))


@pytest.fixture(scope='module')
def batches(experiment):
  """Shapes of one batch, with weights."""
  size = experiment.config.actor.batch_size
  example = experiment.example().replace(weight=np.zeros(1, np.float32))
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, size, *x.shape[1:]), x.dtype), example)


@pytest.fixture(scope='module')
def imitation(learner, state, batches):
  """FLOPs of a BC update, by what is recomputed."""
  bc = dataclasses.replace(learner, agent=AGENTS['bc'])
  return {
    remat: flops.count(flops.update, bc, state, batches, remat=remat) for remat in ('none', 'full')
  }


@pytest.fixture(scope='module')
def sampling(learner, state, batches):
  """FLOPs of drawing M chunks per row, by M."""
  return {
    samples: flops.count(
      functools.partial(flops.sample, samples=samples), learner, state, batches, samples=samples
    )
    for samples in (1, 8)
  }


def products(tokens, keys, width, heads, head_dim, kv_heads, mlp):
  """FLOPs of one layer's matrix products: projections, attention and MLP of so many weights."""
  weights = 2 * width * head_dim * (heads + kv_heads) + mlp
  return 2 * tokens * weights + 4 * tokens * keys * heads * head_dim


def by_hand(config):
  """FLOPs of the prefix, of what sampling leaves out of it, and of one Euler step, per row."""
  vision, language, expert = config.actor.vision, config.actor.language, config.actor.expert
  patches = (config.actor.image_size // vision.patch) ** 2
  tokens = 3 * patches + config.actor.prompt_length
  shared = dict(heads=language.heads, head_dim=language.head_dim, kv_heads=language.kv_heads)
  mlp = 2 * vision.width * vision.mlp_dim
  heads = dict(heads=vision.heads, head_dim=vision.width // vision.heads, kv_heads=vision.heads)
  tower = vision.depth * products(patches, patches, vision.width, mlp=mlp, **heads)
  ends = 2 * patches * vision.width * (3 * vision.patch**2 + language.width)
  mlp = 3 * language.width * language.mlp_dim
  layer = products(tokens, tokens, language.width, mlp=mlp, **shared)
  # Of the last layer it makes the keys and values alone.
  unread = layer - 4 * tokens * language.width * language.kv_heads * language.head_dim
  chunk, mlp = config.task.chunk, 3 * expert.width * expert.mlp_dim
  step = language.depth * products(chunk, tokens + chunk, expert.width, mlp=mlp, **shared)
  return 3 * (tower + ends) + language.depth * layer, unread, step


def test_the_count_is_that_of_the_matrix_products(experiment, imitation, sampling):
  prefix, unread, step = by_hand(experiment.config)
  size, steps = experiment.config.actor.batch_size, experiment.config.actor.flow_steps
  for samples, found in sampling.items():
    by_sampling = prefix - unread + samples * steps * step
    np.testing.assert_allclose(found, size * by_sampling, rtol=0.03)
  # Each product of the forward pass has two in the backward pass.
  np.testing.assert_allclose(imitation['none'], size * 3 * (prefix + step), rtol=0.03)


def test_eight_samples_cost_less_than_twice_what_one_does(sampling):
  assert sampling[8] < 2 * sampling[1]


def test_weights_of_the_phase_cost_an_update_nothing(learner, state, batches, imitation):
  found = flops.count(flops.update, learner, state, batches)
  assert found <= 1.05 * imitation['none']


@pytest.mark.parametrize('remat', ['none', 'full'])
def test_weights_of_the_step_cost_an_update_the_samples_of_the_policy_that_acts_and_no_more(
  learner, state, batches, imitation, sampling, remat
):
  samples = learner.settings.samples
  assert samples == 8
  unweighted = batches.replace(weight=None)
  found = flops.count(flops.update, learner, state, unweighted, samples=samples, remat=remat)
  np.testing.assert_allclose(found - imitation[remat], sampling[samples], rtol=0.02)
