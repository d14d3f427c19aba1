"""big_vision's .npz weights (SigLIP, PaliGemma): reading them, their layers and positions."""

from collections.abc import Mapping
import math
import pathlib
import re
from typing import Any
import zipfile
import zlib

from flax import traverse_util
import jax.numpy as jnp
import numpy as np

_FILE = re.compile(r'(?P<file>.+\.npz)(:(?P<subtree>.+))?')
_LAYER = re.compile(r'(?P<tower>(.+/)?encoderblock)_(?P<number>\d+)/(?P<leaf>.+)')
_PREFIXES = ('params/', 'opt/target/')  # where the weights lie; very old files have the second
_NO_WEIGHTS = ('opt/', 'chrono/')  # what else a file without either prefix may hold


def load(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads the weights, or one tower of them.

  Args:
    path: of the file; 'siglip.npz:img' reads the subtree 'img' only.

  Returns:
    Nested NumPy arrays in the dtype stored, the layers of each tower stacked; see
    `stack_layers`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is no whole .npz file, has no such subtree, or lacks a layer.
  """
  match = _FILE.fullmatch(str(path))
  if match is None:
    raise ValueError(f"{path}: expected a file 'NAME.npz', or 'NAME.npz:SUBTREE' for a part of it.")
  file, subtree = pathlib.Path(match['file']), match['subtree']
  if not file.exists():
    raise FileNotFoundError(f'{file}: there is no such file.')
  if not zipfile.is_zipfile(file):
    raise ValueError(f'{file} is no .npz file, or was cut short; fetch it again.')
  try:
    params = traverse_util.unflatten_dict(_read(file, subtree), sep='/')
    return stack_layers(params)
  except (zipfile.BadZipFile, zlib.error, EOFError) as error:
    raise ValueError(f'{file} is damaged ({error}); fetch it again.') from error
  except ValueError as error:
    raise ValueError(f'{file}: {error}') from error


def stack_layers(params: Mapping[str, Any]) -> dict[str, Any]:
  """Turns the per-layer layout into the scanned one; leaves what is stacked as it is.

  Args:
    params: nested; leaves '.../encoderblock_{i}/...' for each layer i.

  Returns:
    Nested; in their place '.../encoderblock/...' with the layers, in order, as axis 0.

  Raises:
    ValueError: a layer lacks a leaf, or has it in another shape.
  """
  stacked: dict[str, np.ndarray] = {}
  towers: dict[str, dict[str, dict[int, np.ndarray]]] = {}
  for path, array in traverse_util.flatten_dict(params, sep='/').items():
    match = _LAYER.fullmatch(path)
    if match:
      leaves = towers.setdefault(match['tower'], {})
      leaves.setdefault(match['leaf'], {})[int(match['number'])] = array
    else:
      stacked[path] = array
  for tower, leaves in towers.items():
    depth = 1 + max(max(layers) for layers in leaves.values())
    for leaf, layers in leaves.items():
      missing = [str(i) for i in range(depth) if i not in layers]
      if missing:
        raise ValueError(
          f'{tower}: layer {", ".join(missing)} of {depth} is missing (it has no {leaf}).'
        )
      shapes = {layer.shape for layer in layers.values()}
      if len(shapes) > 1:
        raise ValueError(f'{tower}: layers differ in the shape of {leaf}: {sorted(shapes)}.')
      stacked[f'{tower}/{leaf}'] = np.stack([layers[i] for i in range(depth)])
  return traverse_util.unflatten_dict(stacked, sep='/')


def resample_positions(pos_embedding: np.ndarray, tokens: int) -> np.ndarray:
  """Fits position embeddings to another resolution, as big_vision does: bilinear, corners kept.

  Args:
    pos_embedding: [1, T, D] of a square grid, row by row.
    tokens: how many are wanted.

  Returns:
    [1, tokens, D] in the dtype given.

  Raises:
    ValueError: either number is no square.
  """
  from scipy import ndimage  # half a second of every program's start

  old, new = math.isqrt(pos_embedding.shape[1]), math.isqrt(tokens)
  if old**2 != pos_embedding.shape[1] or new**2 != tokens:
    raise ValueError(
      f'found {pos_embedding.shape[1]} positions, expected {tokens}: only square grids of '
      'patches can be resampled.'
    )
  grid = pos_embedding.reshape(old, old, -1).astype(np.float32)
  grid = ndimage.zoom(grid, (new / old, new / old, 1), order=1)
  return grid.reshape(1, tokens, -1).astype(pos_embedding.dtype)


def _read(file: pathlib.Path, subtree: str | None) -> dict[str, np.ndarray]:
  """The weights by path; only those that are wanted are read."""
  with np.load(file) as arrays:
    for prefix in _PREFIXES:
      keys = {key.removeprefix(prefix): key for key in arrays.files if key.startswith(prefix)}
      if keys:
        break
    else:
      keys = {key: key for key in arrays.files if not key.startswith(_NO_WEIGHTS)}
    if subtree is not None:
      parts = sorted({path.partition('/')[0] for path in keys if '/' in path})
      start = f'{subtree}/'
      keys = {path.removeprefix(start): keys[path] for path in keys if path.startswith(start)}
      if not keys:
        raise ValueError(f'there is no subtree {subtree!r}; there are {", ".join(parts)}.')
    return {path: _bfloat16_restored(arrays[key]) for path, key in keys.items()}


def _bfloat16_restored(array: np.ndarray) -> np.ndarray:
  """NumPy stores a bfloat16 as two bytes of no type; these are the numbers they spell."""
  return array.view(np.dtype(jnp.bfloat16)) if array.dtype == np.dtype('V2') else array
