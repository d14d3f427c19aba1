"""What stands between a robot and the network, the same in training and in serving."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.preprocessing import normalize
from aloe_jax.preprocessing import tokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
  """Normalisation, relative actions and the prompt; every map of actions has its inverse.

  `raw` is always the state in the robot's units, [..., n]. NumPy arrays give NumPy arrays, JAX ones
  JAX arrays.

  Attributes:
    tokenizer: of the prompt.
    state: of the n numbers of the state.
    action: of the A numbers of an action, relative where `delta` says so.
    state_size: n.
    delta: which numbers of an action are relative to the state at the chunk's beginning, in
      openpi's runs: (6, -1) are 6 relative ones and an absolute one; those past its end are
      absolute, and so are all of ().
    image_size: edge in pixels of the images the actor sees; 0 where it sees none.
    tagged: whether prompts may tell the chunk's advantage.
    limits: lowest and highest action [A] that is carried out, in the robot's units: what lies
      beyond is clipped. None where no such thing is known.
  """

  tokenizer: tokenizer.PromptTokenizer
  state: normalize.Normalizer
  action: normalize.Normalizer
  state_size: int
  delta: tuple[int, ...] = ()
  image_size: int = 0
  tagged: bool = False
  limits: tuple[np.ndarray, np.ndarray] | None = None

  def __post_init__(self) -> None:
    if not 0 < self.state_size <= types.PROPRIO_SIZE:
      raise ValueError(
        f'the state has {self.state_size} numbers, expected 1 to {types.PROPRIO_SIZE}.'
      )
    if self._relative.size > self.state_size:
      raise ValueError(
        f'delta {self.delta} covers {self._relative.size} numbers, but the state has '
        f'{self.state_size}.'
      )

  def proprio(self, raw: types.Array) -> types.Array:
    """The state as the network sees it, [..., 32] float32: normalised, then padded with 0."""
    state = self.state(raw[..., : self.state_size]).astype(np.float32)
    if isinstance(state, jax.Array):
      padding = [(0, 0)] * (state.ndim - 1) + [(0, types.PROPRIO_SIZE - self.state_size)]
      return jnp.pad(state, padding)
    padded = np.zeros((*state.shape[:-1], types.PROPRIO_SIZE), np.float32)
    padded[..., : self.state_size] = state  # a fifth of the time that NumPy's pad takes of one
    return padded

  def chunk(self, action: types.Array, raw: types.Array) -> types.Array:
    """Actions [..., h, A] of a robot in state `raw` as the network gives them, float32."""
    return self.action(action - self._origin(action, raw)).astype(np.float32)

  def undo_chunk(self, chunk: types.Array, raw: types.Array) -> types.Array:
    """The inverse of `chunk`: the robot's actions [..., h, A], float32."""
    return (self.action.inverse(chunk) + self._origin(chunk, raw)).astype(np.float32)

  def carried_out(self, chunks: jax.Array, proprio: types.Array) -> jax.Array:
    """Of M chunks [B, M, h, A] of the network per state, what a robot within its limits does.

    Args:
      chunks: normalised.
      proprio: [B, 32] of the states at which they begin.
    """
    if self.limits is None:
      return chunks
    raw = self.state.inverse(jnp.asarray(proprio)[:, : self.state_size])
    shape = len(proprio), 1, chunks.shape[-1]
    low, high = (self.chunk(jnp.broadcast_to(x, shape), raw)[:, None] for x in self.limits)
    return jnp.clip(chunks, low, high)

  @property
  def tags(self) -> list[types.Tag]:
    """Those that prompts may have."""
    return list(types.Tag) if self.tagged else [types.Tag.NONE]

  def prompts(
    self,
    prompt: Sequence[str],
    proprio: types.Array | None,
    tag: Sequence[int] | np.ndarray | None = None,
  ) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [B, L] int32 and mask [B, L] bool of B prompts.

    Args:
      prompt: B of them.
      proprio: [B, 32] that goes with each; None will do where the text tells no state.
      tag: [B] `types.Tag` that goes with each; None for no tags.
    """
    states: list[np.ndarray | None] = [None] * len(prompt)
    if proprio is not None:
      states = list(np.asarray(proprio)[:, : self.state_size])
    tags = [types.Tag.NONE] * len(prompt) if tag is None else [types.Tag(t) for t in tag]
    encoded = [self.tokenizer(*told) for told in zip(prompt, states, tags, strict=True)]
    tokens, masks = zip(*encoded, strict=True)
    return np.stack(tokens), np.stack(masks)

  def check_prompts(self, prompt: Sequence[str]) -> None:
    """Raises ValueError for a prompt that is too long beside some state of the robot and tag."""
    beyond = np.full((len(prompt), types.PROPRIO_SIZE), 2.0)  # told as 255s, the longest text
    for tag in self.tags:
      self.prompts(prompt, beyond, [tag] * len(prompt))

  @property
  def _relative(self) -> np.ndarray:
    """Which of the first numbers of an action are relative, bool."""
    return np.repeat(np.array(self.delta) > 0, np.abs(np.array(self.delta, int)))

  def _origin(self, action: types.Array, raw: types.Array) -> types.Array:
    """What actions [..., h, A] are relative to, [..., 1, A]; zeros where they are absolute."""
    relative = self._relative
    width = action.shape[-1]
    if relative.size > width:
      raise ValueError(
        f'delta {self.delta} covers {relative.size} numbers, but an action has {width}.'
      )
    kept = raw[..., None, : relative.size]
    origin = kept * np.expand_dims(relative, tuple(range(kept.ndim - 1)))
    padding = [(0, 0)] * (origin.ndim - 1) + [(0, width - relative.size)]
    return _numpy_of(origin).pad(origin, padding)


def _numpy_of(x: types.Array) -> Any:
  """The module whose functions leave x on its side."""
  return jnp if isinstance(x, jax.Array) else np
