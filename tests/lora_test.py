"""Adapters beside the weights of π0.5: openpi's equations, and what they are merged into."""

import json
import pathlib
import re
import signal

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robot
import tiny

from aloe_jax import defaults
from aloe_jax import stopping
from aloe_jax import train
from aloe_jax.models import gemma
from aloe_jax.models import lora
from aloe_jax.models import parts
from aloe_jax.pretrained import openpi
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment
from aloe_jax.run import restored
from aloe_jax.run import starting_point

pytestmark = pytest.mark.usefixtures('compiled_once')

ADAPTED = dict(
  actor__lora__language=3, actor__lora__expert=2, actor__train='vision+projections+lora'
)


def make(**changes):
  return experiment.Experiment(robot.make_config(**changes))


def flat(tree):
  return traverse_util.flatten_dict(tree, sep='/')


def shapes_of(**changes):
  state = make(**changes).abstract_state()
  return parts.join(state.actor, state.actor_frozen)['params']


def random(shapes, seed=0):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda leaf: 0.05 * tiny.normal(rng, *leaf.shape), shapes)


@pytest.mark.parametrize(
  'equation, first, second',
  [
    ('BTD,NDH->BTNH', 'BTD,NDr->BTNr', 'BTNr,NrH->BTNH'),
    ('BSD,CKDH->CBSKH', 'BSD,CKDr->CBSKr', 'CBSKr,CKrH->CBSKH'),
    ('BTNH,NHD->BTD', 'BTNH,NHr->BTr', 'BTr,NrD->BTD'),  # heads are summed before the second
  ],
)
def test_the_factors_are_contracted_as_the_weight_is(equation, first, second):
  assert lora.equations(equation) == (first, second)


def test_leaves_have_openpis_names_and_shapes():
  shapes = {path: leaf.shape for path, leaf in flat(shapes_of(**ADAPTED)).items()}
  found = {path: shape for path, shape in shapes.items() if re.fullmatch(lora.LEAF, path)}
  config = robot.make_config()
  layers, (width, heads, head) = (
    config.actor.language.depth,
    (config.actor.language[name] for name in ('width', 'heads', 'head_dim')),
  )
  hidden, expert, small = (
    config.actor.language.mlp_dim,
    config.actor.expert.width,
    config.actor.expert.mlp_dim,
  )
  of_language = {
    'attn/q_einsum/lora_a': (heads, width, 3),
    'attn/q_einsum/lora_b': (heads, 3, head),
    'attn/kv_einsum/lora_a': (2, 1, width, 3),
    'attn/kv_einsum/lora_b': (2, 1, 3, head),
    'attn/attn_vec_einsum/lora_a': (heads, head, 3),
    'attn/attn_vec_einsum/lora_b': (heads, 3, width),
    'mlp/gating_einsum_lora_a': (2, width, 3),
    'mlp/gating_einsum_lora_b': (2, 3, hidden),
    'mlp/linear_lora_a': (hidden, 3),
    'mlp/linear_lora_b': (3, width),
  }
  of_expert = {
    'attn/q_einsum_1/lora_a': (heads, expert, 2),
    'attn/attn_vec_einsum_1/lora_b': (heads, 2, expert),
    'mlp_1/gating_einsum_lora_b': (2, 2, small),
    'mlp_1/linear_lora_a': (small, 2),
  }
  assert len(found) == 20
  for path, shape in (of_language | of_expert).items():
    assert found[f'PaliGemma/llm/layers/{path}'] == (layers, *shape), path


def test_openpi_freezes_and_trains_as_many_parameters_at_the_published_size():
  config = robot.make_config()
  published = defaults.paper().actor
  names = ('vision', 'language', 'expert', 'vocab_size', 'action_size', 'image_size')
  config.actor.update({name: published[name] for name in names})
  config.actor.lora.update(language=16, expert=32)
  config.actor.train = 'vision+projections+lora'
  state = experiment.Experiment(config).abstract_state()
  count = [
    sum(np.prod(x.shape) for x in jax.tree.leaves(t)) for t in (state.actor_frozen, state.actor)
  ]
  assert count == [2_936_464_384, 466_957_072]


def test_a_head_of_the_output_gets_the_sum_of_all_second_factors():
  rng = np.random.default_rng(0)
  expert = gemma.Expert(
    width=6, depth=1, mlp_dim=8, heads=3, kv_heads=1, head_dim=4, lora_rank=2, lora_scale=0.5
  )
  einsum = gemma.Einsum((3, 4, 6), (0, 1), expert)
  x = tiny.normal(rng, 2, 5, 3, 4)
  params = {
    'w': tiny.normal(rng, 3, 4, 6),
    'lora_a': tiny.normal(rng, 3, 4, 2),
    'lora_b': tiny.normal(rng, 3, 2, 6),
  }
  weight = np.stack(
    [params['w'][n] + 0.5 * params['lora_a'][n] @ params['lora_b'].sum(0) for n in range(3)]
  )
  expected = np.einsum('btnh,nhd->btd', x, weight)
  found = einsum.apply({'params': params}, 'BTNH,NHD->BTD', x)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def velocity(made, params):
  rng = np.random.default_rng(1)
  example = made.example()
  noisy = tiny.normal(
    rng, 1, *made.policy(params, made.inputs(robot.make_stats()), None, None).chunk_shape[:1], 32
  )
  return made.actor.apply({'params': params}, example.observation, noisy, jnp.full(1, 0.3))


@pytest.mark.parametrize('scale', [1.0, 0.25])
def test_merged_weights_act_as_the_adapters_do(scale):
  adapted, plain = (
    make(**ADAPTED, actor__lora__scale=scale, actor__dtype='float32'),
    make(actor__dtype='float32'),
  )
  params = random(shapes_of(**ADAPTED))
  merged = lora.merge(params, scale)
  assert flat(merged).keys() == flat(shapes_of()).keys()
  base = {path: leaf for path, leaf in flat(params).items() if path in flat(merged)}
  expected = np.asarray(velocity(adapted, params))
  without = np.asarray(velocity(plain, traverse_util.unflatten_dict(base, sep='/')))
  assert np.abs(expected - without).max() > 1e-3
  np.testing.assert_allclose(velocity(plain, merged), expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_merged_is_refused():
  tree = {
    'llm': {
      'other': {
        'lora_a': np.zeros((1, 2, 2)),
        'lora_b': np.zeros((1, 2, 2)),
        'w': np.zeros((1, 2, 2)),
      }
    }
  }
  with pytest.raises(ValueError, match='llm/other/lora_a: found an adapter of no weight'):
    lora.merge(tree, 1.0)


def test_ranks_without_the_part_and_the_part_without_ranks_are_refused():
  for changes in (dict(ADAPTED, actor__train='all'), dict(actor__train='vision+lora')):
    with pytest.raises(ValueError, match="ranks above 0 and 'lora' among the parts"):
      make(**changes)


def test_adapters_of_other_ranks_are_refused_with_the_flags_that_fit(tmp_path):
  openpi.export(
    tmp_path / 'pi05', random(shapes_of(**ADAPTED)), stats=robot.make_stats(), asset='table'
  )
  start = starting_point.find(str(tmp_path / 'pi05'))
  for changes in ({}, dict(ADAPTED, actor__lora__expert=8)):
    with pytest.raises(
      ValueError, match=re.escape('--config.actor.lora.language=3 --config.actor.lora.expert=2')
    ):
      starting_point.check(start, make(**changes))
  starting_point.check(start, make(**ADAPTED))


@pytest.fixture(scope='module')
def given(tmp_path_factory):
  """Settings of a warm start from a base without adapters."""
  directory = tmp_path_factory.mktemp('lora')
  pi05 = robot.write_checkpoint(directory / 'pi05')
  episodes = robot.write_episodes(directory / 'episodes')
  return dict(ADAPTED, data__episodes=(str(episodes),), actor__checkpoint=str(pi05), iterations=0)


@pytest.fixture(scope='module')
def run(given, tmp_path_factory):
  """That warm start."""
  workdir = tmp_path_factory.mktemp('runs') / 'run'
  train.run(make(**given), workdir)
  return workdir


def test_a_run_that_was_stopped_ends_with_the_same_adapters_average_and_moments(
  given, run, tmp_path, monkeypatch
):
  workdir = tmp_path / 'run'
  with monkeypatch.context() as patch, pytest.raises(stopping.Stopped, match='after 2 of 4'):
    patch.setattr(stopping, 'asked', lambda: signal.SIGTERM)
    train.run(make(**given), workdir)
  train.run(make(**given), workdir)
  made = make(**given)
  found, expected = (
    checkpoints.restore(path / 'checkpoints' / '0', made.abstract_state(), made.architecture())
    for path in (workdir, run)
  )
  assert any('lora' in name for name in flat(expected.actor_ema['params']))
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_run_goes_from_openpi_to_openpi(given, run):
  """From a base without adapters: they change nothing at first, and then they do."""
  pi05, made = pathlib.Path(given['actor__checkpoint']), make(**given)
  before = openpi.restore(pi05, shapes_of())
  start = starting_point.actor_params(starting_point.find(str(pi05)), made)['params']
  assert start['PaliGemma']['llm']['embedder']['input_embedding'].dtype == jnp.bfloat16  # at once
  merged = lora.merge(start, 1.0)
  kept = parts.join(*made.trained.split({'params': before}))['params']
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, np.float32(y)), merged, kept)

  path = run / 'checkpoints' / '0'
  assert json.loads((path / 'meta' / 'metadata').read_text())['architecture']['actor']['lora']

  def moved(found, base):
    halved = {name: np.float32(np.asarray(x).astype(jnp.bfloat16)) for name, x in base.items()}
    return {name for name, x in found.items() if not np.array_equal(x, halved[name])}

  after = restored.read_actor(made, path)['params']
  trained = moved(flat(after), flat(start))
  assert any('lora_b' in name for name in trained)
  assert {name for name in trained if '/llm/' in name and 'lora' not in name} == set()
  exported = flat(lora.merge(after, 1.0))
  assert {leaf.dtype for leaf in exported.values()} == {np.dtype('float32')}
  assert any('/llm/layers/attn/' in name for name in moved(exported, flat(before)))


def test_a_checkpoint_that_lacks_some_of_its_adapters_is_refused(tmp_path):
  leaves = flat(random(shapes_of(**ADAPTED)))
  gone = 'PaliGemma/llm/layers/attn/q_einsum/lora_b'
  del leaves[gone]
  params = traverse_util.unflatten_dict(leaves, sep='/')
  openpi.export(tmp_path / 'pi05', params, stats=robot.make_stats(), asset='table')
  with pytest.raises(ValueError, match=f'{gone}: missing'):
    starting_point.check(starting_point.find(str(tmp_path / 'pi05')), make(**ADAPTED))
