"""Run by hand: lerobot's own π0.5 loads an export, and gives the numbers that openpi recorded.

In an environment of its own, with torch, torchvision, transformers 4.53 and lerobot 0.4, and with
jax, flax, ml-collections, etils, absl-py and sentencepiece to write the export:

  python tests/lerobot_check.py

Weights, inputs and numbers are those of golden/pi05_case_a.npz, which openpi wrote. lerobot 0.4
wants a transformers that was changed for π0.5 and is on no index. `change_transformers` makes the
same changes: norms that a condition scales, shifts and gates; images that are not divided by the
square root of the width; words that are not multiplied by it once more; a cache that sampling reads
and does not add to.
"""

import copy
import dataclasses
import pathlib
import sys
import tempfile
import types

from flax import traverse_util
import numpy as np
import safetensors.torch
import torch
from torch import nn
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.models.gemma import modeling_gemma
from transformers.models.paligemma import modeling_paligemma
import transformers.models.siglip

from aloe_jax import defaults
from aloe_jax.models import pi05
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer
from aloe_jax.pretrained import deployment
from aloe_jax.pretrained import lerobot_files
from aloe_jax.pretrained import pytorch

GOLDEN = pathlib.Path(__file__).parent / 'golden'
SIZE = 14  # of the state and of an action
TOLERANCE = 1e-4


class Norm(nn.Module):
  """RMSNorm, which with a condition is scaled and shifted by it and gives a gate."""

  def __init__(self, config):
    super().__init__()
    width, condition = config.hidden_size, getattr(config, 'adarms_cond_dim', None)
    if condition:
      self.dense = nn.Linear(condition, 3 * width)
    else:
      self.weight = nn.Parameter(torch.zeros(width))

  def forward(self, x, cond=None):
    normed = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
    if cond is None:
      return (normed * (1 + self.weight.float())).type_as(x), None
    scale, shift, gate = self.dense(cond)[:, None].chunk(3, dim=-1)
    return (normed * (1 + scale) + shift).type_as(x), gate.type_as(x)


def gated(x, y, gate):
  return x + y if gate is None else x + y * gate


class Layer(nn.Module):
  def __init__(self, config, layer_idx):
    super().__init__()
    self.self_attn = modeling_gemma.GemmaAttention(config, layer_idx)
    self.mlp = modeling_gemma.GemmaMLP(config)
    self.input_layernorm, self.post_attention_layernorm = Norm(config), Norm(config)

  def forward(self, x, angles, mask, cache, cond):
    normed, gate = self.input_layernorm(x, cond)
    attended, _ = self.self_attn(normed, angles, mask, past_key_value=cache)
    x = gated(x, attended, gate)
    normed, gate = self.post_attention_layernorm(x, cond)
    return gated(x, self.mlp(normed), gate)


def run_gemma(
  self, inputs_embeds, attention_mask, position_ids, past_key_values, use_cache, adarms_cond
):
  cache = copy.deepcopy(past_key_values) if not use_cache else past_key_values or DynamicCache()
  angles, x = self.rotary_emb(inputs_embeds, position_ids), inputs_embeds
  for layer in self.layers:
    x = layer(x, angles, attention_mask, cache, adarms_cond)
  return BaseModelOutputWithPast(self.norm(x, adarms_cond)[0], cache)


def change_transformers():
  init = modeling_gemma.GemmaModel.__init__

  def make(self, config):
    init(self, config)
    self.norm = Norm(config)

  modeling_gemma.GemmaModel.__init__ = make
  modeling_gemma.GemmaModel.forward = run_gemma
  modeling_gemma.GemmaDecoderLayer = Layer
  modeling_gemma._gated_residual = gated
  modeling_paligemma.PaliGemmaModel.get_image_features = lambda self, images: (
    self.multi_modal_projector(self.vision_tower(images).last_hidden_state)
  )
  check = types.ModuleType('transformers.models.siglip.check')
  check.check_whether_transformers_replace_is_installed_correctly = lambda: True
  transformers.models.siglip.check = check
  sys.modules[check.__name__] = check


def resize(modeling, sizes):
  """Gives lerobot's model, which knows the published sizes alone, those of the recorded one."""
  vision, language = sizes['vision'], sizes['language']
  tower = {
    'hidden_size': vision['width'],
    'num_hidden_layers': vision['depth'],
    'num_attention_heads': vision['heads'],
    'intermediate_size': vision['mlp_dim'],
    'patch_size': vision['patch'],
    'projection_dim': language['width'],
  }

  make = modeling.PaliGemmaForConditionalGeneration

  def paligemma(config):
    for name, size in tower.items():
      setattr(config.vision_config, name, size)
    return make(config)

  def variant(name):
    own = language if name == 'gemma_2b' else language | sizes['expert']
    names = ('width', 'depth', 'mlp_dim', 'heads', 'kv_heads', 'head_dim')
    return modeling.GemmaConfig(*(own[each] for each in names))

  modeling.get_gemma_config = variant
  modeling.PaliGemmaForConditionalGeneration = paligemma


def read_case():
  """The recorded case, and its parameters with a vocabulary of the published size."""
  with np.load(GOLDEN / 'pi05_case_a.npz') as file:
    case = dict(file)
  leaves = {key.removeprefix('params/'): x for key, x in case.items() if key.startswith('params/')}
  table = 'PaliGemma/llm/embedder/input_embedding'
  rows = defaults.PI05['vocab_size'] - len(leaves[table])
  leaves[table] = np.pad(leaves[table], ((0, rows), (0, 0)))
  return case, traverse_util.unflatten_dict(leaves, sep='/')


def export(directory, case, params):
  sizes = pi05.sizes_of(params)
  rng = np.random.default_rng(0)
  low, width = rng.normal(size=(2, SIZE)), rng.uniform(0.5, 2, size=(2, SIZE))
  width[:, 3] = 1e-6  # hardly moves
  stats = {
    key: normalize.as_used(normalize.Stats(low[i], width[i], low[i], low[i] + width[i]))
    for i, key in enumerate(('state', 'actions'))
  }
  told = deployment.Deployment(
    name='pi05_case_a',
    asset='robot',
    prompt='Fold the t-shirt',
    cameras=tuple(deployment.OPENPI_CAMERAS),
    state_size=SIZE,
    action_size=SIZE,
    delta=(),
    normalization='quantile',
    horizon=case['inputs/actions'].shape[1],
    execute=5,
    control_hz=30.0,
    flow_steps=10,
    prompt_length=200,
    sizes=sizes,
  )
  pytorch.write(directory, params)
  lerobot_files.write(directory, told, stats)
  return sizes, told, stats


def seen(case):
  images, masks = [], []
  for camera in deployment.OPENPI_CAMERAS.values():
    pixels = torch.from_numpy(case[f'inputs/image_uint8/{camera}']).permute(0, 3, 1, 2)
    images.append(pixels.float() / 255 * 2 - 1)
    masks.append(torch.from_numpy(case[f'inputs/image_mask/{camera}']))
  tokens = torch.from_numpy(case['inputs/tokenized_prompt']).long()
  return images, masks, tokens, torch.from_numpy(case['inputs/tokenized_prompt_mask'])


def largest(name, found, expected):
  error = np.abs(np.asarray(found) - np.asarray(expected)).max()
  print(f'{name}: largest difference {error:.2g}')
  assert error < TOLERANCE, name


def check_velocity(model, case):
  """At the recorded times, from the cache that sampling fills."""
  kept = {}
  denoise = model.denoise_step

  def keep(**given):
    kept.update(given)
    return denoise(**given)

  model.denoise_step = keep
  noise = torch.from_numpy(case['inputs/sample_noise'])
  for steps, name in ((10, 'sample_actions'), (1, 'sample_actions_1step')):
    found = model.sample_actions(*seen(case), noise=noise, num_steps=steps)
    largest(name, found, case[f'outputs/{name}'])
  given = kept | {
    'x_t': torch.from_numpy(case['outputs/x_t']),
    'timestep': torch.from_numpy(case['inputs/time']),
  }
  with torch.no_grad():
    largest('velocity', denoise(**given), case['outputs/v_t'])


class Texts:
  """Stands for the tokenizer, which is on a hub; keeps the texts that it is given."""

  def __init__(self):
    self.texts = []

  def __call__(self, texts, max_length, **_):
    self.texts += texts
    ids = torch.ones(len(texts), max_length, dtype=torch.long)
    return {'input_ids': ids, 'attention_mask': ids}


def check_around(directory, told, stats):
  """lerobot's steps before and after the network give what ours give."""
  from lerobot.processor import PolicyProcessorPipeline
  from lerobot.processor import converters

  words = Texts()
  before = PolicyProcessorPipeline.from_pretrained(
    directory,
    config_filename='policy_preprocessor.json',
    overrides={'tokenizer_processor': {'tokenizer': words, 'tokenizer_name': None}},
  )
  after = PolicyProcessorPipeline.from_pretrained(
    directory,
    config_filename='policy_postprocessor.json',
    to_transition=converters.policy_action_to_transition,
    to_output=converters.transition_to_policy_action,
  )
  vocabulary = tokenizer.Words(1000)
  ours = inputs_lib.Inputs(
    tokenizer.PromptTokenizer(vocabulary, told.prompt_length, discrete_state=True),
    normalize.Quantile(stats['state'], 'state'),
    normalize.Quantile(stats['actions'], 'actions'),
    state_size=SIZE,
  )
  state = np.random.default_rng(1).normal(size=(1, SIZE)).astype(np.float32)
  given = {'observation.state': torch.from_numpy(state[0]), 'task': told.prompt}
  largest('state', before(given)['observation.state'], ours.state(state))
  told_state = ours.proprio(state)[0, :SIZE]
  assert words.texts == [ours.tokenizer.text(told.prompt, told_state)], words.texts
  print(f'prompt: {words.texts[0]!r}')
  chunk = np.random.default_rng(2).normal(size=(1, 10, SIZE)).astype(np.float32)
  largest('actions', after(torch.from_numpy(chunk)), ours.undo_chunk(chunk, state))


def check_relative(directory, told, stats):
  """A version of lerobot that cannot make actions absolute has to refuse the files."""
  from lerobot.processor import PolicyProcessorPipeline
  from lerobot.processor import ProcessorStepRegistry

  lerobot_files.write(directory, dataclasses.replace(told, delta=(6, -1, 6, -1)), stats)
  if 'relative_actions_processor' in ProcessorStepRegistry.list():
    return
  try:
    PolicyProcessorPipeline.from_pretrained(directory, config_filename='policy_preprocessor.json')
  except Exception as error:
    print(f'relative actions are refused: {error.args[0][:90]}')
  else:
    raise AssertionError('lerobot read steps that it does not have')


def main():
  change_transformers()
  from lerobot.policies.pi05 import modeling_pi05

  case, params = read_case()
  with tempfile.TemporaryDirectory() as temporary:
    directory = pathlib.Path(temporary)
    sizes, told, stats = export(directory, case, params)
    resize(modeling_pi05, sizes)
    policy = modeling_pi05.PI05Policy.from_pretrained(directory)
    policy.eval()
    check_velocity(policy.model, case)
    # As openpi reads it, which refuses names that are missing or too many.
    safetensors.torch.load_model(policy.model, directory / pytorch.FILE)
    print(f'{len(list(policy.model.named_parameters()))} parameters, all in the file')
    check_around(directory, told, stats)
    policy.save_pretrained(directory / 'again')
    restored = pytorch.restore(directory / 'again', pytorch.shapes(directory / 'again', params))
    again = traverse_util.flatten_dict(restored, sep='/')
    for path, x in traverse_util.flatten_dict(params, sep='/').items():
      np.testing.assert_array_equal(again[path], x, path)
    print(f'what lerobot saves is read back bit for bit: {len(again)} arrays')
    check_relative(directory, told, stats)


if __name__ == '__main__':
  main()
