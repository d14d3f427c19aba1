"""RLDS datasets of numbers and texts alone, whatever they hold: written without TensorFlow."""

import numpy as np

from aloe_jax.data import schema
from aloe_jax.data import tfds_directory


def write(directory, episodes, *, name='bare'):
  """Writes a split `train`.

  Args:
    directory: a path that does not exist yet.
    episodes: {name below steps: numbers [T, ...] or T texts} of each.
    name: of the dataset.
  """
  fields = {f'steps/{key}': _leaf(values) for key, values in episodes[0].items()}
  examples = [
    {f'steps/{key}': _stored(values) for key, values in episode.items()} for episode in episodes
  ]
  tfds_directory.write(directory, examples, name=name, fields=fields)
  return directory


def _leaf(values):
  if isinstance(values, list):
    return schema.Leaf('text', 'string', (), 'none', per_step=True)
  return schema.Leaf('tensor', 'float32', np.shape(values)[1:], 'none', per_step=True)


def _stored(values):
  if isinstance(values, list):
    return [text.encode() for text in values]
  return np.asarray(values, np.float32)
