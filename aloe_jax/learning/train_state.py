"""Everything a run is made of between two updates."""

from typing import Any

import flax.struct
import jax
import optax

from aloe_jax.models import parts


@flax.struct.dataclass
class TrainState:
  """State of actor and critic.

  Attributes:
    step: [] int32, updates done by actor and critic together; with `seed` it makes every
      random number of the next update.
    seed: [] uint32.
    actor: parameters of the policy being trained.
    actor_ema: their exponential moving average in float32: with `actor_frozen` the policy that
      acts, fills the bank and is served.
    actor_optimizer: state of the actor's optimiser.
    critic: parameters phi of the ensemble (or of the value critic); {} where there is none.
    critic_target: Polyak average phi^- of them.
    critic_optimizer: state of the critic's optimiser; () where there is none.
    actor_frozen: parameters of the actor that are not trained; {} where all are.
  """

  step: jax.Array
  seed: jax.Array
  actor: Any
  actor_ema: Any
  actor_optimizer: optax.OptState
  critic: Any
  critic_target: Any
  critic_optimizer: optax.OptState
  actor_frozen: Any = flax.struct.field(default_factory=dict)

  @property
  def acting(self) -> Any:
    """All parameters of the policy that acts."""
    return parts.join(self.actor_ema, self.actor_frozen)
