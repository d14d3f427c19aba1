"""π0.5: a vision-language model whose cache an action expert reads to denoise a chunk.

The prefix (cameras through SigLIP, then the prompt, which holds the discretised state) runs once;
the expert's action tokens attend to its keys and values and to each other, conditioned on the flow
time through adaptive norms. Parameter names and shapes are those of openpi's checkpoints.

Legend: B batch, S prefix tokens, L prompt tokens, h chunk horizon, A action width, D widths.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from aloe_jax import types
from aloe_jax.models import flow
from aloe_jax.models import gemma
from aloe_jax.models import grouped_attention
from aloe_jax.models import lora
from aloe_jax.models import siglip
from aloe_jax.parallel import activations
from aloe_jax.preprocessing import images as images_lib


@flax.struct.dataclass
class Cache:
  """What the prefix leaves for the expert.

  Attributes:
    layers: keys and values, [depth, B, S, K, H] each.
    valid: [B, S] bool, False on masked cameras and padding.
  """

  layers: gemma.Cache
  valid: jax.Array


@dataclasses.dataclass(frozen=True)
class Vision:
  """Sizes of the image tower, as in `siglip.SigLip`."""

  width: int
  depth: int
  mlp_dim: int
  heads: int
  patch: int


def make(
  sizes: Mapping[str, Any],
  *,
  horizon: int,
  dtype: Any = jnp.float32,
  remat: str = 'none',
  unroll: bool = False,
) -> 'Pi05':
  """The actor of some sizes.

  Args:
    sizes: `vision`, `language` and `expert`, each a mapping, and `vocab_size`, `action_size` and
      `image_size`, as the presets of experiments/common.py have them; of `lora`, where there is
      one, the ranks of `language` and `expert` and their `scale`.
    horizon: h.
    dtype, remat, unroll: as in `Pi05`.
  """
  adapters = sizes.get('lora', {})
  language = gemma.Expert(
    **sizes['language'],
    lora_rank=adapters.get('language', 0),
    lora_scale=adapters.get('scale', 1.0),
  )
  expert = dataclasses.replace(
    language, **sizes['expert'], adaptive=True, lora_rank=adapters.get('expert', 0)
  )
  return Pi05(
    horizon=horizon,
    action_size=sizes['action_size'],
    vision=Vision(**sizes['vision']),
    language=language,
    expert=expert,
    vocab_size=sizes['vocab_size'],
    image_size=sizes['image_size'],
    dtype=dtype,
    remat=remat,
    unroll=unroll,
  )


def sizes_of(params: Mapping[str, Any]) -> dict[str, Any]:
  """The sizes that parameters, or their shapes, belong to: what `make` takes."""
  tower, language = params['PaliGemma']['img'], params['PaliGemma']['llm']
  layers = language['layers']
  depth, heads, width, head_dim = layers['attn']['q_einsum']['w'].shape
  return dict(
    vision=siglip.sizes_of(tower),
    language=dict(
      width=width,
      depth=depth,
      mlp_dim=layers['mlp']['linear'].shape[1],
      heads=heads,
      kv_heads=layers['attn']['kv_einsum']['w'].shape[2],
      head_dim=head_dim,
    ),
    expert=dict(
      width=layers['attn']['q_einsum_1']['w'].shape[2],
      mlp_dim=layers['mlp_1']['linear'].shape[1],
    ),
    vocab_size=language['embedder']['input_embedding'].shape[0],
    action_size=params['action_in_proj']['kernel'].shape[0],
    image_size=siglip.image_size_of(tower),
    lora=lora.ranks(language),
  )


class PaliGemma(nn.Module):
  """Image tower `img` and language model `llm`, the action expert beside the latter's layers."""

  vision: Vision
  experts: tuple[gemma.Expert, ...]
  vocab_size: int
  dtype: Any
  remat: str
  unroll: bool

  def setup(self) -> None:
    how = dict(dtype=self.dtype, remat=self.remat, unroll=self.unroll)
    self.img = siglip.SigLip(**dataclasses.asdict(self.vision), head=self.experts[0].width, **how)
    self.llm = gemma.Gemma(self.experts, self.vocab_size, **how)


class Pi05(nn.Module):
  """The actor. `prefix` and `velocity` are the door that every flow-matching actor has.

  Attributes:
    horizon: h, steps of a chunk.
    action_size: A of the network (32); narrower actions are padded with zeros.
    vision: sizes of the image tower.
    language: sizes of the language model.
    expert: sizes of the action expert, whose norms are adaptive.
    vocab_size: of the prompt's tokenizer.
    image_size: edge in pixels of the images, a multiple of the patch.
    cameras: their order in the prefix.
    dtype: of the computation of tower, language model and expert. Patch and position
      embeddings, the flow time, norms, the expert's softmax and the rotations are in float32.
    remat: what the backward pass recomputes, see `remat.apply`.
    unroll: lay the layers out one after another, for counting FLOPs.
  """

  horizon: int
  action_size: int
  vision: Vision
  language: gemma.Expert
  expert: gemma.Expert
  vocab_size: int
  image_size: int = 224
  cameras: tuple[str, ...] = types.CAMERAS
  dtype: Any = jnp.float32
  remat: str = 'none'
  unroll: bool = False

  def setup(self) -> None:
    experts = (self.language, self.expert)
    self.PaliGemma = PaliGemma(
      self.vision, experts, self.vocab_size, self.dtype, self.remat, self.unroll
    )
    self.action_in_proj = nn.Dense(self.expert.width)
    self.time_mlp_in = nn.Dense(self.expert.width)
    self.time_mlp_out = nn.Dense(self.expert.width)
    self.action_out_proj = nn.Dense(self.action_size)

  def embed_images(self, observation: types.Observation) -> tuple[jax.Array, jax.Array]:
    """Tokens [B, V * T, D] of the cameras in their order, and which are of a present one.

    A masked camera is encoded all the same, and attended to by nobody.

    Raises:
      ValueError: naming a camera that is missing, or whose images are of another size.
    """
    tokens, valid = [], []
    masks = observation.image_masks or {}
    for camera in self.cameras:
      images = (observation.images or {}).get(camera)
      expected = (self.image_size, self.image_size, 3)
      if images is None or images.shape[1:] != expected:
        found = 'nothing' if images is None else list(images.shape[1:])
        raise ValueError(
          f'images of camera {camera!r}: found {found}, expected {list(expected)} each; a camera '
          'that is not there is given as zeros, with image_masks False.'
        )
      encoded, _ = self.PaliGemma.img(images_lib.to_model_range(activations.rows(images)))
      present = masks.get(camera, jnp.ones(encoded.shape[0], bool))
      tokens.append(encoded)
      valid.append(jnp.broadcast_to(jnp.asarray(present)[:, None], encoded.shape[:2]))
    return jnp.concatenate(tokens, axis=1), jnp.concatenate(valid, axis=1)

  def embed_prefix(self, observation: types.Observation) -> tuple[jax.Array, jax.Array]:
    """Tokens [B, S, D] and their validity [B, S]: cameras, then the prompt."""
    images, present = self.embed_images(observation)
    words = self.PaliGemma.llm.embed(observation.prompt_tokens)
    valid = jnp.concatenate([present, jnp.asarray(observation.prompt_mask)], axis=1)
    return activations.rows(jnp.concatenate([images, words], axis=1)), valid

  def run_prefix(self, observation: types.Observation) -> tuple[jax.Array, Cache]:
    """Normed output tokens [B, S, D] of the language model, and the cache it leaves."""
    tokens, valid = self.embed_prefix(observation)
    outputs, layers = self.PaliGemma.llm((tokens, None), *_positions_and_mask(valid))
    return jnp.asarray(outputs[0]), Cache(layers, valid)

  def prefix(self, observation: types.Observation) -> Cache:
    """Runs tower and language model once; `observation.images` set, B any batch.

    For sampling: what the cache alone does not need is left out, see `gemma.Gemma.fill`.
    """
    tokens, valid = self.embed_prefix(observation)
    return Cache(self.PaliGemma.llm.fill(tokens, *_positions_and_mask(valid)), valid)

  def embed_suffix(self, noisy_action: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Action tokens [B, h, D] and the condition [B, D] of the expert's norms, both float32."""
    embedded = activations.rows(flow.time_embedding(time, self.expert.width))
    hidden = activations.rows(nn.swish(self.time_mlp_in(embedded)))
    condition = activations.rows(nn.swish(self.time_mlp_out(hidden)))
    return activations.rows(self.action_in_proj(noisy_action)), condition

  def velocity(self, cache: Cache, noisy_action: jax.Array, time: jax.Array) -> jax.Array:
    """The flow's velocity, which points from data to noise (Eq. 15).

    Args:
      cache: of `prefix`.
      noisy_action: [B, h, A].
      time: [B], t = 1 - eta: 1 is noise.

    Returns:
      [B, h, A].
    """
    tokens, condition = self.embed_suffix(noisy_action, time)
    batch, size, _ = tokens.shape
    seen = jnp.concatenate([cache.valid, jnp.ones((batch, size), bool)], axis=1)
    mask = jnp.broadcast_to(seen[:, None], (batch, size, seen.shape[1]))
    positions = jnp.sum(cache.valid, axis=1, keepdims=True) + jnp.arange(size)[None, :]
    conditions = (None, condition)
    (_, out), _ = self.PaliGemma.llm((None, tokens), positions, mask, conditions, cache.layers)
    return activations.rows(self.action_out_proj(out))

  def __call__(
    self, observation: types.Observation, noisy_action: jax.Array, time: jax.Array
  ) -> jax.Array:
    """`velocity` of the prefix: what one training step evaluates, [B, h, A]."""
    return self.velocity(self.run_prefix(observation)[1], noisy_action, time)


def _positions_and_mask(valid: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Of a prefix [B, S], whose tokens all see each other: [B, S] and [B, S, S]."""
  mask = grouped_attention.attention_mask(valid, jnp.zeros(valid.shape[1], bool))
  return jnp.cumsum(valid, axis=1) - 1, mask
