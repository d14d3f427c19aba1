"""What training reads: datasets opened for random access, with features of a frozen encoder."""

from collections.abc import Callable, Sequence
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import policy
from aloe_jax import progress
from aloe_jax import types
from aloe_jax.data import asked_rows
from aloe_jax.data import image_reader
from aloe_jax.data import index as index_lib
from aloe_jax.data import row_cache
from aloe_jax.data import steps as steps_lib
from aloe_jax.models import encoder as encoder_lib
from aloe_jax.run import experiment as experiment_lib
from aloe_jax.run import indices as indices_lib
from aloe_jax.run import rate
from aloe_jax.run import robot

STEPS = 128  # that a host encodes per compiled call, all cameras


class Datasets:
  """Opens each directory of episodes once.

  Args:
    experiment: whose encoder, if it has one, turns images into features. Those are kept on
      disk beside the episodes, under a name made of the encoder and of what is in the episodes.
    encoder_params: of that encoder; may be set later, before anything is encoded.
    indices: that are open already.
  """

  def __init__(
    self,
    experiment: experiment_lib.Experiment,
    encoder_params: Any,
    indices: indices_lib.Indices | None = None,
  ):
    self._experiment = experiment
    self.encoder_params = encoder_params
    self._cameras = tuple(experiment.config.task.cameras) or types.CAMERAS
    self._opened = indices or {}
    self._indices: indices_lib.Indices = {}  # those that have been checked
    self._encoder_fingerprint: str | None = None
    self._features: dict[pathlib.Path, np.ndarray | asked_rows.AskedRows | None] = {}

  def open(self, directories: Sequence[pathlib.Path]) -> None:
    """Indexes and checks what is new among some directories; no image is read.

    Raises:
      FileNotFoundError: naming a directory that is missing.
      ValueError: naming what a directory lacks.
    """
    new = [directory for directory in dict.fromkeys(directories) if directory not in self._indices]
    for directory in new:
      index = self._opened.get(directory)
      if index is None:
        index = indices_lib.open_one(self._experiment.config, directory)
      self._indices[directory] = index
    for directory in new:
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
          with progress.bar(f'Encode {indices_lib.label(directory)}', total, 'steps') as advance:
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

  def action_kinds(self, directory: pathlib.Path) -> tuple[str, ...]:
    """What kinds of actions the episodes of a directory tell; raises what `open` does."""
    self.open([directory])
    return self._indices[directory].action_kinds

  def metadata(self, directory: pathlib.Path, name: str) -> tuple[bool | int | float | str, ...]:
    """The different values that episodes of a directory have under a name; as `open` raises."""
    self.open([directory])
    told = (episode.metadata.get(name) for episode in self._indices[directory].episodes())
    return tuple(dict.fromkeys(value for value in told if value is not None))

  def episodes(self, directories: Sequence[pathlib.Path]) -> int:
    """How many episodes some directories hold together; raises what `open` does."""
    self.open(directories)
    return sum(len(self._indices[directory].boundaries) - 1 for directory in directories)

  def _steps(self, directories: Sequence[pathlib.Path], features: Sequence[Any]) -> steps_lib.Steps:
    indices = [self._indices[directory] for directory in directories]
    return steps_lib.Steps(indices, features, self._cameras)

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
          batch_size=STEPS,
        )

  def _check(self, directory: pathlib.Path) -> None:
    """Raises ValueError unless a dataset has what the networks read, of the widths wanted."""
    index, task = self._indices[directory], self._experiment.config.task
    for line in robot.check(directory, index, task):
      progress.CONSOLE.print(line, highlight=False, soft_wrap=True)
    rate.check(directory, index, self._experiment.config)
    if self._experiment.encoder is not None:
      self._check_cameras(directory, index)
      return
    if index.features is None:
      raise ValueError(
        f'{directory} has no steps/observation/features, which the actor reads in place of '
        'images; use a variant of the experiment that encodes the cameras, such as :pixels.'
      )
    simulated, found = self._experiment.config.sim.task, index.features.shape[1:]
    expected = np.shape(next(iter(self._indices.values())).features)[1:]
    if simulated:
      expected = self._experiment.feature_shape()
    if found != tuple(expected):
      like = f'of config.sim.task={simulated!r}' if simulated else 'in the other episodes'
      raise ValueError(
        f'{directory}: features: found {list(found)} a step, expected {list(expected)} as '
        f'{like}; leave the dataset out, or record it again where it is to be played.'
      )

  def _check_cameras(self, directory: pathlib.Path, index: index_lib.Index) -> None:
    """Says which cameras are missing in a dataset; raises ValueError where no other has any."""
    missing = robot.missing_cameras(index, self._experiment.config.task)
    named = ', '.join(missing)
    wanted = set(self._experiment.config.task.cameras) or set(types.CAMERAS)
    if missing and not any(wanted & set(other.cameras) for other in self._indices.values()):
      raise ValueError(
        f'{directory}: there are no images of {named}, so that nothing is seen of the task; name '
        f'their field with config.data.mapping.{missing[0]}, or leave the dataset out.'
      )
    if missing:
      progress.CONSOLE.print(
        f'{directory}: there are no images of {named}, which other episodes have; masked in these.',
        highlight=False,
        soft_wrap=True,
      )

  def _encode(
    self, directory: pathlib.Path, index: index_lib.Index, encoder: encoder_lib.Encoder
  ) -> np.ndarray:
    """[N, V, F] bfloat16, mapped from the disk: kept from before, or computed now."""
    with progress.bar(f'Encode {indices_lib.label(directory)}', len(index), 'steps') as advance:
      return row_cache.build(
        self._kept(directory, index, encoder),
        self._shape(index, encoder),
        jnp.bfloat16,
        self._encoding(index, encoder),
        batch_size=STEPS,
        progress=advance,
      )

  def _kept(
    self, directory: pathlib.Path, index: index_lib.Index, encoder: encoder_lib.Encoder
  ) -> pathlib.Path:
    """Where all features of a directory are kept: under what they are a function of."""
    if self._encoder_fingerprint is None:
      self._encoder_fingerprint = policy.fingerprint(self.encoder_params)
    unseen = set(index.cameras) - set(self._cameras)
    without = f' without {sorted(unseen)}' if unseen else ''
    key = f'{encoder!r} {self._encoder_fingerprint} {index.content}{without}'
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
    steps = steps_lib.Steps([index], cameras=self._cameras)
    reader = image_reader.ImageReader(steps, size)

    def encode(rows: np.ndarray) -> np.ndarray:
      seen, present = reader.read(rows)
      return self._experiment.encode(self.encoder_params, seen, present)

    return encode
