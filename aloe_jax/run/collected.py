"""D_i of Algorithm 1: the episodes that a run was given and those that it collected so far."""

from collections.abc import Sequence
import dataclasses
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
from aloe_jax.run import collection
from aloe_jax.run import datasets as datasets_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import indices as indices_lib
from aloe_jax.run import plan as plan_lib
from aloe_jax.run import unfinished

_OWN = re.compile(r'episodes/(demonstrations|iteration_\d+)')


class RunData:
  """Where the episodes of a run lie, and what it reads of them.

  Args:
    experiment: of the run.
    workdir: of the run.
    plan: which of its iterations collect.
    indices: of datasets that are open already.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    workdir: pathlib.Path,
    plan: plan_lib.Plan,
    indices: indices_lib.Indices | None = None,
  ):
    self._config = experiment.config
    self._workdir = workdir
    self._plan = plan
    self._given: list[pathlib.Path] | None = None
    self._new: dict[str, int] = {}  # {name in the manifest: iteration that it joins in}
    self._datasets = datasets_lib.Datasets(experiment, None, indices)
    self._manifest = manifest_lib.Manifest(workdir / 'manifest.json')

  @property
  def given(self) -> list[pathlib.Path]:
    """Datasets that the run was given, copied here if they are in a bucket."""
    if self._given is None:
      self._given = indices_lib.directories(self._config)
    return self._given

  @property
  def plan(self) -> plan_lib.Plan:
    """With the round that what is new makes of itself."""
    rounds = plan_lib.rounds(self._manifest.entries) + tuple(self._new.values())
    return dataclasses.replace(self._plan, rounds=rounds)

  @property
  def new(self) -> bool:
    """Whether the command gives datasets that the run did not know."""
    return bool(self._new)

  def digest(self, iteration: int) -> str:
    """Of D_i: another one whenever a dataset joins."""
    return self._manifest.digest(iteration)

  def directory(self, iteration: int) -> pathlib.Path:
    """Where the run keeps an iteration's episodes; 0: the demonstrations."""
    name = f'iteration_{iteration}' if iteration else 'demonstrations'
    return self._workdir / 'episodes' / name

  def directories(self, iteration: int) -> list[pathlib.Path]:
    """Where D_i lies: what was given by then, the demonstrations and every iteration's rollouts."""
    joined = {entry['path']: entry['iteration'] for entry in self._manifest.entries}
    upto = max(iteration, min(joined.values(), default=0))  # D_0 is what the run began with
    joined |= self._new
    given = [path for path in self.given if joined.get(self._listed(path), 0) <= upto]
    if not self._config.sim.task:
      return given
    first = [0] if self._config.task.demonstrations else []
    played = [i for i in range(1, iteration + 1) if self._plan.collects(i)]
    return given + [self.directory(i) for i in first + played]

  def policies(self, iteration: int) -> tuple[str, ...]:
    """Fingerprints of the policies that played its rollouts; () where the episodes tell none."""
    told = self._datasets.metadata(self.directory(iteration), collection.POLICY)
    return tuple(str(policy) for policy in told)

  def sweep(self) -> None:
    """Removes what a process that was killed left of episodes that it was writing here."""
    for left in (self._workdir / 'episodes').glob('.*'):
      name = left.name[1:].rpartition('.')[0]
      if _OWN.fullmatch(f'episodes/{name}') and (left / name).is_dir():
        shutil.rmtree(left, ignore_errors=True)

  def open_given(self) -> None:
    """Indexes and checks what the run was given; raises what `Datasets.open` does.

    A dataset that lies elsewhere than when it joined is known by what it holds; see
    `Manifest.follow`. What is new after all that are known makes a round: it joins in an iteration
    of its own, or in the simulator in the next one that has collected nothing yet.
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
    moved, new = self._manifest.follow(given, self._content, self._is_own)
    for before, now in moved.items():
      progress.CONSOLE.print(
        f'{now} holds what {before} held, which the run was trained on; it goes on with it.',
        soft_wrap=True,
      )
    if new:
      self._new = dict.fromkeys(new, self._next_round(new))

  def encode(self, encoder_params: Any) -> None:
    """Encodes what the run was given by its frozen encoder."""
    self._datasets.encoder_params = encoder_params
    self._datasets.encode(self.given)

  def action_kinds(self) -> dict[str, tuple[str, ...]]:
    """{dataset that was given: kinds of actions that its episodes tell}."""
    return {str(path): self._datasets.action_kinds(path) for path in self.given}

  def keep_given(self, first: int) -> None:
    """Has what was given join the manifest, and says which round new datasets make.

    Args:
      first: the iteration that a new run begins with.
    """
    if self._manifest.is_empty and self.given:
      self._extend(first, self.given)
    if not self._new:
      return
    joins = next(iter(self._new.values()))
    new = [path for path in self.given if self._listed(path) in self._new]
    before = self._datasets.episodes(self.directories(joins - 1))
    self._extend(joins, new)
    field = self.plan.field(joins, 'critic')
    progress.CONSOLE.print(
      f'Iteration {joins}: {self._datasets.episodes(new)} new episodes of '
      f'{", ".join(map(indices_lib.label, new))} join {before}; {field} = '
      f'{self.plan.updates(joins, "critic")}, actor.updates = {self._config.actor.updates}.',
      highlight=False,
      soft_wrap=True,
    )
    self._new = {}

  def check(self) -> None:
    """Compares all datasets with what they held when they joined; see `Manifest.check`."""
    self._manifest.check(self._content)

  def read(self, iteration: int) -> steps_lib.Steps:
    """All steps of D_i, of which in the simulator some may be collected later."""
    return self._read(self.directories(iteration))

  def read_all(self) -> steps_lib.Steps:
    """All steps that there are by now of what was given and collected."""
    iteration = max(self.plan.last, 0)
    return self._read([path for path in self.directories(iteration) if path.exists()])

  def replay(
    self, iteration: int, inputs: inputs_lib.Inputs, chunking: replay_lib.Chunking
  ) -> replay_lib.Replay:
    """The buffer over D_i, whose datasets join the manifest."""
    steps = self.read(iteration)
    self._extend(iteration, self.directories(iteration))
    ratios = dict(self._config.data.ratios)
    host = jax.process_index(), jax.process_count()
    return replay_lib.Replay(steps, inputs, chunking, ratios, host)

  def _read(self, directories: Sequence[pathlib.Path]) -> steps_lib.Steps:
    """Without features for as long as the encoder is not there yet."""
    if self._datasets.encoder_params is None:
      return self._datasets.read_columns(directories)
    return self._datasets.read(directories)

  def _extend(self, iteration: int, directories: Sequence[pathlib.Path]) -> None:
    found = {self._listed(path): self._datasets.content(path) for path in directories}
    agreement.check_data(found)
    self._manifest.extend(iteration, found)

  def _next_round(self, new: Sequence[str]) -> int:
    """The iteration that new datasets join in.

    Raises:
      ValueError: there is none.
    """
    last, named = self._plan.last, ', '.join(new)
    if not self._config.iterations:
      raise ValueError(
        f'config.data.episodes names {named}, which the run was not trained on, and '
        'config.iterations is 0: nothing would learn from it. Give --config.iterations=1 first, or '
        'start another --workdir.'
      )
    if not self._config.sim.task:
      return 1 if self._only_imitates() else last + 1
    for iteration in range(1, last + 1):
      if self._plan.collects(iteration) and not collection.is_written(self.directory(iteration)):
        return iteration
    raise ValueError(
      f'config.data.episodes names {named}, which the run was not trained on, and all its '
      f'{self._config.iterations} iterations have collected their episodes: nothing would learn '
      f'from it. Give --config.iterations={self._config.iterations + 1} too.'
    )

  def _only_imitates(self) -> bool:
    """Whether all that the run was asked for so far is imitation, and that is done.

    Then the first round of a policy is its first iteration, on demonstrations and round together.
    """
    kept = checkpoints.Checkpoints(self._workdir / 'checkpoints')
    if kept.latest() != 0 or unfinished.is_begun(self._workdir, 0):
      return False
    asked = checkpoints.read_meta(kept.path(0), 'config')['config']
    return asked.get('iterations') == 0

  def _listed(self, directory: pathlib.Path) -> str:
    """How the manifest names a directory: the run's own move with the working directory."""
    path, workdir = (pathlib.Path(manifest_lib.place(str(x))) for x in (directory, self._workdir))
    return str(path.relative_to(workdir) if path.is_relative_to(workdir) else path)

  def _content(self, listed: str) -> str:
    """Digest of what a directory holds, by its name in the manifest."""
    return self._datasets.content(self._workdir / listed)

  def _is_own(self, listed: str) -> bool:
    """Whether the run made a dataset itself, by its name in the manifest."""
    return bool(self._config.sim.task) and is_own(listed)


def is_own(listed: str) -> bool:
  """Whether a name in the manifest is one of what a run plays in its simulator."""
  return _OWN.fullmatch(listed) is not None
