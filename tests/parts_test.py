"""What is trained of π0.5 and what is not: leaves, gradients, moments, averages, and runs."""

import json

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robot
import updates

from aloe_jax import train
from aloe_jax.models import parts
from aloe_jax.pretrained import openpi
from aloe_jax.run import acting
from aloe_jax.run import experiment
from aloe_jax.run import restored
from experiments import laundry

pytestmark = pytest.mark.usefixtures('compiled_once')

WHOLE = ('vision', 'language', 'expert')


def make(**changes):
  return experiment.Experiment(robot.make_config(**changes))


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


@pytest.fixture(scope='module')
def given(tmp_path_factory):
  """Episodes and a checkpoint of openpi."""
  place = tmp_path_factory.mktemp('given')
  episodes = robot.write_episodes(place / 'episodes')
  pi05 = robot.write_checkpoint(place / 'pi05')
  return dict(data__episodes=(str(episodes),), actor__checkpoint=str(pi05))


def test_each_leaf_of_the_actor_belongs_to_one_part():
  shapes = flat(make().abstract_state().actor)
  halves = {
    name: flat(
      parts.parse(name, 'float32').divide(traverse_util.unflatten_dict(shapes, sep='/'))[0]
    )
    for name in WHOLE
  }
  assert sorted(path for half in halves.values() for path in half) == sorted(shapes)
  assert 'params/PaliGemma/img/Transformer/encoderblock/LayerNorm_1/scale' in halves['vision']
  assert 'params/PaliGemma/llm/embedder/input_embedding' in halves['language']
  assert 'params/PaliGemma/llm/layers/attn/q_einsum/w' in halves['language']
  for leaf in (
    'PaliGemma/llm/layers/attn/q_einsum_1/w',
    'PaliGemma/llm/final_norm_1/Dense_0/bias',
    'PaliGemma/llm/layers/mlp_1/linear',
    'action_in_proj/kernel',
    'time_mlp_out/bias',
  ):
    assert f'params/{leaf}' in halves['expert']


def test_the_parts_of_the_published_size_have_as_many_parameters_as_openpi_counts():
  """Of LoRA on both experts, openpi's frozen set is the language model and the expert's layers."""
  config = robot.make_config()
  full = laundry.get_config()
  config.actor.update(
    {
      name: full.actor[name]
      for name in ('vision', 'language', 'expert', 'vocab_size', 'action_size', 'image_size')
    }
  )
  shapes = experiment.Experiment(config).abstract_state().actor
  count = {
    name: sum(
      np.prod(leaf.shape)
      for leaf in jax.tree.leaves(parts.parse(name, 'float32').divide(shapes)[0])
    )
    for name in WHOLE
  }
  assert sum(count.values()) == 3_353_433_872
  # language alone: openpi's frozen set with LoRA on the language model only
  assert count['language'] == 2_508_531_712
  # LoRA on the expert only freezes the expert's layers and norms, not the projections
  assert count['expert'] - 427_932_672 == 32 * 1024 + 1024 + 1024 * 32 + 32 + 2 * (
    1024 * 1024 + 1024
  )


@pytest.mark.parametrize('text', ['experts', '', 'language+', 'vision+vision', 'all+expert'])
def test_a_part_that_there_is_not_is_refused_with_those_that_there_are(text):
  with pytest.raises(ValueError, match="'all', or one or several of vision, language, expert"):
    parts.parse(text, 'float32')


def test_the_small_actor_has_no_parts():
  with pytest.raises(ValueError, match="config.actor.kind is 'small', which has no such parts"):
    make(actor__kind='small', actor__train='expert', sim__task='fold_laundry')


def step(made, actor, batches):
  learner = made.learner(reward_scale=1.0)
  state = learner.init(0, made.example(), actor)
  return jax.jit(learner.train_step)(state, None, batches)


def test_what_is_trained_moves_as_it_does_when_all_is_and_the_rest_stays():
  whole, made = (
    make(actor__weight_decay=0.0),
    make(actor__train='expert', actor__frozen_dtype='float32', actor__weight_decay=0.0),
  )
  params = {'params': robot.make_params(robot.make_config())}
  rng = np.random.default_rng(0)
  batches = jax.tree.map(
    lambda x: (
      rng.normal(size=(1, 8, *x.shape[1:])).astype(x.dtype)
      if x.dtype == np.float32
      else np.broadcast_to(x, (1, 8, *x.shape[1:]))
    ),
    made.example(),
  ).replace(weight=np.ones((1, 8), np.float32), position=np.arange(8, dtype=np.int32)[None])
  expected, _ = step(whole, params, batches)
  found, _ = step(made, params, batches)
  assert flat(found.actor).keys() == flat(found.actor_ema).keys()
  frozen = flat(found.actor_frozen)
  assert frozen and not frozen.keys() & flat(found.actor).keys()
  for path, leaf in frozen.items():
    np.testing.assert_array_equal(leaf, flat(params)[path])
  moments = jax.tree_util.tree_leaves_with_path(found.actor_optimizer)
  assert not [path for path, _ in moments if 'img' in jax.tree_util.keystr(path)]
  # One step of Adam divides each gradient by its own size, so that the global norm is no matter.
  for path, leaf in flat(found.actor).items():
    np.testing.assert_allclose(leaf, flat(expected.actor)[path], atol=2e-6, err_msg=path)
  assert any(
    np.abs(np.asarray(leaf) - flat(params)[path]).max() > 1e-6
    for path, leaf in flat(found.actor).items()
  )


def test_frozen_parts_are_kept_in_half_precision():
  made = make(actor__train='language+expert')
  state = jax.eval_shape(lambda: made.learner(reward_scale=1.0).init(0, made.example()))
  assert {leaf.dtype for leaf in jax.tree.leaves(state.actor_frozen)} == {jnp.dtype('bfloat16')}
  assert {leaf.dtype for leaf in jax.tree.leaves(state.actor)} == {jnp.dtype('float32')}


def test_a_run_of_one_part_goes_from_openpi_to_openpi_and_to_a_run_of_all(given, tmp_path):
  made = make(**given, actor__train='expert')
  train.run(made, tmp_path / 'one')
  path = tmp_path / 'one' / 'checkpoints' / '2'
  assert acting.trained(path) == parts.Trained(('expert',), 'bfloat16')
  before = openpi.restore(
    tmp_path / given['actor__checkpoint'], make().abstract_state().actor['params']
  )
  found = flat(restored.read_actor(made, path)['params'])
  assert found.keys() == flat(before).keys()
  kept = {name: np.asarray(leaf) for name, leaf in flat(before).items()}
  halved = {name: np.float32(leaf.astype(jnp.bfloat16)) for name, leaf in kept.items()}
  moved = {name for name, leaf in found.items() if not np.array_equal(leaf, halved[name])}
  assert moved == {
    name.removeprefix('params/')
    for name in flat(parts.parse('expert', 'float32').divide({'params': before})[0])
  }

  # Another run trains all of it from there; what was frozen is trained in its own type again.
  more = dict(given, actor__checkpoint=str(path), iterations=1)
  train.run(make(**more), tmp_path / 'all')
  config = json.loads((tmp_path / 'all' / 'config.json').read_text())
  assert config['actor']['train'] == 'all'
  after = flat(restored.read_actor(make(**more), tmp_path / 'all' / 'checkpoints' / '2')['params'])
  assert {leaf.dtype for leaf in after.values()} == {jnp.dtype('float32')}
  tower = 'PaliGemma/img/embedding/kernel'
  assert not np.array_equal(after[tower], np.float32(found[tower]))
  np.testing.assert_allclose(after[tower], np.float32(found[tower]), atol=1e-3)


def test_a_moving_average_of_parameters_in_half_precision_moves():
  learner = updates.make_linear(ema=0.999)
  actor = {'params': {name: jnp.bfloat16(x) for name, x in (('s', 0.3), ('c', -0.2))}}
  state = learner.init(0, jax.tree.map(lambda x: x[0], updates.actor_batches()), actor)
  assert {leaf.dtype for leaf in jax.tree.leaves(state.actor_ema)} == {jnp.dtype('float32')}
  after, _ = updates.step(learner, state, None, updates.actor_batches())
  moved = np.float32(after.actor['params']['s']) - np.float32(state.actor['params']['s'])
  assert moved
  found = after.actor_ema['params']['s'] - state.actor_ema['params']['s']
  np.testing.assert_allclose(found, 0.001 * moved, rtol=1e-2)
