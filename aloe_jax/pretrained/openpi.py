"""π0.5 checkpoints as openpi publishes and trains them: Orbax directories in and out.

A directory holds `params/`, an Orbax item, and `assets/<asset>/norm_stats.json`, the statistics
that actions and states are normalised with. In place of `params/` may lie the network of PyTorch,
see `pytorch`. A step of a training run holds a `train_state` too,
and all its paths end in an extra 'value'. Paths here, such as 'action_in_proj/kernel', begin
below the item's one top key 'params' and have no such ending.
"""

from collections.abc import Mapping, Sequence
import contextlib
import pathlib
import re
import types
from typing import Any

from flax import traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from aloe_jax import files
from aloe_jax.buckets import storage
from aloe_jax.preprocessing import normalize
from aloe_jax.pretrained import appearing
from aloe_jax.pretrained import arrays_on_disk
from aloe_jax.pretrained import one_error
from aloe_jax.pretrained import pytorch
from aloe_jax.pretrained import trees

_STATS = 'norm_stats.json'
_TOP = 'params/'
_NONE: Mapping[str, str] = types.MappingProxyType({})
_NNX = '/value'
_REFUSED = {
  r'state_proj/.*': 'is a π0 checkpoint, expected π0.5: π0.5 has no',
  r'.*/qkv_einsum/.*': 'has as many key as query heads and so fuses them, as no π0.5 does:',
}


def shapes(directory: pathlib.Path, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """What a checkpoint holds, from its metadata alone.

  Args:
    directory: a released checkpoint or a step of a training run.
    like: nested shapes of the model wanted, see `pytorch.shapes`.

  Returns:
    Nested `jax.ShapeDtypeStruct`, dtypes as stored.

  Raises:
    FileNotFoundError: there is no such directory.
    ValueError: it is no whole π0.5 checkpoint of openpi; says what it is.
  """
  if _is_of_pytorch(directory):
    return pytorch.shapes(directory, like)
  leaves, _ = _describe(directory)
  return traverse_util.unflatten_dict(leaves, sep='/')


def restore(
  directory: pathlib.Path, like: Mapping[str, Any], *, may_miss: Sequence[str] = ()
) -> dict[str, Any]:
  """Reads the parameters straight to where they are wanted.

  Leaves are cast while they are read. Of the host's memory, all reads under way at one time take
  about the size of the largest leaf.

  Args:
    directory: a released checkpoint or a step of a training run.
    like: nested `jax.ShapeDtypeStruct` of the dtypes wanted; those without a sharding become
      NumPy arrays.
    may_miss: regular expressions of the paths that may be absent.

  Returns:
    Nested arrays like `like`, less the leaves that are absent.

  Raises:
    FileNotFoundError: there is no such directory.
    ValueError: it is no whole π0.5 checkpoint, or does not fit `like`; see `trees.check`.
  """
  if _is_of_pytorch(directory):
    return pytorch.restore(directory, like, may_miss=may_miss)
  found, ending = _describe(directory)
  wanted = traverse_util.flatten_dict(like, sep='/')
  trees.check(found, wanted, where=str(directory), may_miss=may_miss)
  stored = {f'{_TOP}{path}{ending}': wanted[path] for path in found}
  item = traverse_util.unflatten_dict(stored, sep='/')
  arguments = ocp.args.PyTreeRestore(item, restore_args=jax.tree.map(_restore_args, item))
  try:
    with ocp.Checkpointer(_handler(found)) as checkpointer:
      restored = checkpointer.restore(_item(directory), arguments)
  except Exception as error:
    reason = error.__cause__ or error  # Orbax wraps some of what the reader says
    if not isinstance(reason, ValueError):
      raise
    raise ValueError(
      f'{directory}: an array cannot be read; copy it again if it was cut short. '
      f'{arrays_on_disk.in_short(reason)}'
    ) from error
  arrays = traverse_util.flatten_dict(restored, sep='/')
  return traverse_util.unflatten_dict(
    {path: arrays[f'{_TOP}{path}{ending}'] for path in found}, sep='/'
  )


def assets(directory: pathlib.Path) -> dict[str, pathlib.Path]:
  """The statistics file of each asset id, such as 'trossen' or 'physical-intelligence/libero'."""
  root = directory / 'assets'
  if files.is_url(root):
    found = [root / name for name in sorted(storage.find(root)) if name.endswith(f'/{_STATS}')]
  else:
    found = sorted(root.rglob(_STATS))
  return {file.parent.relative_to(root).as_posix(): file for file in found}


def export(
  directory: pathlib.Path,
  params: Mapping[str, Any],
  *,
  stats: dict[str, normalize.Stats],
  asset: str,
  texts: Mapping[str, str] = _NONE,
) -> None:
  """Writes a checkpoint in the layout that openpi releases; it appears whole or not at all.

  Args:
    directory: that must not exist yet.
    params: nested NumPy or JAX arrays, sharded or not.
    stats: of each data key ('state', 'actions').
    asset: the id that the statistics are found by.
    texts: further files, by name.

  Raises:
    FileExistsError: the directory exists.
  """
  if files.is_url(directory):
    _remove_begun(directory)
    appearing.check(directory)
    _export_to_bucket(directory, params, stats, asset, texts)
    return
  with appearing.directory(directory) as unfinished, one_error.raised():
    with ocp.PyTreeCheckpointer() as checkpointer:
      checkpointer.save(unfinished / 'params', {'params': params})
    _write_beside(unfinished, stats, asset, texts)


def write_stats(directory: pathlib.Path, stats: dict[str, normalize.Stats], asset: str) -> None:
  """Writes statistics where `assets` finds them."""
  normalize.write(directory / 'assets' / asset / _STATS, stats)


def _write_beside(
  directory: pathlib.Path,
  stats: dict[str, normalize.Stats],
  asset: str,
  texts: Mapping[str, str],
) -> None:
  write_stats(directory, stats, asset)
  for name, text in texts.items():
    files.write_text(directory / name, text)


def _export_to_bucket(
  directory: pathlib.Path,
  params: Mapping[str, Any],
  stats: dict[str, normalize.Stats],
  asset: str,
  texts: Mapping[str, str],
) -> None:
  """Writes it where it is to lie; until it is whole a mark beside it says that it is not."""
  with one_error.raised(), storage.told(directory, 'written'):
    storage.write(_mark(directory), b'')
    try:
      _write_beside(directory, stats, asset, texts)
      with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(directory / 'params', {'params': params})
      storage.remove(_mark(directory))
    except BaseException:
      with contextlib.suppress(storage.Told):  # the first error counts
        _remove_begun(directory)
      raise


def _mark(directory: pathlib.Path) -> pathlib.Path:
  """What says in a bucket that an export was begun and not ended."""
  return directory.with_name(f'.{directory.name}.writing')


def _remove_begun(directory: pathlib.Path) -> None:
  """Removes from a bucket what an export left that did not come to its end."""
  if _mark(directory).exists():
    storage.remove(directory, storage.find(directory))
    storage.remove(_mark(directory))


def _describe(directory: pathlib.Path) -> tuple[dict[str, jax.ShapeDtypeStruct], str]:
  """The leaves by path, and what their paths end in besides ('/value' or nothing)."""
  _check_layout(directory)
  with ocp.PyTreeCheckpointer() as checkpointer:
    metadata = checkpointer.metadata(_item(directory)).item_metadata
  if metadata is None:
    raise ValueError(f'{directory} lacks arrays that params/_METADATA names; copy it again.')
  stored = traverse_util.flatten_dict(metadata.tree, sep='/')
  if not all(path.startswith(_TOP) for path in stored):
    raise ValueError(
      f"{directory}/params holds {sorted(metadata.tree)}, expected 'params' as openpi writes it."
    )
  # Attention has a module called 'value' in its own right.
  ending = _NNX if all(path.endswith(_NNX) for path in stored) else ''
  leaves = {
    path.removeprefix(_TOP).removesuffix(ending): jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    for path, leaf in stored.items()
  }
  for pattern, problem in _REFUSED.items():
    culprits = [path for path in leaves if re.fullmatch(pattern, path)]
    if culprits:
      raise ValueError(f'{directory} {problem} {", ".join(culprits)}.')
  return leaves, ending


def _is_of_pytorch(directory: pathlib.Path) -> bool:
  """Whether a directory, which has to be there, holds a network of PyTorch."""
  _check_is_there(directory)
  return pytorch.is_one(directory)


def _check_is_there(directory: pathlib.Path) -> None:
  if directory.is_file():
    raise ValueError(f'{directory} is a file; give the directory of the checkpoint.')
  if not directory.is_dir():
    raise FileNotFoundError(
      f'{directory}: there is no such directory. A released checkpoint is copied by `gcloud '
      'storage cp -r gs://openpi-assets/checkpoints/pi05_base .`, or read where it is.'
    )


def _check_layout(directory: pathlib.Path) -> None:
  if files.is_url(directory) and _mark(directory).exists():
    raise ValueError(f'{directory} is not whole: its export did not come to its end; repeat it.')
  item = _item(directory)
  if not item.is_dir():
    steps = [int(p.parent.name) for p in directory.glob('*/params') if p.parent.name.isdecimal()]
    if steps:
      raise ValueError(
        f'{directory} holds the steps of a training run; give one, the newest is '
        f'{directory / str(max(steps))}.'
      )
    names = sorted(p.name for p in directory.iterdir())
    more = f' and {len(names) - 8} more' if len(names) > 8 else ''
    raise ValueError(
      f'{directory} is no checkpoint of openpi: expected params/ and assets/ in it, found '
      f'{names[:8]}{more}.'
    )
  for name in arrays_on_disk.NEEDED:
    if not (item / name).exists():
      raise ValueError(f'{directory} is not whole: params/{name} is missing; copy it again.')
  try:
    arrays_on_disk.check(item, ('_METADATA', '_sharding'))
  except ValueError as error:
    raise ValueError(
      f'{directory}/params was cut short or is damaged; copy it again. {error}'
    ) from error


def _item(directory: pathlib.Path) -> pathlib.Path:
  """Where the parameters lie; Orbax wants absolute paths."""
  return files.absolute(directory) / 'params'


def _handler(leaves: Mapping[str, jax.ShapeDtypeStruct]) -> ocp.PyTreeCheckpointHandler:
  """Reads with as little of the host's memory as the largest leaf allows."""
  largest = max(leaf.size * leaf.dtype.itemsize for leaf in leaves.values())
  return ocp.PyTreeCheckpointHandler(restore_concurrent_gb=1 + largest // 10**9)


def _restore_args(leaf: jax.ShapeDtypeStruct) -> ocp.RestoreArgs:
  if leaf.sharding is None:
    return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
  return ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype)
