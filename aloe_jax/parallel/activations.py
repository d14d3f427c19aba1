"""How activations lie on a sharded mesh: the rows of a batch over all of its devices.

Parameters are split over the same devices. Left to itself, the partitioner prefers to keep those
where they are and to gather the rows of the whole batch for each of their matrix products: far
more bytes than the parameters, and memory that does not shrink with the number of devices. So
models say at the places that matter which axis holds rows; what is gathered then is weights.

Models carry no mesh: what they say counts while a program is traced inside `split_over`, and
nothing is said on one device or on replicas, whose rows are their own.
"""

from collections.abc import Iterator
import contextlib

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec

AXES = ('data', 'fsdp')  # of the mesh; rows are split over both


@contextlib.contextmanager
def split_over(mesh: Mesh) -> Iterator[None]:
  """Programs that are traced inside split the rows of their activations over this mesh.

  JAX keeps the mesh beside what it has traced, so that a program is traced anew for another one.
  """
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    yield


def rows(x: jax.Array) -> jax.Array:
  """Says that the first axis of x [B, ...] holds rows, each whole on one device.

  The same x where there is no mesh, or where the devices do not divide B.
  """
  return _pinned(x, 0)


def columns(x: jax.Array) -> jax.Array:
  """Says that the last axis of x [..., D] is the one that is split, as `rows` does of the first."""
  return _pinned(x, x.ndim - 1)


def whole(x: jax.Array) -> jax.Array:
  """Says that all of x lies on every device: of a weight that a loop reads again and again.

  Left to itself the partitioner gathers it in every round of the loop.
  """
  return jax.lax.with_sharding_constraint(x, PartitionSpec()) if is_split() else x


def is_split() -> bool:
  """Whether programs are traced for several devices that share rows and parameters."""
  return _devices() > 1


def splits_columns(width: int) -> bool:
  """Whether `columns` has anything to split an axis of some width over."""
  count = _devices()
  return count > 1 and width % count == 0


def _pinned(x: jax.Array, axis: int) -> jax.Array:
  count = _devices()
  if count == 1 or x.shape[axis] % count:
    return x
  spec = PartitionSpec(*(AXES if at == axis else None for at in range(x.ndim)))
  return jax.lax.with_sharding_constraint(x, spec)


def _devices() -> int:
  """Devices of the mesh that programs are traced for, 1 where there is none."""
  mesh = jax.sharding.get_abstract_mesh()
  return mesh.size if mesh.axis_names == AXES else 1
