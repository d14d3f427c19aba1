"""π0.5 in PyTorch: `model.safetensors` under the names of openpi and of lerobot, out and in.

A file does not say how many heads of attention its arrays are of; ours says it in its header. Of
another's the model wanted says it, and where that does not fit either, π0.5's published sizes.
"""

from collections.abc import Iterator, Mapping, Sequence
import math
import pathlib
import re
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from aloe_jax import files
from aloe_jax.parallel import hosts
from aloe_jax.pretrained import lerobot_files
from aloe_jax.pretrained import pytorch_names
from aloe_jax.pretrained import safetensors_file
from aloe_jax.pretrained import trees

FILE = 'model.safetensors'
_PREFIX = 'model.'  # lerobot's
_HEADS, _KEYS = 'vision_heads', 'key_value_heads'  # in the header
_PUBLISHED = {_HEADS: 16, _KEYS: 1}
_SHOWN = 3  # tensors of another model
_STATE = r'state_proj\..*|action_time_mlp_.*'


def is_one(directory: pathlib.Path) -> bool:
  """Whether a directory holds a network of PyTorch."""
  return (directory / FILE).exists()


def write(directory: pathlib.Path, params: Mapping[str, Any]) -> None:
  """Writes `model.safetensors`, in the types of the parameters and with one tensor at a time.

  The embedding goes under one of its two names, as both readers want it. What neither model reads
  is written as zeros.

  Args:
    directory: that exists.
    params: nested NumPy or JAX arrays of a π0.5 without adapters.

  Raises:
    ValueError: they are not the arrays of a π0.5; lists all that differs.
  """
  leaves = traverse_util.flatten_dict(params, sep='/')
  _check_leaves(leaves)
  by_size = sorted(
    pytorch_names.tensors(leaves), key=lambda x: -np.dtype(leaves[x[1].path].dtype).itemsize
  )
  shapes = {
    name: (rule.shape(leaves[rule.path].shape), np.dtype(leaves[rule.path].dtype))
    for name, rule, _ in by_size
  }
  embedding = leaves['PaliGemma/llm/embedder/input_embedding']
  last = min((dtype for _, dtype in shapes.values()), key=lambda dtype: dtype.itemsize)
  unused = (embedding.shape[0], leaves['action_in_proj/kernel'].shape[1])
  shapes[pytorch_names.UNUSED] = (unused, last)

  def tensors() -> Iterator[tuple[str, np.ndarray]]:
    path, leaf = '', np.zeros(0)
    for name, rule, layer in by_size:
      if rule.path != path:
        path, leaf = rule.path, hosts.whole(leaves[rule.path])
      yield name, rule.tensor(leaf[rule.index(layer)])
    yield pytorch_names.UNUSED, np.zeros(unused, last)

  heads = leaves['PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0/key/bias']
  kept = {
    'format': 'pt',
    _HEADS: str(heads.shape[1]),
    _KEYS: str(leaves['PaliGemma/llm/layers/attn/kv_einsum/w'].shape[2]),
  }
  safetensors_file.write(directory / FILE, shapes, tensors(), kept)


def shapes(directory: pathlib.Path, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """What a file holds, as our leaves: nested `jax.ShapeDtypeStruct`, from its header alone.

  Args:
    directory: that `model.safetensors` lies in.
    like: nested shapes of the model wanted, whose numbers of heads are taken where they fit.

  Raises:
    ValueError: it is no whole π0.5; says what it is, or lists all tensors that are wrong.
  """
  return traverse_util.unflatten_dict(_describe(directory, like)[0], sep='/')


def restore(
  directory: pathlib.Path, like: Mapping[str, Any], *, may_miss: Sequence[str] = ()
) -> dict[str, Any]:
  """Reads the parameters to where they are wanted; the arguments are those of `openpi.restore`.

  Of the host's memory it takes the largest leaf in the type wanted.

  Raises:
    ValueError: it is no whole π0.5, holds numbers that are not finite, or does not fit `like`; see
      `trees.check`.
  """
  found, tensors = _describe(directory, like)
  wanted = traverse_util.flatten_dict(like, sep='/')
  trees.check(found, wanted, where=str(directory), may_miss=may_miss)
  rules: dict[str, list[tuple[str, pytorch_names.Rule, int]]] = {}
  for name, rule, layer in pytorch_names.tensors(found):
    rules.setdefault(rule.path, []).append((name, rule, layer))
  restored = {}
  for path, parts in rules.items():
    leaf = np.empty(wanted[path].shape, wanted[path].dtype)
    for name, rule, layer in parts:
      tensor = safetensors_file.read(directory / FILE, tensors[name])
      if not np.isfinite(tensor).all():
        raise ValueError(
          f'{directory / FILE}: {name} holds NaN or infinity, expected finite numbers; copy the '
          'file again, or take a checkpoint from before they came.'
        )
      leaf[rule.index(layer)] = rule.numbers(tensor, leaf.shape)
    restored[path] = _placed(leaf, wanted[path])
  return traverse_util.unflatten_dict(restored, sep='/')


def _placed(leaf: np.ndarray, wanted: jax.ShapeDtypeStruct) -> Any:
  if wanted.sharding is None:
    return leaf
  return jax.make_array_from_callback(leaf.shape, wanted.sharding, lambda index: leaf[index])


def _describe(
  directory: pathlib.Path, like: Mapping[str, Any] | None
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, safetensors_file.Tensor]]:
  """Our leaves by path, and the tensors by openpi's names."""
  tensors, kept = _read(directory)
  heads = _told_heads(directory, kept)
  stacks = pytorch_names.layers(tensors)
  wanted = traverse_util.flatten_dict(like or {}, sep='/')
  expected: set[str] = set()
  leaves: dict[str, jax.ShapeDtypeStruct] = {}
  problems: list[str] = []
  for rule in pytorch_names.RULES:
    depth = stacks.get(rule.name.partition('{}')[0], 0) if rule.stacked else 1
    names = [rule.name.format(layer) for layer in range(depth)]
    expected.update(names)
    problems += [f'{name}: missing' for name in names if name not in tensors]
    there = {name: tensors[name] for name in names if name in tensors}
    if not there:
      continue
    first, shape = next((name, tensor.shape) for name, tensor in there.items())
    problems += [
      f'{name}: found {list(tensor.shape)}, expected {list(shape)} as in {first}'
      for name, tensor in there.items()
      if tensor.shape != shape
    ]
    if len(shape) != len(rule.groups):
      problems.append(f'{first}: found {list(shape)}, expected {len(rule.groups)} axes')
      continue
    leaf = ((depth,) if rule.stacked else ()) + _parts(rule)
    leaf += _sizes(rule, tensors, shape, wanted.get(rule.path), heads)
    if rule.path in leaves and leaves[rule.path].shape != leaf:
      problems.append(f'{first}: found {list(shape)}, which does not fit what lies beside it')
    dtype = max((tensor.dtype for tensor in there.values()), key=lambda dtype: dtype.itemsize)
    leaves[rule.path] = jax.ShapeDtypeStruct(leaf, dtype)
  problems += [
    f'{name}: unexpected, found {list(tensor.shape)}'
    for name, tensor in tensors.items()
    if name not in expected and name != pytorch_names.UNUSED
  ]
  if problems:
    raise ValueError(
      f"{directory / FILE}: these tensors are not those of openpi's or lerobot's π0.5 "
      f'({len(problems)}):\n  ' + '\n  '.join(sorted(problems))
    )
  return leaves, tensors


def _parts(rule: pytorch_names.Rule) -> tuple[int, ...]:
  """How many kinds of tensors share a leaf, where it has an axis of them."""
  numbers = [r.part for r in pytorch_names.RULES if r.path == rule.path]
  return tuple(1 + max(axis) for axis in zip(*numbers, strict=True))


def _sizes(
  rule: pytorch_names.Rule,
  tensors: Mapping[str, safetensors_file.Tensor],
  shape: tuple[int, ...],
  wanted: jax.ShapeDtypeStruct | None,
  told: Mapping[str, int],
) -> tuple[int, ...]:
  """Of the axes of our leaf behind layer and part, from the shape of its tensor."""
  known = rule.sizes(wanted.shape) if wanted is not None else {}
  found: dict[str, int] = {}
  for group, size in zip(rule.groups, shape, strict=True):
    if len(group) == 1:
      found[group] = size
    elif _HEADS not in told and math.prod(known.get(letter, 0) for letter in group) == size:
      found |= {letter: known[letter] for letter in group}
    else:
      heads = _heads(rule, group, size, tensors, told)
      found |= {group[0]: heads, group[1]: size // heads}
  return tuple(found[letter] for letter in rule.axes)


def _heads(
  rule: pytorch_names.Rule,
  group: str,
  size: int,
  tensors: Mapping[str, safetensors_file.Tensor],
  told: Mapping[str, int],
) -> int:
  """How many heads share an axis, by the header or as published; 1 where that does not divide."""
  told = _PUBLISHED | dict(told)
  if rule.path.startswith('PaliGemma/img'):
    heads = told[_HEADS]
  else:
    heads = told[_KEYS]
    if group == 'NH':
      one = re.sub(r'self_attn\.\w+', 'self_attn.k_proj', rule.name.format(0))
      width = tensors[one].shape[0] // heads if one in tensors else size
      heads = size // max(1, width)
  return heads if heads and size % heads == 0 else 1


def _told_heads(directory: pathlib.Path, kept: Mapping[str, str]) -> dict[str, int]:
  """Numbers of heads that a header tells.

  Raises:
    ValueError: naming the file and the entry that is no such number.
  """
  found = {}
  for key in _PUBLISHED:
    if key in kept:
      if not re.fullmatch('[1-9][0-9]{0,3}', f'{kept[key]}'):
        raise ValueError(
          f'{directory / FILE}: {key} in the header is {kept[key]!r:.40}, expected a number of '
          'heads, from 1; copy the file again.'
        )
      found[key] = int(kept[key])
  return found


def _read(
  directory: pathlib.Path,
) -> tuple[dict[str, safetensors_file.Tensor], dict[str, str]]:
  """The tensors of a file by openpi's names, and what its header says besides.

  Raises:
    ValueError: they are of another model.
  """
  if files.is_url(directory):
    raise ValueError(
      f'{directory} is a network of PyTorch in a bucket, which is read from a disk alone; copy the '
      'directory here.'
    )
  lerobot_files.check(directory)
  stored, kept = safetensors_file.header(directory / FILE)
  tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in stored.items()}
  where = directory / FILE
  shown = ', '.join(sorted(stored)[:_SHOWN]) or 'none'
  if not any(name.startswith('paligemma_with_expert.') for name in tensors):
    raise ValueError(
      f'{where} is of another model: its tensors are {shown}; expected those of the π0.5 of openpi '
      'or lerobot, such as paligemma_with_expert.gemma_expert.model.norm.dense.weight.'
    )
  of_pi0 = [name for name in tensors if re.fullmatch(_STATE, name)]
  if of_pi0:
    raise ValueError(
      f'{where} is a π0 checkpoint, expected π0.5: π0.5 has no {", ".join(sorted(of_pi0))}.'
    )
  adapters = [name for name in stored if 'lora_' in name]
  if adapters:
    raise ValueError(
      f'{where} holds {len(adapters)} tensors of LoRA, such as {min(adapters)}; merge them into '
      'the weights first.'
    )
  alias = tensors.pop(pytorch_names.ALIAS, None)
  if alias is not None:
    one = tensors.setdefault(pytorch_names.EMBEDDING, alias)
    if one.shape != alias.shape or not np.array_equal(
      *(safetensors_file.read(where, tensor) for tensor in (one, alias))
    ):
      raise ValueError(
        f'{where}: {pytorch_names.EMBEDDING} and {pytorch_names.ALIAS} differ, expected one '
        'embedding for what is read and written.'
      )
  return tensors, kept


def _check_leaves(leaves: Mapping[str, Any]) -> None:
  """Refuses parameters that would not all be written."""
  known = {rule.path for rule in pytorch_names.RULES}
  problems = [f'{path}: missing' for path in sorted(known - set(leaves))]
  problems += [
    f'{path}: unexpected{", merge it first" if "lora_" in path else ""}'
    for path in sorted(set(leaves) - known)
  ]
  if problems:
    raise ValueError(
      f'these parameters are not those of a π0.5 that PyTorch has names for ({len(problems)}):\n  '
      + '\n  '.join(problems)
    )
