"""Gemma with several experts that share their attention, under openpi's parameter names.

Expert 0 is PaliGemma's language model and its leaves carry no suffix, so that published weights
drop in; those of expert i > 0 carry `_i`. All experts attend to each other's tokens in one joint
attention; everything else of a layer belongs to one expert. Any expert may be absent from a call:
a prefix leaves its keys and values in a cache for later calls of another expert.

Einsum legend: B batch, T query tokens, S key tokens, N heads, K key-value heads, H head width,
D width of an expert, M hidden width of its MLP.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from aloe_jax.models import grouped_attention
from aloe_jax.models import lora
from aloe_jax.models import remat as remat_lib
from aloe_jax.parallel import activations


@dataclasses.dataclass(frozen=True)
class Expert:
  """Sizes of one expert; depth, heads, kv_heads and head_dim are the same in all experts.

  Attributes:
    width: D.
    depth: layers.
    mlp_dim: M.
    heads: N.
    kv_heads: K, fewer than N.
    head_dim: H.
    adaptive: norms are modulated by a condition instead of having a scale (adaRMS).
    lora_rank: of adapters beside the weights of attention and MLP, see `lora`; 0 for none.
    lora_scale: what attention's adapters are multiplied by, alpha over rank.
  """

  width: int
  depth: int
  mlp_dim: int
  heads: int
  kv_heads: int
  head_dim: int
  adaptive: bool = False
  lora_rank: int = 0
  lora_scale: float = 1.0


@flax.struct.dataclass
class Cache:
  """Keys, after their rotation, and values of all layers: [depth, B, S, K, H] each."""

  key: jax.Array
  value: jax.Array


class Norm(nn.Module):
  """RMS norm; with a condition its scale, shift and the residual's gate come from that."""

  adaptive: bool

  @nn.compact
  def __call__(
    self, x: jax.Array, condition: jax.Array | None
  ) -> tuple[jax.Array, jax.Array | None]:
    """Maps x [B, T, D] and condition [B, C] to the normed x and the gate [B, 1, D] or None."""
    numbers = x.astype(jnp.float32)
    normed = numbers * jax.lax.rsqrt(jnp.mean(jnp.square(numbers), axis=-1, keepdims=True) + 1e-6)
    if not self.adaptive:
      scale = self.param('scale', nn.initializers.zeros, x.shape[-1:])
      return activations.rows((normed * (1 + scale[None, None, :])).astype(x.dtype)), None
    dense = nn.Dense(3 * x.shape[-1], dtype=x.dtype, kernel_init=nn.initializers.zeros)
    modulation = activations.rows(dense(condition)[:, None])
    scale, shift, gate = jnp.split(modulation, 3, axis=-1)
    return activations.rows((normed * (1 + scale) + shift).astype(x.dtype)), gate


class Einsum(nn.Module):
  """One weight of some shape, contracted with x in the type of x; and its adapter."""

  shape: tuple[int, ...]
  fan_in: tuple[int, ...]  # axes that are summed over
  expert: Expert

  @nn.compact
  def __call__(self, equation: str, x: jax.Array) -> jax.Array:
    others = tuple(axis for axis in range(len(self.shape)) if axis not in self.fan_in)
    init = nn.initializers.variance_scaling(
      1.0, 'fan_in', 'normal', in_axis=self.fan_in, out_axis=others
    )
    out = jnp.einsum(equation, x, self.param('w', init, self.shape).astype(x.dtype))
    if not self.expert.lora_rank:
      return out
    first, second = lora.shapes(self.shape, self.expert.lora_rank)
    into, from_ = lora.equations(equation)
    thin = jnp.einsum(into, x, self.param('lora_a', lora.FIRST, first).astype(x.dtype))
    added = jnp.einsum(from_, thin, self.param('lora_b', lora.SECOND, second).astype(x.dtype))
    return out + added * self.expert.lora_scale


class Attention(nn.Module):
  """Joint attention of the experts present.

  Attributes:
    experts: sizes of each.
    recomputes: whether the backward pass computes logits and softmax again when it comes to them.
      Where a whole block is computed again, they would lie there while its MLP is gone through,
      which is when memory is shortest.
  """

  experts: tuple[Expert, ...]
  recomputes: bool = False

  @nn.compact
  def __call__(
    self,
    inputs: Sequence[jax.Array | None],
    turned: jax.Array,
    mask: jax.Array,
    cache: Cache | None,
    reads: bool = True,
  ) -> tuple[list[jax.Array | None], Cache]:
    """Maps the experts' tokens [B, T_i, D_i] to what they read, and the call's keys and values.

    Without `reads` there are keys and values alone.
    """
    queries, keys, values = [], [], []
    for i, (expert, x) in enumerate(zip(self.experts, inputs, strict=True)):
      if x is None:
        continue
      if reads:
        shape = (expert.heads, expert.width, expert.head_dim)
        query = Einsum(shape, (1,), expert, name=_name('q_einsum', i))('BTD,NDH->BTNH', x)
        queries.append(activations.rows(query))
      pair = (2, expert.kv_heads, expert.width, expert.head_dim)
      key, value = Einsum(pair, (2,), expert, name=_name('kv_einsum', i))('BSD,CKDH->CBSKH', x)
      keys.append(activations.rows(key))
      values.append(activations.rows(value))
    new = Cache(
      grouped_attention.rotate(jnp.concatenate(keys, axis=1), turned),
      jnp.concatenate(values, axis=1),
    )
    if not reads:
      return [None] * len(self.experts), new
    head_dim = self.experts[0].head_dim
    query = grouped_attention.rotate(jnp.concatenate(queries, axis=1), turned) * head_dim**-0.5
    parts = [(part.key, part.value) for part in (cache, new) if part is not None]
    attend = grouped_attention.attend
    reading = jax.checkpoint(attend) if self.recomputes else attend
    read = activations.rows(reading(query, parts, mask))

    outputs: list[jax.Array | None] = []
    start = 0
    for i, (expert, x) in enumerate(zip(self.experts, inputs, strict=True)):
      if x is None:
        outputs.append(None)
        continue
      part = read[:, start : start + x.shape[1]]
      start += x.shape[1]
      shape = (expert.heads, expert.head_dim, expert.width)
      out = Einsum(shape, (0, 1), expert, name=_name('attn_vec_einsum', i))
      outputs.append(activations.rows(out('BTNH,NHD->BTD', part)))
    return outputs, new


class FeedForward(nn.Module):
  """GELU-gated MLP without biases, [B, T, D] -> [B, T, D]; and its adapters."""

  expert: Expert

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    width, mlp_dim = x.shape[-1], self.expert.mlp_dim
    init = nn.initializers.lecun_normal(in_axis=-2, out_axis=-1, batch_axis=(0,))
    gating = self.param('gating_einsum', init, (2, width, mlp_dim)).astype(x.dtype)
    linear = self.param('linear', nn.initializers.lecun_normal(), (mlp_dim, width))
    gate, up = (activations.rows(x @ weight) for weight in (gating[0], gating[1]))
    if self.expert.lora_rank:
      first, second = self._adapter('gating_einsum', (2, width, mlp_dim), x.dtype)
      gate, up = (
        activations.rows(y + activations.rows(x @ first[i]) @ second[i])
        for i, y in enumerate((gate, up))
      )
    hidden = nn.gelu(gate, approximate=True) * up
    out = activations.rows(hidden @ linear.astype(x.dtype))
    if self.expert.lora_rank:
      first, second = self._adapter('linear', (mlp_dim, width), x.dtype)
      out = activations.rows(out + activations.rows(hidden @ first) @ second)
    return out

  def _adapter(self, name: str, shape: tuple[int, ...], dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The two factors beside a weight of some shape."""
    first, second = lora.shapes(shape, self.expert.lora_rank)
    a = self.param(f'{name}_lora_a', lora.FIRST, first)
    b = self.param(f'{name}_lora_b', lora.SECOND, second)
    return a.astype(dtype), b.astype(dtype)


class Block(nn.Module):
  """One layer of all experts; attributes as in `Attention`."""

  experts: tuple[Expert, ...]
  recomputes: bool = False

  @nn.compact
  def __call__(
    self,
    inputs: tuple[jax.Array | None, ...],
    cache: Cache | None,
    turned: jax.Array,
    mask: jax.Array,
    conditions: tuple[jax.Array | None, ...],
    reads: bool = True,
  ) -> tuple[tuple[jax.Array | None, ...], Cache]:
    """The step of a scan over the depth: tokens are carried, the layer's cache goes in and out.

    Without `reads` the tokens stay as they are, and keys and values alone are made of them.
    """

    def normed(name: str, xs: Sequence[jax.Array | None]) -> tuple[list[Any], list[Any]]:
      pairs = [
        (None, None) if x is None else Norm(expert.adaptive, name=_name(name, i))(x, conditions[i])
        for i, (expert, x) in enumerate(zip(self.experts, xs, strict=True))
      ]
      return [y for y, _ in pairs], [gate for _, gate in pairs]

    xs, gates = normed('pre_attention_norm', inputs)
    attention = Attention(self.experts, self.recomputes, name='attn')
    xs, new = attention(xs, turned, mask, cache, reads)
    if not reads:
      return inputs, new
    residual = [_gated(*parts) for parts in zip(inputs, xs, gates, strict=True)]
    xs, gates = normed('pre_ffw_norm', residual)
    xs = [
      None if x is None else FeedForward(expert, name=_name('mlp', i))(x)
      for i, (expert, x) in enumerate(zip(self.experts, xs, strict=True))
    ]
    return tuple(_gated(*parts) for parts in zip(residual, xs, gates, strict=True)), new


class Embedder(nn.Module):
  """The token table of expert 0."""

  vocab_size: int
  width: int

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, L] to rows [B, L, D] times sqrt(D), in the table's own type."""
    table = self.param(
      'input_embedding', nn.initializers.normal(self.width**-0.5), (self.vocab_size, self.width)
    )
    if activations.splits_columns(self.width):
      # Every device looks all tokens up in its columns of the table, and then they swap: neither
      # the table nor the rows of the whole batch are ever together on one.
      found = activations.columns(jnp.take(activations.columns(table), tokens, axis=0))
    else:
      found = jnp.take(table, tokens, axis=0)
    return activations.rows(found) * jnp.sqrt(self.width).astype(found.dtype)


class Gemma(nn.Module):
  """The Transformer.

  Attributes:
    experts: sizes of each.
    vocab_size: rows of the token table.
    dtype: of the computation; norms, rotations and the softmax are in float32.
    remat: see `remat.apply`.
    unroll: lay the layers out one after another, for counting FLOPs.
  """

  experts: tuple[Expert, ...]
  vocab_size: int
  dtype: Any = jnp.float32
  remat: str = 'none'
  unroll: bool = False

  def setup(self) -> None:
    first = self.experts[0]
    for expert in self.experts[1:]:
      for field in ('depth', 'heads', 'kv_heads', 'head_dim'):
        found, wanted = getattr(expert, field), getattr(first, field)
        if found != wanted:
          raise ValueError(f'experts share their attention: {field} is {wanted} and {found}.')
    self.embedder = Embedder(self.vocab_size, first.width)
    self.layers = nn.scan(
      remat_lib.apply(Block, self.remat),
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
      length=first.depth,
      unroll=first.depth if self.unroll else 1,
    )(self.experts, self.remat != 'none')
    for i, expert in enumerate(self.experts):
      setattr(self, _name('final_norm', i), Norm(expert.adaptive))

  def embed(self, tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, L] to [B, L, D] of expert 0."""
    return self.embedder(tokens).astype(self.dtype)

  def __call__(
    self,
    inputs: Sequence[jax.Array | None],
    positions: jax.Array,
    mask: jax.Array,
    conditions: Sequence[jax.Array | None] | None = None,
    cache: Cache | None = None,
  ) -> tuple[list[jax.Array | None], Cache]:
    """Runs all layers.

    Args:
      inputs: embedded tokens [B, T_i, D_i] of each expert, None where it is absent.
      positions: [B, T], T the sum of T_i, in the order of the experts.
      mask: [B, T, S + T] bool, S tokens of the cache first.
      conditions: [B, C] of each adaptive expert, else None.
      cache: of an earlier call.

    Returns:
      Normed tokens of each expert, and the keys and values of this call's tokens alone.
    """
    present = tuple(None if x is None else activations.rows(x.astype(self.dtype)) for x in inputs)
    given = tuple(conditions or [None] * len(self.experts))
    turned = grouped_attention.turns(positions, self.experts[0].head_dim)
    present, new = self.layers(present, cache, turned, mask, given)
    outputs = [
      None if x is None else getattr(self, _name('final_norm', i))(x, given[i])[0]
      for i, x in enumerate(present)
    ]
    return outputs, new

  def fill(self, tokens: jax.Array, positions: jax.Array, mask: jax.Array) -> Cache:
    """The cache that a call of expert 0 alone leaves, and nothing else of it.

    The last layer's keys and values are all of it that is made: its attention and its MLP, and the
    norm at the end, have no reader. Numbers are those of the call, bit for bit. Not for gradients:
    each layer would have one of the size of all layers' weights.

    Args:
      tokens: embedded, [B, T, D].
      positions: [B, T].
      mask: [B, T, T] bool.
    """
    weights, depth = self.layers.variables['params'], self.experts[0].depth
    block, others = Block(self.experts, parent=None), (None,) * (len(self.experts) - 1)
    turned, conditions = (
      grouped_attention.turns(positions, self.experts[0].head_dim),
      (None,) * len(self.experts),
    )

    def layer(i: Any, x: jax.Array, *, reads: bool = True) -> tuple[jax.Array, Cache]:
      own = jax.tree.map(lambda w: jax.lax.dynamic_index_in_dim(w, i, keepdims=False), weights)
      out: Any = block.apply({'params': own}, (x, *others), None, turned, mask, conditions, reads)
      return out[0][0], out[1]

    def step(i: Any, carried: tuple[jax.Array, Cache]) -> tuple[jax.Array, Cache]:
      x, new = layer(i, carried[0])
      return x, put(carried[1], i, new)

    def put(cache: Cache, i: Any, new: Cache) -> Cache:
      return jax.tree.map(lambda all_, one: all_.at[i].set(one), cache, new)

    x = activations.rows(tokens.astype(self.dtype))
    shape = jax.eval_shape(functools.partial(layer, 0, reads=False), x)[1]
    cache = jax.tree.map(lambda one: jnp.zeros((depth, *one.shape), one.dtype), shape)
    x, cache = jax.lax.fori_loop(0, depth - 1, step, (x, cache), unroll=self.unroll)
    return put(cache, depth - 1, layer(depth - 1, x, reads=False)[1])


def _name(module: str, expert: int) -> str:
  return f'{module}_{expert}' if expert else module


def _gated(x: jax.Array | None, y: jax.Array | None, gate: jax.Array | None) -> jax.Array | None:
  if x is None or y is None:
    return None
  return activations.rows(x + y if gate is None else x + y * gate)
