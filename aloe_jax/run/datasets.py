"""What training reads: datasets opened for random access, with features of a frozen encoder."""

from collections.abc import Callable, Sequence
import hashlib
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from aloe_jax import policy
from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import asked_rows
from aloe_jax.data import image_reader
from aloe_jax.data import index as index_lib
from aloe_jax.data import mapping
from aloe_jax.data import row_cache
from aloe_jax.data import steps as steps_lib
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.run import checkpoints
from aloe_jax.run import experiment as experiment_lib

_STEPS = 128  # that a host encodes per compiled call, all cameras


class Datasets:
  """Opens each directory of episodes once.

  Args:
    experiment: whose encoder, if it has one, turns images into features. Those are kept on
      disk beside the episodes, under a name made of the encoder and of what is in the episodes.
    encoder_params: of that encoder.
  """

  def __init__(self, experiment: experiment_lib.Experiment, encoder_params: Any):
    self._experiment = experiment
    self._encoder_params = encoder_params
    self._indices: dict[pathlib.Path, index_lib.Index] = {}
    self._encoder_fingerprint: str | None = None
    self._features: dict[pathlib.Path, np.ndarray | asked_rows.AskedRows | None] = {}

  def open(self, directories: Sequence[pathlib.Path]) -> None:
    """Indexes and checks what is new among some directories; no image is read.

    Raises:
      FileNotFoundError: naming a directory that is missing.
      ValueError: naming what a directory lacks.
    """
    for directory in directories:
      if directory not in self._indices:
        self._indices[directory] = self._open(directory)
        self._check(directory)

  def encode(self, directories: Sequence[pathlib.Path]) -> None:
    """Encodes all images of some directories, unless they are kept; raises what `open` does."""
    self.open(directories)
    for directory in directories:
      if not isinstance(self._features.get(directory), np.ndarray):
        index, encoder = self._indices[directory], self._experiment.encoder
        self._features[directory] = (
          index.features if encoder is None else self._encode(directory, index, encoder)
        )

  def encode_rows(self, directories: Sequence[pathlib.Path], rows: np.ndarray) -> None:
    """Encodes the images of some rows of `read(directories, sparsely=True)` ahead of their use."""
    offsets = np.cumsum([0] + [len(self._indices[directory]) for directory in directories])
    for number, directory in enumerate(directories):
      features = self._features[directory]
      if isinstance(features, asked_rows.AskedRows):
        own = rows[(rows >= offsets[number]) & (rows < offsets[number + 1])] - offsets[number]
        if total := len(features.missing(own)):
          with progress.bar(f'Encode {_label(directory)}', total, 'steps') as advance:
            features.add(own, advance)

  def read(self, directories: Sequence[pathlib.Path], *, sparsely: bool = False) -> steps_lib.Steps:
    """All steps of some directories, in order; raises what `open` does.

    Args:
      directories: of the episodes.
      sparsely: where the images are not encoded yet, encode those of a row when the row is asked
        for, and keep nothing on disk: for whoever asks for few rows, once.
    """
    self.open(directories)
    if sparsely and jax.process_count() == 1:
      self._open_features(directories)
    else:
      self.encode(directories)
    return self._steps(directories, [self._features[directory] for directory in directories])

  def read_columns(self, directories: Sequence[pathlib.Path]) -> steps_lib.Steps:
    """`read` without features, for which no image is read or encoded."""
    self.open(directories)
    return self._steps(directories, [None] * len(directories))

  def content(self, directory: pathlib.Path) -> str:
    """A digest of the episodes of a directory; raises what `open` does."""
    self.open([directory])
    return self._indices[directory].content

  def _steps(self, directories: Sequence[pathlib.Path], features: Sequence[Any]) -> steps_lib.Steps:
    return steps_lib.Steps([self._indices[directory] for directory in directories], features)

  def _open_features(self, directories: Sequence[pathlib.Path]) -> None:
    """Features that are kept, else those to be computed when they are asked for."""
    encoder = self._experiment.encoder
    for directory in directories:
      index = self._indices[directory]
      if encoder is None or self._kept(directory, index, encoder).exists():
        self.encode([directory])
      elif directory not in self._features:
        self._features[directory] = asked_rows.AskedRows(
          self._shape(index, encoder),
          jnp.bfloat16,
          self._encoding(index, encoder),
          batch_size=_STEPS,
        )

  def _open(self, directory: pathlib.Path) -> index_lib.Index:
    config = self._experiment.config.data
    with progress.bar(f'Index {_label(directory)}', None, 'steps') as advance:
      index = index_lib.load(
        directory,
        mapping.parse(config.mapping),
        split=config.split,
        cache=config.cache or None,
        on_error=config.on_error,
        progress=advance,
      )
    for problem in index.skipped:
      progress.CONSOLE.print(f'Skipped: {problem}', soft_wrap=True)
    if index.skipped:
      progress.CONSOLE.print(f'{directory}: {len(index.skipped)} episodes were skipped.')
    return index

  def _check(self, directory: pathlib.Path) -> None:
    """Raises ValueError unless a dataset has what the networks read, of the widths wanted."""
    index, task = self._indices[directory], self._experiment.config.task
    if not len(index):
      raise ValueError(f'{directory}: there is no episode that can be used.')
    if index.action.shape[1] != task.action_size:
      raise ValueError(
        f'{directory}: action: found {index.action.shape[1]} numbers a step, expected '
        f'config.task.action_size = {task.action_size}.'
      )
    if index.state.shape[1] < task.proprio_size:
      raise ValueError(
        f'{directory}: state: found {index.state.shape[1]} numbers a step, expected '
        f'config.task.proprio_size = {task.proprio_size}.'
      )
    if self._experiment.encoder is not None:
      missing = [camera for camera in task.cameras if camera not in index.cameras]
      if missing:
        raise ValueError(
          f'{directory}: there are no images of the camera {" or ".join(map(repr, missing))}; '
          f'name their field with config.data.mapping.{missing[0]}, or leave a camera that this '
          'robot has not out of config.task.cameras.'
        )
      return
    if index.features is None:
      raise ValueError(
        f'{directory} has no steps/observation/features, which the actor reads in place of '
        'images; use a variant of the experiment that encodes the cameras, such as :pixels.'
      )
    reference = next(iter(self._indices.values())).features
    found, expected = index.features.shape[1:], np.shape(reference)[1:]
    if found != expected:
      raise ValueError(
        f'{directory}: features: found {list(found)} a step, expected {list(expected)} as in '
        'the other episodes.'
      )

  def _encode(
    self, directory: pathlib.Path, index: index_lib.Index, encoder: encoder_lib.Encoder
  ) -> np.ndarray:
    """[N, V, F] bfloat16, mapped from the disk: kept from before, or computed now."""
    with progress.bar(f'Encode {_label(directory)}', len(index), 'steps') as advance:
      return row_cache.build(
        self._kept(directory, index, encoder),
        self._shape(index, encoder),
        jnp.bfloat16,
        self._encoding(index, encoder),
        batch_size=_STEPS,
        progress=advance,
      )

  def _kept(
    self, directory: pathlib.Path, index: index_lib.Index, encoder: encoder_lib.Encoder
  ) -> pathlib.Path:
    """Where all features of a directory are kept: under what they are a function of."""
    if self._encoder_fingerprint is None:
      self._encoder_fingerprint = policy.fingerprint(self._encoder_params)
    key = f'{encoder!r} {self._encoder_fingerprint} {index.content}'
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    parent = pathlib.Path(self._experiment.config.data.cache or directory.parent)
    return parent / f'.{directory.name}.features-{digest}.npy'

  def _shape(self, index: index_lib.Index, encoder: encoder_lib.Encoder) -> tuple[int, ...]:
    return len(index), len(types.CAMERAS), encoder.width

  def _encoding(
    self, index: index_lib.Index, encoder: encoder_lib.Encoder
  ) -> Callable[[np.ndarray], np.ndarray]:
    """What makes features of rows [B]."""
    size = encoder.image_size or self._experiment.config.sim.image_size
    reader = image_reader.ImageReader(steps_lib.Steps([index]), size)

    def encode(rows: np.ndarray) -> np.ndarray:
      seen, present = reader.read(rows)
      return self._experiment.encode(self._encoder_params, seen, present)

    return encode


def _label(directory: pathlib.Path) -> str:
  """What a person calls a dataset: its name, with its version where the directory is called so."""
  if re.fullmatch(r'\d+\.\d+\.\d+', directory.name):
    return f'{directory.absolute().parent.name}/{directory.name}'
  return directory.name


def cost_of_failure(config: ml_collections.ConfigDict, steps: steps_lib.Steps) -> float:
  """C_fail of Eq. (14), in steps, frozen at the first iteration.

  Args:
    config: `fail.cost` if it is given; else, of a run without a simulator, that of the
      checkpoint it goes on from; else `fail.lengths` mean lengths of a successful demonstration.
    steps: of the first iteration.

  Raises:
    ValueError: there is no demonstration to take it from.
  """
  if config.fail.cost > 0:
    return config.fail.cost
  start = pathlib.Path(config.actor.checkpoint)
  if not config.sim.task and config.actor.checkpoint and checkpoints.is_one(start):
    return checkpoints.read_meta(start, 'fail_cost')['fail_cost']
  episode = np.cumsum(steps.is_first) - 1
  others = np.bincount(episode, weights=steps.source != types.Source.DEMO)
  demonstrated = others[episode] == 0
  if not demonstrated.any():
    raise ValueError(
      'the cost of failure is the mean length of the successful demonstrations, but the '
      'episodes hold no demonstration; give config.fail.cost, in steps.'
    )
  ends, firsts = steps.end_reason[demonstrated], steps.is_first[demonstrated]
  return config.fail.lengths * rewards.mean_success_length(ends, firsts)
