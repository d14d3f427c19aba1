"""What training reads: episodes from disk, encoded where a frozen encoder is in use."""

import dataclasses
import hashlib
import pathlib

import ml_collections
import numpy as np

from aloe_jax import checkpoints
from aloe_jax import experiment as experiment_lib
from aloe_jax import files
from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
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
    for directory in directories:
      if directory not in self._episodes:
        self._episodes[directory] = self._read(directory)
        self._check_sizes(directory)
    return [episode for directory in directories for episode in self._episodes[directory]]

  def _check_sizes(self, directory: pathlib.Path) -> None:
    """Raises ValueError unless actions and features are as wide as those read before."""
    reference, found = next(iter(self._episodes.values()))[0], self._episodes[directory][0]
    width = found.action.shape[1]
    if width != experiment_lib.ACTION_SIZE:
      raise ValueError(
        f'{directory}: steps/action: found {width} numbers a step, expected '
        f'{experiment_lib.ACTION_SIZE}: two arms times six joints or axes and a gripper.'
      )
    shape, expected = np.shape(found.features)[1:], np.shape(reference.features)[1:]
    if shape != expected:
      raise ValueError(
        f'{directory}: features: found {list(shape)} a step, expected {list(expected)} as in '
        'the other episodes.'
      )

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


def cost_of_failure(config: ml_collections.ConfigDict, episodes: list[rlds.Episode]) -> float:
  """C_fail of Eq. (14), in steps, frozen at the first iteration.

  Args:
    config: `fail.cost` if it is given; else, of a run without a simulator, that of the
      checkpoint it goes on from; else `fail.lengths` mean lengths of a successful demonstration.
    episodes: of the first iteration.

  Raises:
    ValueError: there is no demonstration to take it from.
  """
  if config.fail.cost > 0:
    return config.fail.cost
  if not config.sim.task and config.actor.checkpoint:
    return checkpoints.read_meta(pathlib.Path(config.actor.checkpoint))['fail_cost']
  demonstrations = [e for e in episodes if (e.source == types.Source.DEMO).all()]
  if not demonstrations:
    raise ValueError(
      'the cost of failure is the mean length of the successful demonstrations, but the '
      'episodes hold no demonstration; give config.fail.cost, in steps.'
    )
  first = [np.arange(len(e)) == 0 for e in demonstrations]
  ends = np.concatenate([e.end_reason for e in demonstrations])
  return config.fail.lengths * rewards.mean_success_length(ends, np.concatenate(first))
