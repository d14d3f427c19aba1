"""The tensors of π0.5 in PyTorch: names, shapes and transpositions of openpi's converter.

The table is read from two public sources: openpi's examples/convert_jax_model_to_pytorch.py and
models_pytorch/, and lerobot's policies/pi05/modeling_pi05.py. It does not use the code's own words.
"""

import pathlib

from flax import traverse_util
import jax
import numpy as np
import pytest

from aloe_jax import defaults
from aloe_jax import types
from aloe_jax.models import pi05
from aloe_jax.pretrained import pytorch_names

GOLDEN = pathlib.Path(__file__).parent / 'golden'
TOWER = 'paligemma_with_expert.paligemma.model.vision_tower.vision_model'
LANGUAGE = 'paligemma_with_expert.paligemma.model.language_model'
EXPERT = 'paligemma_with_expert.gemma_expert.model'
BLOCK = 'PaliGemma/img/Transformer/encoderblock'
HEADS = f'{BLOCK}/MultiHeadDotProductAttention_0'
LAYERS = 'PaliGemma/llm/layers'


def as_is(x):
  return x


def transposed(x):
  return x.T


def of_heads(x):  # [W, N, H] of the tower's query, key and value
  return x.reshape(x.shape[0], -1).T


def flat(x):
  return x.reshape(-1)


def out_of_heads(x):  # [N, H, W]
  return x.reshape(-1, x.shape[-1]).T


def queries(x):  # [N, W, H]
  return x.transpose(0, 2, 1).reshape(-1, x.shape[1])


def keys(x):  # [2, K, W, H]
  return x[0, 0].T


def values(x):
  return x[1, 0].T


def gate(x):  # [2, W, F]
  return x[0].T


def up(x):
  return x[1].T


def gemma(prefix, ending, width, hidden):
  """The layers of a language model: 18, with 8 heads of 256 and one of keys and values."""
  theirs, attn, mlp = f'{prefix}.layers.{{}}', f'{LAYERS}/attn', f'{LAYERS}/mlp{ending}'
  return [
    (f'{theirs}.self_attn.q_proj.weight', (2048, width), f'{attn}/q_einsum{ending}/w', queries),
    (f'{theirs}.self_attn.k_proj.weight', (256, width), f'{attn}/kv_einsum{ending}/w', keys),
    (f'{theirs}.self_attn.v_proj.weight', (256, width), f'{attn}/kv_einsum{ending}/w', values),
    (
      f'{theirs}.self_attn.o_proj.weight',
      (width, 2048),
      f'{attn}/attn_vec_einsum{ending}/w',
      out_of_heads,
    ),
    (f'{theirs}.mlp.gate_proj.weight', (hidden, width), f'{mlp}/gating_einsum', gate),
    (f'{theirs}.mlp.up_proj.weight', (hidden, width), f'{mlp}/gating_einsum', up),
    (f'{theirs}.mlp.down_proj.weight', (width, hidden), f'{mlp}/linear', transposed),
  ]


def dense(theirs, ours, rows, columns):
  return [
    (f'{theirs}.weight', (rows, columns), f'{ours}/kernel', transposed),
    (f'{theirs}.bias', (rows,), f'{ours}/bias', as_is),
  ]


def layer_norm(theirs, ours):
  return [
    (f'{theirs}.weight', (1152,), f'{ours}/scale', as_is),
    (f'{theirs}.bias', (1152,), f'{ours}/bias', as_is),
  ]


# Name, published shape, our leaf, and how its numbers (of one layer, where there are layers) lie.
FACTS = [
  (
    f'{TOWER}.embeddings.patch_embedding.weight',
    (1152, 3, 14, 14),
    'PaliGemma/img/embedding/kernel',
    lambda x: x.transpose(3, 2, 0, 1),
  ),
  (
    f'{TOWER}.embeddings.patch_embedding.bias',
    (1152,),
    'PaliGemma/img/embedding/bias',
    as_is,
  ),
  (
    f'{TOWER}.embeddings.position_embedding.weight',
    (256, 1152),
    'PaliGemma/img/pos_embedding',
    lambda x: x[0],
  ),
  *layer_norm(f'{TOWER}.encoder.layers.{{}}.layer_norm1', f'{BLOCK}/LayerNorm_0'),
  *layer_norm(f'{TOWER}.encoder.layers.{{}}.layer_norm2', f'{BLOCK}/LayerNorm_1'),
  *dense(f'{TOWER}.encoder.layers.{{}}.mlp.fc1', f'{BLOCK}/MlpBlock_0/Dense_0', 4304, 1152),
  *dense(f'{TOWER}.encoder.layers.{{}}.mlp.fc2', f'{BLOCK}/MlpBlock_0/Dense_1', 1152, 4304),
  *(
    fact
    for letter, ours in (('q', 'query'), ('k', 'key'), ('v', 'value'))
    for fact in (
      (
        f'{TOWER}.encoder.layers.{{}}.self_attn.{letter}_proj.weight',
        (1152, 1152),
        f'{HEADS}/{ours}/kernel',
        of_heads,
      ),
      (
        f'{TOWER}.encoder.layers.{{}}.self_attn.{letter}_proj.bias',
        (1152,),
        f'{HEADS}/{ours}/bias',
        flat,
      ),
    )
  ),
  (
    f'{TOWER}.encoder.layers.{{}}.self_attn.out_proj.weight',
    (1152, 1152),
    f'{HEADS}/out/kernel',
    out_of_heads,
  ),
  (f'{TOWER}.encoder.layers.{{}}.self_attn.out_proj.bias', (1152,), f'{HEADS}/out/bias', as_is),
  *layer_norm(f'{TOWER}.post_layernorm', 'PaliGemma/img/Transformer/encoder_norm'),
  *dense(
    'paligemma_with_expert.paligemma.model.multi_modal_projector.linear',
    'PaliGemma/img/head',
    2048,
    1152,
  ),
  # The embedding: safetensors keeps the first name of the two that share it.
  (
    'paligemma_with_expert.paligemma.lm_head.weight',
    (257_152, 2048),
    'PaliGemma/llm/embedder/input_embedding',
    as_is,
  ),
  *gemma(LANGUAGE, '', 2048, 16_384),
  *gemma(EXPERT, '_1', 1024, 4096),
  (
    f'{LANGUAGE}.layers.{{}}.input_layernorm.weight',
    (2048,),
    f'{LAYERS}/pre_attention_norm/scale',
    as_is,
  ),
  (
    f'{LANGUAGE}.layers.{{}}.post_attention_layernorm.weight',
    (2048,),
    f'{LAYERS}/pre_ffw_norm/scale',
    as_is,
  ),
  (f'{LANGUAGE}.norm.weight', (2048,), 'PaliGemma/llm/final_norm/scale', as_is),
  *dense(
    f'{EXPERT}.layers.{{}}.input_layernorm.dense',
    f'{LAYERS}/pre_attention_norm_1/Dense_0',
    3072,
    1024,
  ),
  *dense(
    f'{EXPERT}.layers.{{}}.post_attention_layernorm.dense',
    f'{LAYERS}/pre_ffw_norm_1/Dense_0',
    3072,
    1024,
  ),
  *dense(f'{EXPERT}.norm.dense', 'PaliGemma/llm/final_norm_1/Dense_0', 3072, 1024),
  *dense('action_in_proj', 'action_in_proj', 1024, 32),
  *dense('action_out_proj', 'action_out_proj', 32, 1024),
  *dense('time_mlp_in', 'time_mlp_in', 1024, 1024),
  *dense('time_mlp_out', 'time_mlp_out', 1024, 1024),
]


@pytest.fixture(scope='module')
def golden():
  with np.load(GOLDEN / 'pi05_case_a.npz') as file:
    paths = [key for key in file.files if key.startswith('params/')]
    return {path.removeprefix('params/'): file[path] for path in paths}


def written(leaves):
  """{name: tensor} of what the code makes of our leaves."""
  return {
    name: rule.tensor(leaves[rule.path][rule.index(layer)])
    for name, rule, layer in pytorch_names.tensors(leaves)
  }


def test_every_tensor_has_the_name_and_the_numbers_that_openpis_converter_gives_it(golden):
  found, expected = written(golden), {}
  for name, _, path, arranged in FACTS:
    for layer in range(len(golden[path]) if '{}' in name else 1):
      x = golden[path][layer] if '{}' in name else golden[path]
      expected[name.format(layer)] = arranged(x)
  assert sorted(found) == sorted(expected)
  for name, tensor in expected.items():
    np.testing.assert_array_equal(found[name], tensor, err_msg=name)


def test_at_the_published_size_there_are_812_tensors_of_the_published_shapes():
  actor = pi05.make(defaults.PI05, horizon=50)
  example = types.Observation(
    proprio=np.zeros((1, 32), np.float32),
    prompt_tokens=np.zeros((1, 200), np.int32),
    prompt_mask=np.ones((1, 200), bool),
    images=dict.fromkeys(types.CAMERAS, np.zeros((1, 224, 224, 3), np.uint8)),
  )
  inputs = jax.random.key(0), example, np.zeros((1, 50, 32), np.float32), np.ones(1, np.float32)
  leaves = traverse_util.flatten_dict(jax.eval_shape(actor.init, *inputs)['params'], sep='/')
  found = {
    name: rule.shape(leaves[rule.path].shape) for name, rule, _ in pytorch_names.tensors(leaves)
  }
  depths = {TOWER: 27, LANGUAGE: 18, EXPERT: 18}
  expected = {
    name.format(layer): shape
    for name, shape, *_ in FACTS
    for layer in range(
      next(n for prefix, n in depths.items() if name.startswith(prefix)) if '{}' in name else 1
    )
  }
  assert found == expected
  # And the head that is never read, of the expert: so many has the published file.
  assert len(found) + 1 == 812
  assert sum(map(np.prod, found.values())) == 3_353_433_872


def test_the_numbers_come_back_from_every_tensor(golden):
  for name, rule, layer in pytorch_names.tensors(golden):
    numbers = golden[rule.path][rule.index(layer)]
    again = rule.numbers(rule.tensor(numbers), golden[rule.path].shape)
    np.testing.assert_array_equal(again, numbers, err_msg=name)


def test_several_heads_of_keys_lie_behind_one_another():
  kv = np.arange(2 * 3 * 4 * 5).reshape(1, 2, 3, 4, 5)  # [L, 2, K, D, H]
  rules = {rule.name: rule for rule in pytorch_names.RULES}
  rule = rules[f'{LANGUAGE}.layers.{{}}.self_attn.v_proj.weight']
  tensor = rule.tensor(kv[rule.index(0)])
  assert tensor.shape == (15, 4)
  np.testing.assert_array_equal(tensor[5:10], kv[0, 1, 1].T)
