"""Checkpoints of a run: one directory per finished phase, written by Orbax, atomic."""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import numbers
import pathlib
import re
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax import config as config_lib
from aloe_jax import disk
from aloe_jax import files
from aloe_jax import renamed
from aloe_jax.learning.train_state import TrainState
from aloe_jax.pretrained import arrays_on_disk
from aloe_jax.pretrained import one_error
from aloe_jax.run import file_sizes
from aloe_jax.run import padded_state

_META = 'meta/metadata'
_DAMAGE = re.compile('DATA_LOSS|OUT_OF_RANGE|NOT_FOUND|INVALID_ARGUMENT: Error|TensorStore details')
_TYPES: dict[str, type | tuple[type, ...]] = {  # of what is read of the JSON about a checkpoint
  'architecture': dict,
  'config': dict,
  'phase': str,
  'iteration': int,
  'fail_cost': (numbers.Real, type(None)),  # null: not known yet
}


class Checkpoints:
  """The numbered checkpoints of one run, kept all: an iteration may have to be gone back to.

  Args:
    directory: holds one directory a checkpoint; created by the first save.
  """

  def __init__(self, directory: pathlib.Path):
    self._directory = files.absolute(directory)

  def latest(self) -> int | None:
    """Number of the newest checkpoint, or None."""
    if not self._directory.exists():
      return None
    return max(ocp.utils.checkpoint_steps(self._directory), default=None)

  def newest(self) -> pathlib.Path:
    """Directory of the newest checkpoint.

    Raises:
      FileNotFoundError: there is none.
    """
    latest = self.latest()
    if latest is None:
      raise FileNotFoundError(
        f'{self._directory} holds no checkpoint; expected the --workdir of a run that has '
        'finished its warm start.'
      )
    return self.path(latest)

  def path(self, number: int) -> pathlib.Path:
    """Directory of a checkpoint."""
    return self._directory / str(number)

  def save(self, number: int, state: TrainState, encoder: Any, meta: dict[str, Any]) -> None:
    """Writes a checkpoint; on return it is whole on disk.

    Args:
      number: its directory's name.
      state: one global copy.
      encoder: parameters of the frozen encoder that the critic was trained on; {} for none.
      meta: JSON about it; `architecture` is what `restore` compares.
    """
    with (
      disk.writing(f'checkpoint {number}', self._directory),
      one_error.raised(),
      self._manager() as manager,
    ):
      items: dict[str, Any] = {'state': ocp.args.StandardSave(state)}
      if encoder:
        items['encoder'] = ocp.args.StandardSave(encoder)
      manager.save(number, args=ocp.args.Composite(**items, meta=ocp.args.JsonSave(meta)))
      manager.wait_until_finished()
      if jax.process_index() == 0:
        file_sizes.write(self.path(number), list(items))

  def _manager(self) -> ocp.CheckpointManager:
    """Orbax's, of a directory that is there: it waits long where there cannot be one."""
    self._directory.mkdir(parents=True, exist_ok=True)
    return ocp.CheckpointManager(self._directory)


def is_one(path: pathlib.Path) -> bool:
  """Whether there is a checkpoint of a run at `path`."""
  return any((path / file).exists() for file in (_META, 'state/_METADATA'))


def find(path: pathlib.Path) -> pathlib.Path:
  """The checkpoint of a run that a path names: itself, or the newest of a working directory.

  Raises:
    FileNotFoundError: there is none.
  """
  if is_one(path):
    return path
  for directory in (path / 'checkpoints', path):
    kept = Checkpoints(directory)
    if directory.is_dir() and kept.latest() is not None:
      return kept.newest()
  what = 'holds no checkpoint of a run' if path.exists() else 'does not exist'
  raise FileNotFoundError(
    f'{path} {what}; expected the working directory of a run that has finished its warm start, '
    'such as runs/laundry, or one of its checkpoints, such as runs/laundry/checkpoints/4.'
  )


def read_meta(path: pathlib.Path, *needed: str) -> dict[str, Any]:
  """What `save` was told about a checkpoint.

  Args:
    path: of the checkpoint.
    *needed: names without which it is of no use to the caller.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is damaged, or lacks one of the names.
  """
  file, advice = path / _META, _advice(path)
  if is_one(path) and not file.exists():
    raise ValueError(f'{file} is missing; {advice}')
  if not is_one(path):
    raise FileNotFoundError(
      f'{path} is not a checkpoint: expected a directory such as '
      'runs/laundry/checkpoints/4, holding "state" and "meta".'
    )
  meta = files.read_json(file, advice)
  if not isinstance(meta, dict):
    raise ValueError(f'{file}: found {type(meta).__name__}, expected an object; {advice}')
  if missing := [name for name in needed if name not in meta]:
    raise ValueError(
      f'{file}: found {", ".join(sorted(meta)) or "nothing"}, expected {", ".join(missing)} too; '
      f'{advice}'
    )
  for name in meta.keys() & _TYPES.keys():
    expected = _TYPES[name]
    if not isinstance(meta[name], expected):
      wanted = expected[0] if isinstance(expected, tuple) else expected
      raise ValueError(
        f'{file}: {name}: found {meta[name]!r:.80}, expected {wanted.__name__}; {advice}'
      )
  return meta


def restore(path: pathlib.Path, like: TrainState, architecture: dict[str, Any]) -> TrainState:
  """Reads a checkpoint back, bit for bit.

  Args:
    path: of the checkpoint.
    like: a state of the shapes wanted, or their `jax.eval_shape`; leaves that say where they
      lie are read straight there.
    architecture: of the networks wanted, compared with the checkpoint's before any read.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is of another architecture; see `check`.
  """
  check(path, architecture)
  # By field, as earlier versions had no `actor_frozen`: nothing is kept where there is nothing.
  fields = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
  wanted = {name: tree for name, tree in fields.items() if jax.tree.leaves(tree)}
  return dataclasses.replace(like, **restore_parts(path, wanted))


def restore_parts(path: pathlib.Path, like: dict[str, Any]) -> dict[str, Any]:
  """Reads back some fields of a checkpoint's train state, and nothing else.

  Whoever acts or judges needs the moving average, and at most the critic: a sixth of what a
  checkpoint of a whole π0.5 holds.

  Args:
    path: of the checkpoint.
    like: {field of `TrainState`: shapes wanted}; leaves say where they are to lie.
  """
  item = _described(like)
  arguments = ocp.args.PyTreeRestore(
    item,
    restore_args=ocp.checkpoint_utils.construct_restore_args(item),
    partial_restore=True,
  )
  with _damage_is_named(path), ocp.PyTreeCheckpointer() as checkpointer:
    return checkpointer.restore(files.absolute(path / 'state'), args=arguments)


def restore_encoder(path: pathlib.Path, like: Any) -> Any:
  """Reads back the frozen encoder of a checkpoint; `like` as for `restore`."""
  return _read(path / 'encoder', like)


def _read(item: pathlib.Path, like: Any) -> Any:
  with _damage_is_named(item.parent), ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.restore(files.absolute(item), _described(like))


@contextlib.contextmanager
def _damage_is_named(path: pathlib.Path) -> Iterator[None]:
  """Raises one ValueError for whatever Orbax and TensorStore say of bytes that they cannot read."""
  try:
    yield
  except Exception as error:
    said = str(error)
    if not _DAMAGE.search(said):
      raise
    shown = arrays_on_disk.in_short(error).partition('See full TensorStore')[0].strip()
    raise ValueError(f'{path} is damaged ({shown:.200}); {_advice(path)}') from error


def _advice(path: pathlib.Path) -> str:
  """What is to be done about a damaged checkpoint: that of a run can be done without."""
  others = [int(p.name) for p in path.absolute().parent.glob('*') if p.name.isdecimal()]
  number = int(path.name) if path.name.isdecimal() else 0
  earlier = max((other for other in others if other < number), default=None)
  if earlier is not None:
    return (
      f'put back a copy of it, or remove {path}: its run then goes on from checkpoint {earlier}.'
    )
  return 'use another checkpoint, or put back a copy of this one.'


def _described(like: Any) -> Any:
  """Shapes, types and places of a tree's leaves."""

  def described(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=getattr(x, 'sharding', None))

  return jax.tree.map(described, like)


def check(path: pathlib.Path, architecture: dict[str, Any]) -> None:
  """Compares a checkpoint's architecture with the one wanted; reads no parameters.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is of another architecture; lists every field that differs. Or its policy was
      told numbers that its robot does not have, see `padded_state`.
      Or it is not whole.
  """
  meta = read_meta(path, 'architecture')
  padded_state.check(path, meta)
  found = renamed.fields(meta['architecture'])
  different = config_lib.differences(found, json.loads(json.dumps(architecture)))
  if different:
    raise ValueError(
      f'{path} is a checkpoint of another architecture:\n  '
      + '\n  '.join(different)
      + '\nGive the config it was trained with, or another checkpoint.'
    )
  for item in ('state', 'encoder'):
    if item == 'state' or (path / item).exists():
      try:
        arrays_on_disk.check(files.absolute(path / item), ('_METADATA', 'array_metadatas/*'))
      except ValueError as error:
        raise ValueError(
          f'{path} is damaged: in {item}, {str(error).rstrip(".")}; {_advice(path)}'
        ) from error
  file_sizes.check(path, _advice(path))
