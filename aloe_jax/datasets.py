"""What training reads: episodes from disk, encoded where a frozen encoder is in use."""

import dataclasses
import hashlib
import pathlib
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np

from aloe_jax import checkpoints
from aloe_jax import experiment as experiment_lib
from aloe_jax import files
from aloe_jax import images as images_lib
from aloe_jax import policy
from aloe_jax import progress
from aloe_jax import rewards
from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import rlds
from aloe_jax.models import encoder as encoder_lib


class Datasets:
  """Reads each directory of episodes once.

  Args:
    experiment: whose encoder, if it has one, turns pictures into features. Those are kept on
      disk beside the episodes, under a name made of the encoder and the episodes' directory.
    encoder_params: of that encoder.
  """

  def __init__(self, experiment: experiment_lib.Experiment, encoder_params: Any):
    self._experiment = experiment
    self._encoder_params = encoder_params
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
    width, wanted = found.action.shape[1], self._experiment.config.task.action_size
    if width != wanted:
      raise ValueError(
        f'{directory}: steps/action: found {width} numbers a step, expected '
        f'config.task.action_size = {wanted}.'
      )
    shape, expected = np.shape(found.features)[1:], np.shape(reference.features)[1:]
    if shape != expected:
      raise ValueError(
        f'{directory}: features: found {list(shape)} a step, expected {list(expected)} as in '
        'the other episodes.'
      )

  def _read(self, directory: pathlib.Path) -> list[rlds.Episode]:
    episodes = rlds.read(directory)
    if self._experiment.encoder is None:
      if any(episode.features is None for episode in episodes):
        raise ValueError(
          f'{directory} has no steps/observation/features, which the actor reads in place of '
          'images; use a variant of the experiment that encodes the cameras, such as :pixels.'
        )
      return episodes
    for index, episode in enumerate(episodes):
      missing = [
        camera
        for camera in self._experiment.config.task.cameras
        if camera not in (episode.images or {})
      ]
      if missing:
        raise ValueError(
          f'{directory}, episode {index}: there are no pictures of the camera '
          f'{" or ".join(map(repr, missing))} (steps/observation/{rlds.CAMERAS[missing[0]]}); '
          'leave a camera that this robot has not out of config.task.cameras.'
        )
    encoded = self._encode(directory, episodes, self._experiment.encoder)
    return [
      dataclasses.replace(episode, features=features)
      for episode, features in zip(episodes, encoded, strict=True)
    ]

  def _encode(
    self,
    directory: pathlib.Path,
    episodes: list[rlds.Episode],
    encoder: encoder_lib.Encoder,
  ) -> list[np.ndarray]:
    """[episodes] of features [T, V, F] bfloat16: from the cache, or computed and kept there."""
    key = f'{encoder!r} {policy.fingerprint(self._encoder_params)}'
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    cache = directory.with_name(f'{directory.name}.features-{digest}.npz')
    if cache.exists():
      with np.load(cache) as kept:
        # NumPy has no bfloat16 of its own to keep.
        return [kept[f'{index}'].view(jnp.bfloat16) for index in range(len(kept.files))]
    features: list[np.ndarray] = []
    with progress.bar(f'Encode {directory.name}', len(episodes), 'episodes') as advance:
      for episode in episodes:
        features.append(self._encode_episode(episode, encoder.image_size).astype(jnp.bfloat16))
        advance(len(features))
    kept = {f'{index}': x.view(np.uint16) for index, x in enumerate(features)}
    files.write_arrays(cache, kept)
    return features

  def _encode_episode(self, episode: rlds.Episode, size: int) -> np.ndarray:
    """[T, V, F] of pictures resized to `size`; zeros for a camera that is not there."""
    images = {}
    for camera, frames in (episode.images or {}).items():
      pictures = image_codec.decoded(frames)
      if size:
        pictures = np.stack([images_lib.resize_with_pad(picture, size) for picture in pictures])
      images[camera] = pictures
    black = np.zeros_like(next(iter(images.values())))
    whole = {camera: images.get(camera, black) for camera in types.CAMERAS}
    features = self._experiment.encode(self._encoder_params, whole)
    present = np.array([camera in images for camera in types.CAMERAS])
    return np.where(present[:, None], features, 0)


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
  start = pathlib.Path(config.actor.checkpoint)
  if not config.sim.task and config.actor.checkpoint and checkpoints.is_one(start):
    return checkpoints.read_meta(start)['fail_cost']
  demonstrations = [e for e in episodes if (e.source == types.Source.DEMO).all()]
  if not demonstrations:
    raise ValueError(
      'the cost of failure is the mean length of the successful demonstrations, but the '
      'episodes hold no demonstration; give config.fail.cost, in steps.'
    )
  first = [np.arange(len(e)) == 0 for e in demonstrations]
  ends = np.concatenate([e.end_reason for e in demonstrations])
  return config.fail.lengths * rewards.mean_success_length(ends, np.concatenate(first))
