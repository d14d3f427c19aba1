"""Arrays that wait in the host's memory while a program that does not read them has the device's.

They keep their bits, and each shard waits at its own device's host: nothing is gathered.
"""

from typing import Any

import jax


def is_apart() -> bool:
  """Whether devices have memory of their own."""
  return jax.default_backend() != 'cpu'


class Lent:
  """Copies in the host's memory; the device's is free when nobody else refers to the originals.

  Args:
    arrays: a tree of them, on devices.
    stay: a tree of arrays; those of `arrays` that are among them stay on their devices.

  Raises:
    jax.errors.JaxRuntimeError: the host has no room.
  """

  def __init__(self, arrays: Any, stay: Any = ()):
    staying = {id(x) for x in jax.tree.leaves(stay)}
    self._here = jax.tree.map(lambda x: x.sharding, arrays)
    there = jax.tree.map(
      lambda x: x.sharding if id(x) in staying else x.sharding.with_memory_kind('pinned_host'),
      arrays,
    )
    self.arrays = jax.block_until_ready(jax.device_put(arrays, there))

  def returned(self) -> Any:
    """The arrays, where they were before."""
    return jax.block_until_ready(jax.device_put(self.arrays, self._here))
