"""What an algorithm is: a critic or none, its loss, an advantage, and the rows it imitates."""

from collections.abc import Callable
import dataclasses

from flax import linen as nn
import jax
import numpy as np

Metrics = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Agent:
  """An algorithm, as its differences from the others.

  Attributes:
    name: of the algorithm.
    critic: 'action' for Q(s, a_{t:t+h}), 'state' for a value critic V(s), None for imitation.
    critic_loss: `(params, target_params, batch, *, critic, settings)` to the loss
      and metrics; None where there is no critic.
    advantage: `(params, batch, policy_action, *, critic, settings)` to A(s_t, a_{t:t+h}) [B];
      None where every chunk weighs the same.
    imitates: `(source [R], succeeded [R])` to the rows [R] bool that the actor learns from;
      `succeeded` tells whether the fragment of each row ended in success.
    is_positive: `(advantage [R], source [R], settings)` to the chunks [R] bool whose prompt says
      that their advantage is positive, where prompts say it; such chunks all weigh the same.
  """

  name: str
  critic: str | None
  critic_loss: Callable[..., tuple[jax.Array, Metrics]] | None
  advantage: Callable[..., jax.Array] | None
  imitates: Callable[[np.ndarray, np.ndarray], np.ndarray]
  is_positive: Callable[..., np.ndarray] | None = None

  @property
  def samples_policy(self) -> bool:
    """Whether critic and advantage need actions sampled from the current policy."""
    return self.critic == 'action'


@dataclasses.dataclass(frozen=True)
class Settings:
  """Numbers that losses take; the reasons for the defaults are in `experiments/common.py`.

  Attributes:
    action_size: A of the robot; the actor's network may be wider (π0.5's is 32).
    samples: M, actions of the policy per state for V (Eq. 10).
    flow_steps: Euler steps of the policy's sampler.
    target: 'mean', 'min' or 'independent': how Eq. (7) reads the target ensemble.
    polyak: omega of Algorithm 1, line 8.
    beta: temperature of Eq. (11), in standard deviations of the advantage where
      `beta_unit` is 'sigma', in environment steps where it is 'raw'.
    beta_unit: 'sigma' or 'raw'.
    clip: epsilon_clip of Eq. (11).
    reward_scale: what rewards were multiplied by; undone for `beta_unit` 'raw'.
    ema: decay of the actor's moving average.
    flow_time: 'uniform' (Eq. 15) or 'beta' (π0.5's own training distribution).
    mask_padding: whether padded steps and dimensions are left out of the actor's loss; openpi's
      loss counts both.
    augment: whether the actor trains on augmented images.
    critic_reads_prompt: whether the critic sees the prompt.
    backup: 'td' for Eq. (7)'s targets, 'monte_carlo' for the returns as they were.
    pessimism: how Eqs. (9) and (10) read the ensemble, 'min' or 'mean'.
    past_end: 'policy' or 'mask', see `aloe.past_the_end`.
    value_min, value_max, value_bins: support of AWR's value distribution, in scaled rewards.
    positive: share of the policy's chunks that RECAP tags as positive.
  """

  action_size: int
  samples: int
  flow_steps: int
  target: str
  polyak: float
  beta: float
  beta_unit: str
  clip: float
  reward_scale: float
  ema: float
  flow_time: str
  mask_padding: bool = True
  augment: bool = False
  critic_reads_prompt: bool = False
  backup: str = 'td'
  pessimism: str = 'min'
  past_end: str = 'policy'
  value_min: float = -1.0
  value_max: float = 0.0
  value_bins: int = 256
  positive: float = 0.4


@dataclasses.dataclass(frozen=True)
class Networks:
  """The modules whose parameters the train state holds; `critic` is None for imitation."""

  actor: nn.Module
  critic: nn.Module | None
