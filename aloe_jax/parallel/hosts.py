"""Several processes that run the same program, one a host: what they have to agree on.

With one process nothing here communicates.
"""

import jax
from jax.experimental import multihost_utils
import numpy as np


def wait(what: str) -> None:
  """Returns when every host has got to this `what`."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


def lowest(number: int) -> int:
  """The least of the numbers that the hosts give, the same on all of them."""
  if jax.process_count() == 1:
    return number
  return int(np.min(multihost_utils.process_allgather(np.int32(number))))


def whole(array: jax.Array | np.ndarray) -> np.ndarray:
  """All of an array, on every host, wherever its parts lie."""
  if isinstance(array, jax.Array) and not array.is_fully_addressable:
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
  return np.asarray(array)
