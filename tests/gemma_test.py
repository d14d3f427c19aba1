"""Gemma agrees with big_vision's on recorded random weights; masks, positions and experts."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aloe_jax.models import gemma
from aloe_jax.models import grouped_attention
from aloe_jax.pretrained import big_vision

GOLDEN = pathlib.Path(__file__).parent / 'golden'


@pytest.fixture(scope='module', autouse=True)
def highest_precision():
  with jax.default_matmul_precision('highest'):
    yield


def make_expert(sizes):
  names = ('width', 'mlp_dim', 'num_heads', 'num_kv_heads', 'head_dim')
  width, mlp_dim, heads, kv_heads, head_dim = (sizes[name] for name in names)
  return gemma.Expert(width, sizes['depth'], mlp_dim, heads, kv_heads, head_dim)


def test_a_paligemma_file_gives_its_hidden_states_and_logits():
  with np.load(GOLDEN / 'paligemma_case_a.npz') as file:
    case, sizes = dict(file), json.loads(str(file['config']))['llm']
  params = {'params': big_vision.load(f'{GOLDEN}/paligemma_case_a.npz:llm')}
  model = gemma.Gemma((make_expert(sizes),), sizes['vocab_size'])
  words = model.apply(params, case['inputs/text'], method='embed')
  np.testing.assert_allclose(words, case['outputs/text_embeddings'], atol=2e-5)

  tokens = jnp.concatenate([case['outputs/image_tokens'], words], axis=1)
  blocks = np.pad(case['inputs/mask_ar'], ((0, 0), (tokens.shape[1] - words.shape[1], 0)))
  mask = grouped_attention.attention_mask(jnp.ones(blocks.shape, bool), blocks)
  np.testing.assert_array_equal(mask, case['outputs/attn_mask'])
  positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape[:2])
  (out,), _ = jax.jit(model.apply)(params, (tokens,), positions, mask)
  np.testing.assert_allclose(out, case['outputs/pre_logits'], atol=2e-5)
  table = params['params']['embedder']['input_embedding']
  logits = out[:, -words.shape[1] :] @ table.T
  np.testing.assert_allclose(logits, case['outputs/text_logits'], atol=2e-5)


def test_blocks_see_themselves_and_earlier_ones_but_no_padding():
  valid = jnp.array([[True, True, False, True, True]])
  starts = jnp.array([False, False, False, True, False])
  expected = [
    [1, 1, 0, 0, 0],
    [1, 1, 0, 0, 0],
    [0, 0, 0, 0, 0],
    [1, 1, 0, 1, 1],
    [1, 1, 0, 1, 1],
  ]
  np.testing.assert_array_equal(grouped_attention.attention_mask(valid, starts)[0], expected)


def test_rotation_turns_the_two_halves_by_the_position_over_the_period():
  x = jnp.arange(1.0, 5.0).reshape(1, 1, 1, 4)
  turned = grouped_attention.rotate(x, grouped_attention.turns(jnp.array([[3]]), 4))[0, 0, 0]
  angle = np.array([3.0, 3.0 / 100.0])  # periods 1 and 10000 ** (1 / 2)
  first = np.array([1, 2]) * np.cos(angle) - np.array([3, 4]) * np.sin(angle)
  second = np.array([3, 4]) * np.cos(angle) + np.array([1, 2]) * np.sin(angle)
  np.testing.assert_allclose(turned, np.concatenate([first, second]), rtol=1e-6)


def test_grouped_queries_read_their_own_key_value_head():
  rng = np.random.default_rng(0)
  query = rng.standard_normal((2, 3, 4, 5), np.float32)
  key, value = rng.standard_normal((2, 2, 6, 2, 5), np.float32)
  mask = rng.random((2, 3, 6)) < 0.7
  found = grouped_attention.attend(
    query, [(key[:, :2], value[:, :2]), (key[:, 2:], value[:, 2:])], mask
  )
  for batch in range(2):
    for head in range(4):
      logits = query[batch, :, head] @ key[batch, :, head // 2].T
      logits = np.where(mask[batch], logits, -np.inf)
      weights = np.exp(logits - logits.max(axis=1, keepdims=True))
      weights /= weights.sum(axis=1, keepdims=True)
      expected = weights @ value[batch, :, head // 2]
      np.testing.assert_allclose(found[batch, :, head], expected, atol=1e-6)


def test_a_row_that_may_see_nothing_is_finite():
  query = jnp.ones((1, 1, 1, 2))
  found = grouped_attention.attend(query, [(query, 3 * query)], jnp.zeros((1, 1, 1), bool))
  np.testing.assert_array_equal(found, 3 * query)


def test_experts_of_different_depth_are_refused():
  small, deep = gemma.Expert(8, 1, 8, 2, 1, 4), gemma.Expert(8, 2, 8, 2, 1, 4, adaptive=True)
  with pytest.raises(ValueError, match='depth is 1 and 2'):
    gemma.Gemma((small, deep), 4).init(jax.random.key(0), jnp.zeros((1, 1), int), method='embed')
