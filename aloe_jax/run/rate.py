"""How many steps a second the robot makes, told by its data, and the same in all of them.

A chunk of h steps takes another time at another rate, and so does an action of one step: what was
recorded at 15 steps a second is not mixed with 30 unless `config.data.rates` says so.
"""

import pathlib

import ml_collections

from aloe_jax import progress
from aloe_jax.data import index as index_lib
from aloe_jax.data import rates
from aloe_jax.run import indices as indices_lib

UNTOLD = 30.0  # steps a second where nothing tells, as in the paper
_SHOWN = 3  # of what is told instead of a rate
_SAME = 0.01  # share by which two rates may differ: 29.97 is 30


def settle(config: ml_collections.ConfigDict, indices: indices_lib.Indices) -> None:
  """Fills in `config.task.control_hz` where it is 0, holds it to the data, and says it.

  Args:
    config: of a run on data of a robot; changed in place.
    indices: of all its datasets; at least one.

  Raises:
    ValueError: naming the datasets that are of different rates, or not of the one given.
  """
  told = {directory: index.rates for directory, index in indices.items() if index.rates}
  found = sorted({rate for one in told.values() for rate in one})
  mixed = bool(found) and not are_same(found[0], found[-1])
  lines = [f'{directory}: {rates.shown(one)}' for directory, one in told.items()]
  if mixed and config.data.rates == 'same':
    raise ValueError(
      'the episodes were recorded at different rates, so that a chunk takes another time in each:\n'
      + '\n'.join(lines)
      + '\nTrain on those of one rate, or mix them by --config.data.rates=any.'
    )
  for directory, index in indices.items():
    check(directory, index, config)
  given = config.task.control_hz
  if given:
    origin = 'as config.task.control_hz says'
  elif told:
    weights = dict.fromkeys(found, 0)
    for directory, one in told.items():
      weights[one[0]] += len(indices[directory])
    config.task.control_hz = max(weights, key=lambda rate: weights[rate])
    origin = 'from the data'
  else:
    config.task.control_hz = UNTOLD
    origin = 'no dataset tells; config.task.control_hz says another'
  if mixed:
    origin += '; the episodes are of different rates: ' + '; '.join(lines)
  untold = [str(directory) for directory in indices if directory not in told]
  if told and untold:
    origin += f'; not told by {", ".join(untold)}'
  for directory, index in indices.items():
    if index.no_rates:
      origin += f'; {directory}: {", ".join(index.no_rates[:_SHOWN])}, which is none'
  progress.CONSOLE.print(
    f'Robot: {config.task.control_hz:g} steps a second ({origin})', highlight=False, soft_wrap=True
  )


def check(
  directory: pathlib.Path, index: index_lib.Index, config: ml_collections.ConfigDict
) -> None:
  """Raises ValueError if a dataset was not recorded at `config.task.control_hz`, as it must be."""
  wanted = config.task.control_hz
  if not wanted or config.data.rates == 'any':
    return
  if not all(are_same(rate, wanted) for rate in index.rates):
    raise ValueError(
      f'{directory}: found {rates.shown(index.rates)}, expected config.task.control_hz = '
      f'{wanted:g}; leave the dataset out, leave the field to the data, or mix rates by '
      '--config.data.rates=any.'
    )


def are_same(one: float, other: float) -> bool:
  """Whether two rates, in steps a second, are one."""
  return abs(one - other) <= _SAME * max(one, other)
