"""What training reads: episodes from disk, encoded where a frozen encoder is in use."""

import dataclasses
import hashlib
import pathlib

import numpy as np

from aloe_jax import experiment as experiment_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax.data import rlds


class Datasets:
  """Reads each directory of episodes once.

  Args:
    experiment: whose encoder, if it has one, turns pictures into features. Those are kept on
      disk beside the episodes, under a name made of the encoder and the episodes' directory.
  """

  def __init__(self, experiment: experiment_lib.Experiment):
    self._experiment = experiment
    self._episodes: dict[pathlib.Path, list[rlds.Episode]] = {}

  def read(self, directories: list[pathlib.Path]) -> list[rlds.Episode]:
    """All episodes of some directories, in order.

    Raises:
      FileNotFoundError: naming a directory that is missing.
      ValueError: naming what a directory lacks.
    """
    episodes = []
    for directory in directories:
      if directory not in self._episodes:
        self._episodes[directory] = self._read(directory)
      episodes += self._episodes[directory]
    return episodes

  def _read(self, directory: pathlib.Path) -> list[rlds.Episode]:
    if self._experiment.encoder is None:
      episodes = rlds.read(directory)
      if any(episode.features is None for episode in episodes):
        raise ValueError(
          f'{directory} has no steps/observation/features, which the actor reads in place of '
          'images; use a variant of the experiment that encodes the cameras, such as :pixels.'
        )
      return episodes
    encoded = self._encode(directory)
    return [
      dataclasses.replace(episode, features=features)
      for episode, features in zip(rlds.read(directory), encoded, strict=True)
    ]

  def _encode(self, directory: pathlib.Path) -> list[np.ndarray]:
    """[episodes] of features [T, V, F]: read from the cache, or computed and kept there."""
    key = hashlib.sha256(repr(self._experiment.encoder).encode()).hexdigest()[:16]
    cache = directory.with_name(f'{directory.name}.features-{key}.npz')
    if cache.exists():
      with np.load(cache) as kept:
        return [kept[f'{index}'] for index in range(len(kept.files))]
    episodes = rlds.read(directory, images=True)
    features = []
    with progress.bar(f'Encode {directory.name}', len(episodes), 'episodes') as advance:
      for episode in episodes:
        if episode.images is None:
          raise ValueError(f'{directory} has no images to encode.')
        features.append(self._experiment.encode(episode.images))
        advance(len(features))
    files.write_arrays(cache, {f'{index}': x for index, x in enumerate(features)})
    return features
