"""A checkpoint of a run made ready again: its state, and the policy that acts."""

import dataclasses
import pathlib
from typing import Any

from aloe_jax import policy as policy_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import starting_point


@dataclasses.dataclass(frozen=True)
class Restored:
  """What a checkpoint holds.

  Attributes:
    state: one global copy.
    encoder: parameters of the critic's frozen encoder; {} for none.
    inputs: how states, actions and prompts were put to the networks.
    policy: the moving average of the actor.
    meta: what was kept beside the parameters, see `checkpoints.read_meta`.
  """

  state: TrainState
  encoder: Any
  inputs: inputs_lib.Inputs
  policy: policy_lib.Policy
  meta: dict[str, Any]


def restore(experiment: experiment_lib.Experiment, path: pathlib.Path) -> Restored:
  """Reads a checkpoint of a run of this experiment.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it is of another architecture.
  """
  state = checkpoints.restore(path, experiment.abstract_state(), experiment.architecture())
  start = starting_point.find(str(path))
  encoder = starting_point.encoder_params(start, experiment, None)
  normalized = experiment.config.data.normalization != 'none'
  stats = starting_point.stats(start, experiment) if normalized else None
  inputs, tagged = experiment.inputs(stats), starting_point.tagged(start)
  policy = experiment.policy(state, inputs, encoder, tagged=tagged)
  return Restored(state, encoder, inputs, policy, checkpoints.read_meta(path))
