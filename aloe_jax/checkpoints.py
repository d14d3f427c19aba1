"""Checkpoints of a run: one directory per finished phase, written by Orbax, atomic."""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax import config as config_lib
from aloe_jax.train_state import TrainState


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

  def path(self, number: int) -> pathlib.Path:
    """Directory of a checkpoint."""
    return self._directory / str(number)

  def save(self, number: int, state: TrainState, meta: dict[str, Any]) -> None:
    """Writes a checkpoint; on return it is whole on disk.

    Args:
      number: its directory's name.
      state: one global copy.
      meta: JSON about it; `architecture` is what `restore` compares.
    """
    with ocp.CheckpointManager(self._directory) as manager:
      manager.save(
        number,
        args=ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)),
      )
      manager.wait_until_finished()


def read_meta(path: pathlib.Path) -> dict[str, Any]:
  """What `save` was told about a checkpoint.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
  """
  file = path / 'meta' / 'metadata'
  if not file.exists():
    raise FileNotFoundError(
      f'{path} is not a checkpoint: expected a directory such as '
      'runs/laundry/checkpoints/4, holding "state" and "meta".'
    )
  return json.loads(file.read_text())


def restore(path: pathlib.Path, like: TrainState, architecture: dict[str, Any]) -> TrainState:
  """Reads a checkpoint back, bit for bit.

  Args:
    path: of the checkpoint.
    like: a state of the shapes wanted, or their `jax.eval_shape`.
    architecture: of the networks wanted, compared with the checkpoint's before any read.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is of another architecture; see `check`.
  """
  check(path, architecture)
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), like)
  with ocp.StandardCheckpointer() as checkpointer:
    return checkpointer.restore(path.absolute() / 'state', shapes)


def check(path: pathlib.Path, architecture: dict[str, Any]) -> None:
  """Compares a checkpoint's architecture with the one wanted; reads no parameters.

  Raises:
    FileNotFoundError: there is no checkpoint at `path`.
    ValueError: it is of another architecture; lists every field that differs.
  """
  found = read_meta(path)['architecture']
  different = config_lib.differences(found, json.loads(json.dumps(architecture)))
  if different:
    raise ValueError(
      f'{path} is a checkpoint of another architecture; found\n  '
      + '\n  '.join(different)
      + '\nGive the config it was trained with, or start from another checkpoint.'
    )
