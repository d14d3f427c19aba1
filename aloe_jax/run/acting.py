"""The policy that acts, in a checkpoint: its moving average, and what was not trained."""

import pathlib
from typing import Any

import jax

from aloe_jax import renamed
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.models import parts
from aloe_jax.run import checkpoints


def trained(path: pathlib.Path) -> parts.Trained:
  """Which parameters the run of a checkpoint of ours trained."""
  kept = checkpoints.read_meta(path).get('config') or {}
  actor = renamed.ADDED | {f'actor.{name}': x for name, x in kept.get('actor', {}).items()}
  return parts.parse(actor['actor.train'], actor['actor.frozen_dtype'])


def read(path: pathlib.Path, shapes: Any) -> Any:
  """All parameters of the policy that acts.

  Args:
    path: of the checkpoint.
    shapes: of all of them, with the types wanted and where they are to lie, whichever were trained.
  """
  split = trained(path)
  wanted: dict[str, Any] = dict(
    zip(('actor_ema', 'actor_frozen'), split.divide(shapes), strict=True)
  )
  wanted = {name: tree for name, tree in wanted.items() if jax.tree.leaves(tree)}
  found = checkpoints.restore_parts(path, wanted)
  return parts.join(found.get('actor_ema', {}), found.get('actor_frozen', {}))


def resplit(state: TrainState, learner: learner_lib.Learner) -> TrainState:
  """A state of another run, for training other parts than that one did; may be compiled.

  What is trained no more stays as it acts. What is trained anew starts from there, and so does its
  moving average. The actor's optimiser is fresh, as it is at the beginning of every phase.

  Args:
    state: as that run split it.
    learner: of this run.
  """
  split = learner.trained
  average, frozen = split.split(state.acting)
  actor, _ = split.split(parts.join(state.actor, state.actor_frozen))
  actor = jax.tree.map(lambda x: x.astype(learner.param_dtype), actor)
  return state.replace(
    actor=actor,
    actor_ema=jax.tree.map(lambda x: x.astype('float32'), average),
    actor_frozen=frozen,
    actor_optimizer=learner.actor_optimizer.init(actor),
  )
