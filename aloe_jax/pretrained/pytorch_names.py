"""What the tensors of π0.5 are called in PyTorch, and how the numbers of ours lie in them.

openpi's `PI0Pytorch` and lerobot's `PI05Policy` share the names; lerobot puts 'model.' before each.
A linear layer of PyTorch is [out, in]; layers of a network are apart, where ours are stacked.

Legend: A action width, D expert or language width, F hidden width of an MLP, H head width, K key
and value heads, N query heads, P and Q edges of a patch, T image tokens, V vocabulary, W width of
the image tower, C colours, X anything.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import math
import re

import numpy as np

from aloe_jax.pretrained import trees

_VISION = 'paligemma_with_expert.paligemma.model.vision_tower.vision_model'
_LANGUAGE = 'paligemma_with_expert.paligemma.model.language_model'
_EXPERT = 'paligemma_with_expert.gemma_expert.model'

EMBEDDING = 'paligemma_with_expert.paligemma.lm_head.weight'
# The same numbers in PyTorch, where one name alone is stored: whichever the writer came to first.
ALIAS = f'{_LANGUAGE}.embed_tokens.weight'
# Never read by π0.5, but openpi's and lerobot's models have it, [V, D] of the expert.
UNUSED = 'paligemma_with_expert.gemma_expert.lm_head.weight'


@dataclasses.dataclass(frozen=True)
class Rule:
  """Where the numbers of one kind of tensor are.

  Attributes:
    name: of the tensor; {} is the number of the layer, which is the first axis of ours.
    path: of our leaf.
    layout: axes of ours (behind that of the layer and `part`), then those of the tensor, where
      letters without a comma are one axis: 'NDH->NH,D'.
    part: index of ours behind the layer, where one leaf holds several tensors.
  """

  name: str
  path: str
  layout: str
  part: tuple[int, ...] = ()

  @property
  def stacked(self) -> bool:
    return '{}' in self.name

  @property
  def axes(self) -> str:
    return self.layout.partition('->')[0]

  @property
  def groups(self) -> list[str]:
    return self.layout.partition('->')[2].split(',')

  def index(self, layer: int) -> tuple[int, ...]:
    """Of the numbers in our leaf."""
    return ((layer,) if self.stacked else ()) + self.part

  def sizes(self, leaf: tuple[int, ...]) -> dict[str, int]:
    """{letter: size} of our leaf's shape."""
    return dict(zip(self.axes, leaf[len(self.index(0)) :], strict=True))

  def shape(self, leaf: tuple[int, ...]) -> tuple[int, ...]:
    """Of the tensor, from our leaf's."""
    sizes = self.sizes(leaf)
    return tuple(math.prod(sizes[letter] for letter in group) for group in self.groups)

  def tensor(self, numbers: np.ndarray) -> np.ndarray:
    """The tensor of the numbers that lie at `index` of our leaf."""
    sizes = dict(zip(self.axes, numbers.shape, strict=True))
    order = [self.axes.index(letter) for letter in ''.join(self.groups)]
    shape = [math.prod(sizes[letter] for letter in group) for group in self.groups]
    return numbers.transpose(order).reshape(shape)

  def numbers(self, tensor: np.ndarray, leaf: tuple[int, ...]) -> np.ndarray:
    """The inverse of `tensor`, for a leaf of ours of some shape."""
    sizes, letters = self.sizes(leaf), ''.join(self.groups)
    apart = tensor.reshape([sizes[letter] for letter in letters])
    return apart.transpose([letters.index(letter) for letter in self.axes])


def _rules() -> Iterator[Rule]:
  def layer_norm(name: str, path: str) -> Iterator[Rule]:
    yield Rule(f'{name}.weight', f'{path}/scale', 'W->W')
    yield Rule(f'{name}.bias', f'{path}/bias', 'W->W')

  def dense(name: str, path: str) -> Iterator[Rule]:
    yield Rule(f'{name}.weight', f'{path}/kernel', 'XY->Y,X')
    yield Rule(f'{name}.bias', f'{path}/bias', 'Y->Y')

  tower = 'PaliGemma/img'
  yield Rule(
    f'{_VISION}.embeddings.patch_embedding.weight', f'{tower}/embedding/kernel', 'PQCW->W,C,P,Q'
  )
  yield Rule(f'{_VISION}.embeddings.patch_embedding.bias', f'{tower}/embedding/bias', 'W->W')
  yield Rule(
    f'{_VISION}.embeddings.position_embedding.weight', f'{tower}/pos_embedding', 'TW->T,W', (0,)
  )
  block, theirs = f'{tower}/Transformer/encoderblock', f'{_VISION}.encoder.layers.{{}}'
  yield from layer_norm(f'{theirs}.layer_norm1', f'{block}/LayerNorm_0')
  yield from layer_norm(f'{theirs}.layer_norm2', f'{block}/LayerNorm_1')
  yield from dense(f'{theirs}.mlp.fc1', f'{block}/MlpBlock_0/Dense_0')
  yield from dense(f'{theirs}.mlp.fc2', f'{block}/MlpBlock_0/Dense_1')
  attention = f'{block}/MultiHeadDotProductAttention_0'
  for letter, ours in (('q', 'query'), ('k', 'key'), ('v', 'value')):
    name = f'{theirs}.self_attn.{letter}_proj'
    yield Rule(f'{name}.weight', f'{attention}/{ours}/kernel', 'WNH->NH,W')
    yield Rule(f'{name}.bias', f'{attention}/{ours}/bias', 'NH->NH')
  yield Rule(f'{theirs}.self_attn.out_proj.weight', f'{attention}/out/kernel', 'NHW->W,NH')
  yield Rule(f'{theirs}.self_attn.out_proj.bias', f'{attention}/out/bias', 'W->W')
  yield from layer_norm(f'{_VISION}.post_layernorm', f'{tower}/Transformer/encoder_norm')
  projector = 'paligemma_with_expert.paligemma.model.multi_modal_projector.linear'
  yield from dense(projector, f'{tower}/head')

  llm = 'PaliGemma/llm'
  yield Rule(EMBEDDING, f'{llm}/embedder/input_embedding', 'VD->V,D')
  for prefix, ending in ((_LANGUAGE, ''), (_EXPERT, '_1')):
    theirs, layers = f'{prefix}.layers.{{}}', f'{llm}/layers'
    attn, mlp = f'{layers}/attn', f'{layers}/mlp{ending}'
    yield Rule(f'{theirs}.self_attn.q_proj.weight', f'{attn}/q_einsum{ending}/w', 'NDH->NH,D')
    for part, letter in enumerate('kv'):
      name = f'{theirs}.self_attn.{letter}_proj.weight'
      yield Rule(name, f'{attn}/kv_einsum{ending}/w', 'KDH->KH,D', (part,))
    yield Rule(
      f'{theirs}.self_attn.o_proj.weight', f'{attn}/attn_vec_einsum{ending}/w', 'NHD->D,NH'
    )
    for part, which in enumerate(('gate', 'up')):
      name = f'{theirs}.mlp.{which}_proj.weight'
      yield Rule(name, f'{mlp}/gating_einsum', 'DF->F,D', (part,))
    yield Rule(f'{theirs}.mlp.down_proj.weight', f'{mlp}/linear', 'FD->D,F')
  for name, ours in (
    (f'{_LANGUAGE}.layers.{{}}.input_layernorm', f'{llm}/layers/pre_attention_norm'),
    (f'{_LANGUAGE}.layers.{{}}.post_attention_layernorm', f'{llm}/layers/pre_ffw_norm'),
    (f'{_LANGUAGE}.norm', f'{llm}/final_norm'),
  ):
    yield Rule(f'{name}.weight', f'{ours}/scale', 'D->D')
  for name, ours in (
    (f'{_EXPERT}.layers.{{}}.input_layernorm', f'{llm}/layers/pre_attention_norm_1'),
    (f'{_EXPERT}.layers.{{}}.post_attention_layernorm', f'{llm}/layers/pre_ffw_norm_1'),
    (f'{_EXPERT}.norm', f'{llm}/final_norm_1'),
  ):
    yield from dense(f'{name}.dense', f'{ours}/Dense_0')
  for name in ('action_in_proj', 'action_out_proj', 'time_mlp_in', 'time_mlp_out'):
    yield from dense(name, name)


RULES = tuple(_rules())


def tensors(
  leaves: Mapping[str, trees.Shaped],
) -> Iterator[tuple[str, Rule, int]]:
  """Name, rule and layer of every tensor that our leaves become, leaf by leaf.

  Args:
    leaves: arrays or shapes by path.
  """
  for rule in sorted(RULES, key=lambda rule: rule.path):
    for layer in range(leaves[rule.path].shape[0] if rule.stacked else 1):
      yield rule.name.format(layer), rule, layer


def layers(names: Mapping[str, object]) -> dict[str, int]:
  """{what stands before the number: layers} of each stack of layers among the names of tensors."""
  found: dict[str, int] = {}
  for name in names:
    match = re.match(r'(.*\.layers\.)(\d+)\.', name)
    if match:
      found[match[1]] = max(found.get(match[1], 0), int(match[2]) + 1)
  return found
