"""A robot's episodes and a π0.5 to start from, on disk, as a team brings them to a first run."""

import dataclasses

import jax
import numpy as np
import tiny

from aloe_jax import types
from aloe_jax.data import rlds
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import openpi
from aloe_jax.run import experiment
from experiments import laundry

SIZE = 14  # numbers of the state and of an action
LENGTH = 12  # steps of an episode


def make_config(**changes):
  """The smallest π0.5 on data of a robot, settled; 'a__b' stands for the field a.b."""
  config = laundry.get_config('debug')
  settled = {
    'proprio_size': SIZE,
    'action_size': SIZE,
    'cameras': types.CAMERAS,
    'control_hz': 30.0,
  }
  config.task.update(settled)
  changes = {'sim__task': ''} | changes
  config.update_from_flattened_dict({name.replace('__', '.'): x for name, x in changes.items()})
  return config


def make_flags(**changes):
  """The command line of `make_config`."""
  named = {name.replace('__', '.'): x for name, x in ({'sim__task': ''} | changes).items()}
  return [
    '--config=experiments/laundry.py:debug',
    *(f'--config.{name}={x}' for name, x in named.items()),
  ]


def make_episode(index, **changes):
  """A demonstration where `index` is even; else a rollout that a human takes over."""
  rng = np.random.default_rng(index)
  source = np.full(LENGTH, types.Source.DEMO, np.int8)
  end_reason = np.zeros(LENGTH, np.int8)
  end_reason[-1] = types.EndReason.SUCCESS
  if index % 2:
    source[:9], source[9:] = types.Source.POLICY, types.Source.HUMAN
    end_reason[8] = types.EndReason.TAKEOVER
  state = 0.5 * tiny.normal(rng, LENGTH, SIZE)
  episode = rlds.Episode(
    state=state,
    features=None,
    images={
      camera: rng.integers(0, 256, (LENGTH, 24, 32, 3), dtype=np.uint8)
      for camera in rlds.CAMERA_FIELDS
    },
    action=state + 0.1 * tiny.normal(rng, LENGTH, SIZE),
    source=source,
    end_reason=end_reason,
    prompt='Fold the t-shirt',
    metadata={},
  )
  return dataclasses.replace(episode, **changes)


def write_episodes(directory, *episodes):
  rlds.write(directory, episodes or map(make_episode, range(4)), name='table')
  return directory


def make_stats(size=SIZE, scale=1.0):
  """Of states and actions that lie in about [-scale, scale]."""
  ones = scale * np.ones(size)
  return dict.fromkeys(('state', 'actions'), normalize.Stats(0 * ones, ones / 2, -ones, ones))


def make_params(config, seed=0):
  """Random numbers where the actor of a config has parameters."""
  rng = np.random.default_rng(seed)
  shapes = experiment.Experiment(config).abstract_state().actor['params']
  return jax.tree.map(lambda leaf: 0.05 * tiny.normal(rng, *leaf.shape), shapes)


def write_checkpoint(directory, params=None, stats=None, asset='table'):
  """A checkpoint of openpi for `make_config()`."""
  if params is None:
    params = make_params(make_config())
  openpi.export(directory, params, stats=stats or make_stats(), asset=asset)
  return directory
