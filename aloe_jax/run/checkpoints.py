"""Checkpoints of a run: one directory per finished phase, written by Orbax, atomic."""

import json
import numbers
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax import config as config_lib
from aloe_jax import files
from aloe_jax import renamed
from aloe_jax.learning.train_state import TrainState
from aloe_jax.run import padded_state

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
    self._directory = directory.absolute()

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
    with ocp.CheckpointManager(self._directory) as manager:
      items: dict[str, Any] = {'state': ocp.args.StandardSave(state)}
      if encoder:
        items['encoder'] = ocp.args.StandardSave(encoder)
      manager.save(number, args=ocp.args.Composite(**items, meta=ocp.args.JsonSave(meta)))
      manager.wait_until_finished()


def is_one(path: pathlib.Path) -> bool:
  """Whether there is a checkpoint of a run at `path`."""
  return (path / 'meta' / 'metadata').exists()


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
  if not is_one(path):
    raise FileNotFoundError(
      f'{path} is not a checkpoint: expected a directory such as '
      'runs/laundry/checkpoints/4, holding "state" and "meta".'
    )
  file = path / 'meta' / 'metadata'
  advice = 'use another checkpoint, or put back a copy of this one.'
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
  return _read(path / 'state', like)


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
  with ocp.PyTreeCheckpointer() as checkpointer:
    return checkpointer.restore((path / 'state').absolute(), args=arguments)


def restore_encoder(path: pathlib.Path, like: Any) -> Any:
  """Reads back the frozen encoder of a checkpoint; `like` as for `restore`."""
  return _read(path / 'encoder', like)


def _read(item: pathlib.Path, like: Any) -> Any:
  with ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.restore(item.absolute(), _described(like))


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
