"""LoRA: weights that stay as they are, and a product of two thin matrices that is learnt on top.

Names and shapes are openpi's: beside a weight `w` lie `lora_a` and `lora_b`, whose shapes are its
own with one of its last two axes replaced by the rank; the MLP's are `gating_einsum_lora_a` and so
on. Attention's products are scaled (alpha over rank), those of the MLP are not.
"""

from collections.abc import Mapping
import re
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp

LEAF = r'.*lora_[ab]'
# The second factor begins at zero, so that a fresh adapter changes nothing; openpi's begins at
# random, with a deviation of 0.01 as the first.
FIRST, SECOND = nn.initializers.normal(0.01), nn.initializers.zeros

# What the two factors make of one layer's weight. The output of attention sums its heads before the
# second factor, in openpi's equation, so that every head gets the sum of all their second factors.
_MERGED = {
  'q_einsum': 'lndr,lnrh->lndh',
  'kv_einsum': 'lckdr,lckrh->lckdh',
  'attn_vec_einsum': 'lnhr,lmrd->lnhd',
  'gating_einsum': 'lcdr,lcrm->lcdm',
  'linear': 'lmr,lrd->lmd',
}


def equations(equation: str) -> tuple[str, str]:
  """Contractions with the first and the second factor, of that with the weight itself."""
  operands, out = equation.split('->')
  x, weight = operands.split(',')
  into, from_ = weight[-2], weight[-1]
  between = out.replace(from_, 'r')
  first = f'{x},{weight.replace(from_, "r")}->{between}'
  return first, f'{between},{weight.replace(into, "r")}->{out}'


def shapes(weight: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Of the two factors of a weight."""
  return (*weight[:-1], rank), (*weight[:-2], rank, weight[-1])


def ranks(params: Mapping[str, Any]) -> dict[str, int]:
  """{'language': r, 'expert': r} of parameters or their shapes, 0 where there is no adapter."""
  found = {'language': 0, 'expert': 0}
  for path, leaf in traverse_util.flatten_dict(params, sep='/').items():
    if path.endswith('lora_a'):
      part = 'expert' if re.search(r'_1(/|_lora)', path) else 'language'
      found[part] = leaf.shape[-1]
  return found


def merge(params: Mapping[str, Any], scale: float) -> dict[str, Any]:
  """Parameters without adapters that act alike: every product added to its weight, in float32.

  Args:
    params: of π0.5, layers stacked.
    scale: alpha over rank, of attention's adapters.

  Raises:
    ValueError: an adapter has no weight to be added to.
  """
  leaves = traverse_util.flatten_dict(params, sep='/')
  merged = {path: leaf for path, leaf in leaves.items() if not re.fullmatch(LEAF, path)}
  for path in leaves:
    if not path.endswith('lora_a'):
      continue
    stem = path.removesuffix('lora_a')
    target = f'{stem}w' if stem.endswith('/') else stem.removesuffix('_')
    module = (stem.rstrip('/') if stem.endswith('/') else target).rpartition('/')[2]
    equation = _MERGED.get(re.sub(r'_1$', '', module))
    if equation is None or target not in merged or f'{stem}lora_b' not in leaves:
      raise ValueError(f'{path}: found an adapter of no weight that is known; it cannot be merged.')
    first, second = (jnp.asarray(leaves[f'{stem}lora_{x}'], jnp.float32) for x in 'ab')
    product = jnp.einsum(equation, first, second, precision=jax.lax.Precision.HIGHEST)
    weight = merged[target]
    factor = scale if stem.endswith('/') else 1.0
    merged[target] = (jnp.asarray(weight, jnp.float32) + factor * product).astype(weight.dtype)
  return traverse_util.unflatten_dict(merged, sep='/')
