"""The Transformer critic of App. C.2: readout tokens, state, actions and pooled image tokens.

The sequence is [q_1 .. q_K, s, a_1 .. a_h, x_1 .. x_V] (and one prompt token when asked
for). With K = 2, h = 50 and V = 3 it has the paper's 56 tokens.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from aloe_jax.models import attention


class Head(nn.Module):
  """The MLP from one readout token [..., D] to `outputs` numbers, in float32."""

  outputs: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = nn.LayerNorm(name='norm')(x)
    x = nn.gelu(nn.Dense(x.shape[-1], name='hidden')(x)).astype(jnp.float32)
    return nn.Dense(self.outputs, name='out')(x)


class Projection(nn.Module):
  """The MLP that projects one modality [..., any] into the shared space [..., D].

  Two layers, because the blocks normalise their inputs: how large a number is has to become a
  direction before that, or millimetres at the goal are lost among metres on the way there.
  """

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = nn.gelu(nn.Dense(2 * self.width, name='hidden')(x))
    return nn.Dense(self.width, name='out')(x)


class Trunk(nn.Module):
  """Readout, state, action, image and prompt tokens through the Transformer.

  Attributes:
    readouts: number K of readout tokens.
    width: D (256 in the paper).
    depth: number of layers (6).
    heads: number of attention heads (8).
    mlp_ratio: hidden width of each block's MLP over D.
  """

  readouts: int
  width: int = 256
  depth: int = 6
  heads: int = 8
  mlp_ratio: int = 4

  @nn.compact
  def __call__(
    self,
    features: jax.Array,
    proprio: jax.Array,
    action: jax.Array | None,
    valid: jax.Array | None,
    prompt: jax.Array | None,
  ) -> jax.Array:
    """Returns the final readout states [B, K, D]; shapes as in `Critic`."""
    batch = proprio.shape[0]
    embed = nn.initializers.normal(0.02)
    readout = self.param('readout', embed, (self.readouts, self.width))
    tokens = [
      jnp.broadcast_to(readout, (batch, self.readouts, self.width)),
      Projection(self.width, name='proprio')(proprio)[:, None],
    ]
    attendable = [jnp.ones((batch, self.readouts + 1), bool)]
    if action is not None and valid is not None:
      tokens.append(Projection(self.width, name='action')(action))
      attendable.append(valid)
    tokens.append(Projection(self.width, name='features')(features))
    attendable.append(jnp.ones(features.shape[:2], bool))
    if prompt is not None:
      tokens.append(Projection(self.width, name='language')(prompt)[:, None])
      attendable.append(jnp.ones((batch, 1), bool))
    x = jnp.concatenate(tokens, axis=1)
    x = x + self.param('position', embed, x.shape[1:])[None]
    mask = jnp.concatenate(attendable, axis=1)
    for layer in range(self.depth):
      queries = self.readouts if layer == self.depth - 1 else None
      x = attention.Block(self.heads, self.mlp_ratio, name=f'layer_{layer}')(x, mask, queries)
    return x


class Critic(nn.Module):
  """Q(s, a_{t:t+h}) by K readout tokens, each with a head of its own (App. C.2).

  Attributes:
    ensemble: number K of Q values.
    horizon: action tokens used; those past it are left out (h of the chunk, or e, the steps
      executed, for the backup that re-planning does not bias).
    width, depth, heads, mlp_ratio: of the Transformer.
  """

  ensemble: int
  horizon: int
  width: int = 256
  depth: int = 6
  heads: int = 8
  mlp_ratio: int = 4

  @nn.compact
  def __call__(
    self,
    features: jax.Array,
    proprio: jax.Array,
    action: jax.Array,
    valid: jax.Array,
    prompt: jax.Array | None = None,
  ) -> jax.Array:
    """Evaluates action chunks.

    Args:
      features: [B, V, F], one pooled vector per camera from the frozen encoder.
      proprio: [B, 32].
      action: [B, h, A] with h >= horizon.
      valid: [B, h] bool, False on actions past the end of the fragment: not attended to.
      prompt: [B, E] embedding of the prompt, or None.

    Returns:
      [K, B] Q values, float32.
    """
    x = Trunk(
      self.ensemble, self.width, self.depth, self.heads, self.mlp_ratio, name='transformer'
    )(features, proprio, action[:, : self.horizon], valid[:, : self.horizon], prompt)
    heads = nn.vmap(Head, variable_axes={'params': 0}, split_rngs={'params': True}, in_axes=1)
    return heads(outputs=1, name='heads')(x)[..., 0]


class FullEnsemble(nn.Module):
  """K whole critics with nothing shared: `critic.ensemble=full`. Attributes as in `Critic`."""

  ensemble: int
  horizon: int
  width: int = 256
  depth: int = 6
  heads: int = 8
  mlp_ratio: int = 4

  @nn.compact
  def __call__(
    self,
    features: jax.Array,
    proprio: jax.Array,
    action: jax.Array,
    valid: jax.Array,
    prompt: jax.Array | None = None,
  ) -> jax.Array:
    """Returns [K, B] Q values; arguments as in `Critic`."""
    members = nn.vmap(
      Critic,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=None,
      axis_size=self.ensemble,
    )
    q = members(
      1, self.horizon, self.width, self.depth, self.heads, self.mlp_ratio, name='members'
    )(features, proprio, action, valid, prompt)
    return q[:, 0]


class ValueCritic(nn.Module):
  """The distributional state value of AWR (App. C.3): the same Transformer, no actions, K = 1.

  Attributes:
    bins: number of bins of the value distribution (256).
    width, depth, heads, mlp_ratio: of the Transformer.
  """

  bins: int = 256
  width: int = 256
  depth: int = 6
  heads: int = 8
  mlp_ratio: int = 4

  @nn.compact
  def __call__(
    self, features: jax.Array, proprio: jax.Array, prompt: jax.Array | None = None
  ) -> jax.Array:
    """Returns [B, bins] logits of p(V | s); arguments as in `Critic`."""
    x = Trunk(1, self.width, self.depth, self.heads, self.mlp_ratio, name='transformer')(
      features, proprio, None, None, prompt
    )
    return Head(self.bins, name='head')(x[:, 0])
