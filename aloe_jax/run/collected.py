"""D_i of Algorithm 1: the episodes that a run was given and those that it collected so far."""

import pathlib
import re
import shutil
from typing import Any

import jax

from aloe_jax import progress
from aloe_jax.data import manifest as manifest_lib
from aloe_jax.data import replay as replay_lib
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import inputs as inputs_lib
from aloe_jax.run import agreement
from aloe_jax.run import checkpoints
from aloe_jax.run import datasets as datasets_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import indices as indices_lib

_OWN = re.compile(r'episodes/(demonstrations|iteration_\d+)')


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
    self._given: list[pathlib.Path] | None = None
    self._datasets = datasets_lib.Datasets(experiment, encoder_params, indices)
    self._manifest = manifest_lib.Manifest(workdir / 'manifest.json')

  @property
  def given(self) -> list[pathlib.Path]:
    """Datasets that the run was given, copied here if they are in a bucket."""
    if self._given is None:
      self._given = indices_lib.directories(self._config)
    return self._given

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

  def sweep(self) -> None:
    """Removes what a process that was killed left of episodes that it was writing here."""
    for left in (self._workdir / 'episodes').glob('.*'):
      name = left.name[1:].rpartition('.')[0]
      if _OWN.fullmatch(f'episodes/{name}') and (left / name).is_dir():
        shutil.rmtree(left, ignore_errors=True)

  def open_given(self) -> None:
    """Indexes, checks and encodes what the run was given; raises what `Datasets.open` does.

    A dataset that lies elsewhere than when it joined is known by what it holds; see
    `Manifest.follow`.
    """
    latest = checkpoints.Checkpoints(self._workdir / 'checkpoints').latest()
    if self._manifest.is_empty and latest is not None:
      raise ValueError(
        f'{self._workdir / "manifest.json"} is missing or empty, but there are checkpoints; put it '
        'back as the run wrote it, or start another --workdir: without it nothing tells which data '
        'the run was trained on.'
      )
    self._datasets.open(self.given)
    agreement.check_data({self._listed(path): self._datasets.content(path) for path in self.given})
    given = list(dict.fromkeys(self._listed(path) for path in self.given))
    for before, now in self._manifest.follow(given, self._content, self._is_own).items():
      progress.CONSOLE.print(
        f'{now} holds what {before} held, which the run was trained on; it goes on with it.',
        soft_wrap=True,
      )
    self._datasets.encode(self.given)

  def check(self) -> None:
    """Compares all datasets with what they held when they joined; see `Manifest.check`."""
    self._manifest.check(self._content)

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
    agreement.check_data(found)
    self._manifest.extend(iteration, found)
    ratios = dict(self._config.data.ratios)
    host = jax.process_index(), jax.process_count()
    return replay_lib.Replay(steps, inputs, chunking, ratios, host)

  def _listed(self, directory: pathlib.Path) -> str:
    """How the manifest names a directory: the run's own move with the working directory."""
    path, workdir = (pathlib.Path(manifest_lib.place(str(x))) for x in (directory, self._workdir))
    return str(path.relative_to(workdir) if path.is_relative_to(workdir) else path)

  def _content(self, listed: str) -> str:
    """Digest of what a directory holds, by its name in the manifest."""
    return self._datasets.content(self._workdir / listed)

  def _is_own(self, listed: str) -> bool:
    """Whether the run made a dataset itself, by its name in the manifest."""
    return bool(self._config.sim.task) and _OWN.fullmatch(listed) is not None
