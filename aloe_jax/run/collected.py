"""D_i of Algorithm 1: the episodes that a run was given and those that it collected so far."""

import pathlib
from typing import Any

import jax

from aloe_jax.data import manifest as manifest_lib
from aloe_jax.data import replay as replay_lib
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.run import datasets as datasets_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import indices as indices_lib


class RunData:
  """Where the episodes of a run lie, and what it reads of them.

  Args:
    experiment: of the run.
    encoder_params: of its frozen encoder.
    workdir: of the run.
    indices: of datasets that are open already.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    encoder_params: Any,
    workdir: pathlib.Path,
    indices: indices_lib.Indices | None = None,
  ):
    self._config = experiment.config
    self._workdir = workdir
    self._datasets = datasets_lib.Datasets(experiment, encoder_params, indices)
    self._manifest = manifest_lib.Manifest(workdir / 'manifest.json')

  @property
  def given(self) -> list[pathlib.Path]:
    """Datasets that the run was given."""
    return [pathlib.Path(path) for path in self._config.data.episodes]

  @property
  def digest(self) -> str:
    """Another one whenever a dataset joins."""
    return self._manifest.digest

  def directory(self, iteration: int) -> pathlib.Path:
    """Where the run keeps an iteration's episodes; 0: the demonstrations."""
    name = f'iteration_{iteration}' if iteration else 'demonstrations'
    return self._workdir / 'episodes' / name

  def directories(self, iteration: int) -> list[pathlib.Path]:
    """Where D_i lies: what was given, then the demonstrations and every iteration's rollouts."""
    if not self._config.sim.task:
      return self.given
    first = 0 if self._config.task.demonstrations else 1
    return self.given + [self.directory(i) for i in range(first, iteration + 1)]

  def open_given(self) -> None:
    """Indexes, checks and encodes what the run was given; raises what `Datasets.open` does."""
    self._datasets.encode(self.given)

  def check(self) -> None:
    """Compares all datasets with what they held when they joined; see `Manifest.check`."""
    self._manifest.check(lambda path: self._datasets.content(self._workdir / path))

  def read(self, iteration: int) -> steps_lib.Steps:
    """All steps of D_i."""
    return self._datasets.read(self.directories(iteration))

  def replay(
    self, iteration: int, inputs: inputs_lib.Inputs, chunking: replay_lib.Chunking
  ) -> replay_lib.Replay:
    """The buffer over D_i, whose datasets join the manifest."""
    steps = self.read(iteration)
    found = {
      self._listed(path): self._datasets.content(path) for path in self.directories(iteration)
    }
    self._manifest.extend(iteration, found)
    ratios = dict(self._config.data.ratios)
    host = jax.process_index(), jax.process_count()
    return replay_lib.Replay(steps, inputs, chunking, ratios, host)

  def _listed(self, directory: pathlib.Path) -> str:
    """How the manifest names a directory: the run's own move with the working directory."""
    own = directory.is_relative_to(self._workdir)
    return str(directory.relative_to(self._workdir) if own else directory.absolute())
