"""A train state on disk: each of its fields an item of its own, read and written by itself.

So a checkpoint shares what did not change with the one before, and whoever acts reads the moving
average alone. Checkpoints of earlier versions hold all fields in one item, `state`.
"""

from collections.abc import Iterator, Mapping
import contextlib
import pathlib
import re
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax import files
from aloe_jax.buckets import patience
from aloe_jax.learning.train_state import TrainState
from aloe_jax.parallel import hosts
from aloe_jax.pretrained import arrays_on_disk
from aloe_jax.run import written_files

FIELDS = tuple(TrainState.__dataclass_fields__)
CHANGED = {  # by the updates of a phase; all else stays as it was
  'critic': ('step', 'critic', 'critic_target', 'critic_optimizer'),
  'actor': ('step', 'actor', 'actor_ema', 'actor_optimizer'),
}
ENCODER = 'encoder'  # the item of the frozen encoder, which is no field
_OLD = 'state'
_DAMAGE = re.compile('DATA_LOSS|OUT_OF_RANGE|NOT_FOUND|INVALID_ARGUMENT: Error|TensorStore details')


def of_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
  """{item: tree} of {field: value}; there is no item where a field holds no arrays."""
  return {name: {name: value} for name, value in fields.items() if jax.tree.leaves(value)}


def names(path: pathlib.Path) -> list[str]:
  """Items with arrays that a checkpoint has a directory of."""
  return [name for name in (_OLD, *FIELDS, ENCODER) if (path / name).is_dir()]


def shareable(path: pathlib.Path) -> list[str]:
  """Items of a checkpoint that the next one may share; none of one of an earlier version."""
  found = names(path)
  return [] if _OLD in found else found


def is_there(path: pathlib.Path) -> bool:
  """Whether a directory holds a train state, or some of its fields."""
  return any((path / name / '_METADATA').exists() for name in names(path) if name != ENCODER)


def read(path: pathlib.Path, like: Mapping[str, Any], advice: str) -> dict[str, Any]:
  """Reads some fields back, bit for bit, and nothing else.

  Args:
    path: of the checkpoint.
    like: {field: shapes and types wanted}; leaves that say where they are to lie are read there.
    advice: what is to be done about a damaged checkpoint; ends the message.

  Raises:
    ValueError: bytes on disk are not those that were written, or cannot be read.
  """
  found = dict(like)  # what has no arrays is as it was, also where a version knew no such field
  items = of_fields(like)
  if (path / _OLD).exists():
    wanted = {name: like[name] for name in items}
    return found | _read_item(path, _OLD, wanted, advice)
  for name, tree in items.items():
    found |= _read_item(path, name, tree, advice)
  return found


def read_encoder(path: pathlib.Path, like: Any, advice: str) -> Any:
  """The parameters of the frozen encoder; arguments and errors as for `read`."""
  return _read_item(path, ENCODER, like, advice)


def _read_item(path: pathlib.Path, name: str, like: Any, advice: str) -> Any:
  if not (path / name).is_dir():
    raise ValueError(f'{path / name} is missing; {advice}')
  share = jax.process_index(), jax.process_count()
  damaged = written_files.damaged(path, name, share=share)
  if not hosts.lowest(damaged is None):
    where = f'{damaged} holds' if damaged else f'{path} holds'
    raise ValueError(f'{where} other bytes than were written, by their checksum; {advice}')
  item = described(like)
  arguments = ocp.args.PyTreeRestore(
    item,
    restore_args=ocp.checkpoint_utils.construct_restore_args(item),
    partial_restore=True,
  )
  with (
    _damage_is_named(path, advice),
    patience.waiting(path, 'read'),
    ocp.PyTreeCheckpointer() as checkpointer,
  ):
    return hosts.own(checkpointer.restore(files.absolute(path / name), args=arguments))


@contextlib.contextmanager
def _damage_is_named(path: pathlib.Path, advice: str) -> Iterator[None]:
  """Raises one ValueError for whatever Orbax and TensorStore say of bytes that they cannot read."""
  try:
    yield
  except Exception as error:
    said = str(error)
    if not _DAMAGE.search(said):
      raise
    shown = arrays_on_disk.in_short(error).partition('See full TensorStore')[0].strip()
    raise ValueError(f'{path} is damaged ({shown:.200}); {advice}') from error


def described(like: Any) -> Any:
  """Shapes, types and places of a tree's leaves."""

  def described(x: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(x, 'sharding', None)
    if hosts.count() > 1 and isinstance(sharding, jax.sharding.SingleDeviceSharding):
      sharding = hosts.everywhere()  # every host reads a copy of its own
    return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding)

  return jax.tree.map(described, like)
