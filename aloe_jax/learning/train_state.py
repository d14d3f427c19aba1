"""Everything a run is made of between two updates."""

from typing import Any

import flax.struct
import jax
import optax


@flax.struct.dataclass
class TrainState:
  """State of actor and critic.

  Attributes:
    step: [] int32, updates done by actor and critic together; with `seed` it makes every
      random number of the next update.
    seed: [] uint32.
    actor: parameters of the policy being trained.
    actor_ema: their exponential moving average: the policy that acts, fills the bank and is
      served.
    actor_optimizer: state of the actor's optimiser.
    critic: parameters phi of the ensemble (or of the value critic); {} where there is none.
    critic_target: Polyak average phi^- of them.
    critic_optimizer: state of the critic's optimiser; () where there is none.
  """

  step: jax.Array
  seed: jax.Array
  actor: Any
  actor_ema: Any
  actor_optimizer: optax.OptState
  critic: Any
  critic_target: Any
  critic_optimizer: optax.OptState
