"""A checkpoint of a run made ready again: the policy that acts, and its critic where wanted."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from aloe_jax import policy as policy_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.run import acting
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import starting_point


@dataclasses.dataclass(frozen=True)
class Restored:
  """What a checkpoint holds for those who train no further.

  Attributes:
    step: updates done by then, of actor and critic together.
    critic: its parameters; None where they were not read, {} where there is no critic.
    encoder: parameters of the critic's frozen encoder; {} for none, and where neither the critic
      nor the policy needs them.
    inputs: how states, actions and prompts were put to the networks.
    policy: the moving average of the actor.
    meta: what was kept beside the parameters, see `checkpoints.read_meta`.
  """

  step: int
  critic: Any
  encoder: Any
  inputs: inputs_lib.Inputs
  policy: policy_lib.Policy
  meta: dict[str, Any]


def restore(
  experiment: experiment_lib.Experiment,
  path: pathlib.Path,
  *,
  critic: bool = False,
  acts_in: str | None = None,
) -> Restored:
  """Reads what acts of a checkpoint of a run of this experiment; no optimiser, no target network.

  Args:
    experiment: of the run.
    path: of the checkpoint.
    critic: whether the critic is wanted too; it is read in any case where the policy chooses
      among several chunks by it.
    acts_in: type that the policy's parameters are wanted in; by default as they are kept.

  Raises:
    FileNotFoundError: there is none.
    ValueError: it is of another architecture.
  """
  checkpoints.check(path, experiment.architecture())
  meta = checkpoints.read_meta(path)
  start = starting_point.find(str(path))
  normalized = experiment.config.data.normalization != 'none'
  stats = starting_point.stats(start, experiment) if normalized else None
  inputs, tagged = experiment.inputs(stats), starting_point.tagged(start)
  critic = critic or experiment.config.actor.best_of > 1
  shapes = experiment.abstract_state()
  wanted: dict[str, Any] = {'step': shapes.step}
  if critic and shapes.critic:
    wanted['critic'] = shapes.critic
  found = checkpoints.restore_parts(path, wanted)
  params = found.get('critic', {}) if critic else None
  encoder = _read_encoder(experiment, path) if critic or not experiment.reads_images else {}
  wanted_to_act = shapes.acting
  if acts_in is not None:
    wanted_to_act = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, acts_in, sharding=x.sharding), wanted_to_act
    )
  acts = acting.read(path, wanted_to_act)
  policy = experiment.policy(acts, inputs, params, encoder, tagged=tagged)
  return Restored(int(found['step']), params, encoder, inputs, policy, meta)


def read_policy(
  experiment: experiment_lib.Experiment, path: pathlib.Path, like: policy_lib.Policy
) -> policy_lib.Policy:
  """The policy of another checkpoint of a run, which the same compiled programs serve.

  Args:
    experiment: of the run.
    path: of the checkpoint.
    like: a policy of the same run; the critic that it chooses by is used again.

  Raises:
    FileNotFoundError: there is no checkpoint.
    ValueError: it is of another architecture.
  """
  checkpoints.check(path, experiment.architecture())
  return dataclasses.replace(like, params=acting.read(path, experiment.abstract_state().acting))


def read_actor(experiment: experiment_lib.Experiment, path: pathlib.Path) -> Any:
  """The parameters that act, in float32, and nothing else: no tokenizer, no statistics.

  Raises:
    FileNotFoundError: there is no checkpoint.
    ValueError: it is of another architecture.
  """
  checkpoints.check(path, experiment.architecture())
  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, np.float32, sharding=x.sharding),
    experiment.abstract_state().acting,
  )
  return acting.read(path, shapes)


def read_critic(experiment: experiment_lib.Experiment, path: pathlib.Path) -> tuple[Any, Any]:
  """The critic's parameters and its encoder's, of a checkpoint whose policy was read before."""
  shapes = experiment.abstract_state().critic
  critic = checkpoints.restore_parts(path, {'critic': shapes})['critic']
  return critic, _read_encoder(experiment, path)


def _read_encoder(experiment: experiment_lib.Experiment, path: pathlib.Path) -> Any:
  """Parameters of the critic's frozen encoder; {} for none."""
  return starting_point.encoder_params(starting_point.find(str(path)), experiment, None)
