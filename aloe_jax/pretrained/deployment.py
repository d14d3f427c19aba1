"""What a server of another project has to be told of a π0.5, besides its parameters."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np

from aloe_jax import defaults

# openpi's word for each camera of ours, in the order of the prefix.
OPENPI_CAMERAS = {
  'head': 'base_0_rgb',
  'left_wrist': 'left_wrist_0_rgb',
  'right_wrist': 'right_wrist_0_rgb',
}
# openpi's 'dummy', for tests; its image tower is the published one.
_DUMMY = dict(
  language=dict(width=64, depth=4, mlp_dim=128, heads=8, kv_heads=1, head_dim=16),
  expert=dict(width=64, mlp_dim=128),
)
_SHARED = ('vision', 'vocab_size', 'action_size', 'image_size')


@dataclasses.dataclass(frozen=True)
class Deployment:
  """A policy and its robot.

  Attributes:
    name: that the policy is to have.
    asset: the id that its statistics are found by.
    prompt: what is asked for where nothing else is said.
    cameras: that the robot has, of ours.
    state_size: n of the robot.
    action_size: A of the robot.
    delta: which numbers of an action are relative, in openpi's runs; see `inputs.Inputs`.
    normalization: quantile, zscore or none.
    horizon: h, steps of a chunk.
    execute: steps of it that are carried out.
    control_hz: steps a second.
    flow_steps: of the sampler.
    prompt_length: tokens.
    sizes: of the network, as `models.pi05.make` takes them.
  """

  name: str
  asset: str
  prompt: str
  cameras: tuple[str, ...]
  state_size: int
  action_size: int
  delta: tuple[int, ...]
  normalization: str
  horizon: int
  execute: int
  control_hz: float
  flow_steps: int
  prompt_length: int
  sizes: Mapping[str, Any]

  @property
  def variants(self) -> tuple[str, str] | None:
    """openpi's names of language model and expert; None for sizes that it has no names for."""
    if any(self.sizes[part] != defaults.PI05[part] for part in _SHARED):
      return None
    for sizes, names in (
      (defaults.PI05, ('gemma_2b', 'gemma_300m')),
      (_DUMMY, ('dummy', 'dummy')),
    ):
      if all(self.sizes[part] == sizes[part] for part in ('language', 'expert')):
        return names
    return None

  @property
  def relative(self) -> tuple[bool, ...]:
    """Which of the A numbers are relative to the state."""
    told = np.repeat(np.array(self.delta) > 0, np.abs(np.array(self.delta, int)))
    return (*map(bool, told), *[False] * (self.action_size - told.size))
