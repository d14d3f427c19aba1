"""The train state of a checkpoint, read back for a run that trains on from it."""

import dataclasses
import pathlib

import numpy as np

from aloe_jax import types
from aloe_jax.learning import learner as learner_lib
from aloe_jax.learning.train_state import TrainState
from aloe_jax.run import acting
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib


def state(
  experiment: experiment_lib.Experiment,
  learner: learner_lib.Learner,
  example: types.ActorBatch,
  path: pathlib.Path,
  counted: pathlib.Path | None = None,
) -> TrainState:
  """Reads a state, split into what is trained and what is not as the learner wants it.

  Args:
    experiment: of the run.
    learner: of that experiment.
    example: a batch, for the shapes.
    path: of the checkpoint.
    counted: that checkpoint of the run whose count of updates goes on; by default the same.

  Raises:
    ValueError: a checkpoint is damaged, or of another architecture.
  """
  saved = acting.trained(path)
  there = dataclasses.replace(learner, trained=saved)
  like = experiment.layout.shapes(lambda: there.init(experiment.config.seed, example))
  found = checkpoints.restore(path, like, experiment.architecture())
  if saved != learner.trained:

    def resplit(state: TrainState) -> TrainState:
      return acting.resplit(state, learner)

    found = experiment.layout.create(resplit, found)
  if counted is not None and counted != path:
    step = checkpoints.read_meta(counted, 'step')['step']
    found = found.replace(step=found.step + np.int32(step - int(found.step)))
  return found
