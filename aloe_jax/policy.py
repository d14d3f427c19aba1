"""The policy: one object for rollouts, the bank, evaluation and serving."""

import hashlib
from typing import Any

from flax import linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import best_of
from aloe_jax import types
from aloe_jax.models import first_use
from aloe_jax.models import flow
from aloe_jax.parallel import hosts
from aloe_jax.preprocessing import inputs as inputs_lib


@flax.struct.dataclass
class Policy:
  """A flow-matching actor with its parameters and all that turns sights into actions.

  A pytree: passed to a compiled function, new parameters do not compile it again.

  Attributes:
    params: variables of the actor (the moving average, where it acts on a robot).
    chooser: picks one of several chunks, or None to act on the first.
    actor: the module.
    inputs: how states, actions and prompts are put to the network, the same as in training.
    prompt: what the robot is asked to do.
    action_size: A of the robot; the network's may be wider.
    flow_steps: Euler steps of the sampler.
    guidance: scale of classifier-free guidance towards actions that are tagged as positive; 1 is
      the tag alone. None for an actor that was not taught tags.
  """

  params: Any
  chooser: best_of.Chooser | None = None
  actor: nn.Module = flax.struct.field(pytree_node=False, kw_only=True)
  inputs: inputs_lib.Inputs = flax.struct.field(pytree_node=False, kw_only=True)
  prompt: str = flax.struct.field(pytree_node=False, kw_only=True)
  action_size: int = flax.struct.field(pytree_node=False, kw_only=True)
  flow_steps: int = flax.struct.field(pytree_node=False, kw_only=True)
  guidance: float | None = flax.struct.field(pytree_node=False, kw_only=True, default=None)

  @property
  def tag(self) -> types.Tag:
    """What the actor is told of the chunk that it is to choose."""
    return types.Tag.NONE if self.guidance is None else types.Tag.POSITIVE

  @property
  def is_guided(self) -> bool:
    """Whether what the tag changes is scaled, for which the untagged prompt is read too."""
    return self.guidance not in (None, 1)

  @property
  def samples(self) -> int:
    """M, chunks that are drawn for one that is acted on."""
    return 1 if self.chooser is None else self.chooser.samples

  @property
  def chunk_shape(self) -> tuple[int, int]:
    """(h, A) of the robot."""
    return self.actor.horizon, self.action_size

  def noise(self, key: jax.Array, index: types.Array, samples: int) -> jax.Array:
    """What `sample` starts from, [B, M, h, A of the network]; see `flow.chunk_noise`."""
    return flow.chunk_noise(key, index, samples, (self.actor.horizon, self.actor.action_size))

  def observation(self, sight: types.Sight, tag: types.Tag = types.Tag.NONE) -> types.Observation:
    """A batch of sights as the network takes them, with one tag for all; may be compiled."""
    proprio = self.inputs.proprio(sight.state)
    batch = len(proprio)
    if self.inputs.tokenizer.discrete_state:
      length = self.inputs.tokenizer.max_length
      shapes = [jax.ShapeDtypeStruct((batch, length), kind) for kind in (np.int32, np.bool_)]
      prompts, tags = [self.prompt] * batch, [tag] * batch
      tokens, mask = jax.pure_callback(
        lambda states: self.inputs.prompts(prompts, np.asarray(states), tags), shapes, proprio
      )
    else:
      told = self.inputs.prompts([self.prompt], None, [tag])
      tokens, mask = (jnp.tile(x, (batch, 1)) for x in told)
    return types.Observation(
      proprio=proprio,
      prompt_tokens=tokens,
      prompt_mask=mask,
      features=sight.features,
      images=sight.images,
      image_masks=sight.image_masks,
    )

  def act(
    self, sight: types.Sight, key: jax.Array, index: types.Array | None = None
  ) -> types.Array:
    """One chunk [B, h, A] per sight, in the robot's units; see `act_on`."""
    untagged = self.observation(sight) if self.is_guided else None
    return self.act_on(self.observation(sight, self.tag), untagged, sight.state, key, index)

  def act_on(
    self,
    observation: types.Observation,
    untagged: types.Observation | None,
    state: types.Array,
    key: jax.Array,
    index: types.Array | None = None,
  ) -> types.Array:
    """`act` from observations that were made beforehand.

    Args:
      observation: B of them, whose prompts tell `tag`.
      untagged: the same without a tag; None unless `is_guided`.
      state: [B, n] in the robot's units.
      key: of the noise.
      index: [B], which with the key decides the noise of each row; by default its place b.

    Returns:
      [B, h, A] in the robot's units.
    """
    index = jnp.arange(len(observation.proprio)) if index is None else index
    noise = self.noise(key, index, self.samples)
    return self.act_from(observation, untagged, state, noise)

  def act_from(
    self,
    observation: types.Observation,
    untagged: types.Observation | None,
    state: types.Array,
    noise: jax.Array,
    in_flight: flow.InFlight | None = None,
  ) -> types.Array:
    """`act_on` from given noise [B, M, h, A of the network], M as `samples` says.

    Args:
      observation, untagged, state: as for `act_on`.
      noise: standard normal.
      in_flight: what the chunks go on from, of the network's width; None for fresh ones.
    """
    if untagged is None:
      chunks = self.sample(observation, noise, in_flight)
    else:
      chunks = self.sample_guided(observation, untagged, noise, in_flight)
    chunk = chunks[:, 0] if self.chooser is None else self.chooser.pick(observation, chunks)
    return self.inputs.undo_chunk(chunk, state)

  def sample(
    self,
    observation: types.Observation,
    noise: jax.Array,
    in_flight: flow.InFlight | None = None,
  ) -> jax.Array:
    """M normalised chunks [B, M, h, A] per state from given noise, as they are carried out."""
    actor, steps = self.actor, self.flow_steps
    chunks = flow.sample_actions(actor, self.params, observation, noise, steps, in_flight)
    return self.inputs.carried_out(chunks[..., : self.action_size], observation.proprio)

  def rounded(self, observation: types.Observation) -> 'Policy':
    """This policy with its parameters in the types that `sample` reads them in.

    It draws the same chunks, bit for bit: of a network that computes in half precision from half
    the memory. Leaves that are read as they are, and all of a network that computes in float32,
    are this policy's own.

    Args:
      observation: of any number of states; its shapes count alone.
    """
    if not first_use.narrows(self.actor):
      return self
    noise = jax.ShapeDtypeStruct(
      (len(observation.proprio), 1, self.actor.horizon, self.actor.action_size), jnp.float32
    )

    def sample(params: Any, *given: Any) -> types.Array:
      return self.replace(params=params).sample(*given)

    kinds = first_use.types(sample, self.params, observation, noise)
    return self.replace(params=first_use.rounded(self.params, kinds))

  def sample_guided(
    self,
    observation: types.Observation,
    untagged: types.Observation,
    noise: jax.Array,
    in_flight: flow.InFlight | None = None,
  ) -> jax.Array:
    """`sample` with guidance: what the tag changes, times the scale."""
    actor, steps = self.actor, self.flow_steps
    chunks = flow.sample_guided(
      actor, self.params, observation, untagged, self.guidance, noise, steps, in_flight
    )
    return self.inputs.carried_out(chunks[..., : self.action_size], observation.proprio)


def fingerprint(params: Any) -> str:
  """SHA-256 over the names, shapes and values of parameters, 16 hex digits."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    leaf = hosts.whole(leaf)
    digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'.encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()[:16]
