"""One record of any laboratory as the columns of an episode: what its fields mean here.

Sources and ends come from `steps/source` and `steps/end_reason` where they exist. Elsewhere
the source of every step is that of the episode (demo; rollout or policy; intervention or
human), else a demonstration; and the episode ends by its success, else by a cut: a success is
never guessed. `is_last` and `is_terminal` are not read, since many datasets never set them:
the end of the record is the end of the episode.

Where the dataset says of every step whether a human acts, and the episode is no demonstration,
the other steps are the policy's, and the last one before the human takes over ends a fragment.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
from typing import Any
import zlib

import numpy as np

from aloe_jax import types
from aloe_jax.data import features
from aloe_jax.data import mapping
from aloe_jax.data import wire

SOURCES = {
  'demo': types.Source.DEMO,
  'policy': types.Source.POLICY,
  'rollout': types.Source.POLICY,
  'human': types.Source.HUMAN,
  'intervention': types.Source.HUMAN,
}
END_REASONS = {'': types.EndReason.NONE} | {
  reason.name.lower(): reason for reason in types.EndReason if reason
}

Spans = list[tuple[int, int]]  # [T] (offset in the payload, length); length 0 if missing


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
  """An episode of T steps.

  Attributes:
    state: [T, n] float32.
    action: [T, A] float32.
    source: [T] int8, `types.Source`.
    end_reason: [T] int8, `types.EndReason`.
    prompt: [T] texts.
    reward: [T] float32, or None.
    features: [T, V, F] float32, or None.
    images: {camera: where the encoded images lie, or uint8 [T, H, W, 3]}.
    metadata: {name: bool, int, float or str}.
  """

  state: np.ndarray
  action: np.ndarray
  source: np.ndarray
  end_reason: np.ndarray
  prompt: list[str]
  reward: np.ndarray | None
  features: np.ndarray | None
  images: dict[str, Spans | np.ndarray]
  metadata: dict[str, bool | int | float | str]

  def __len__(self) -> int:
    return len(self.action)


def read(
  payload: memoryview | bytes,
  leaves: Mapping[str, features.Leaf],
  paths: mapping.Resolved,
  where: str,
) -> Columns:
  """Reads the fields that the mapping names.

  Args:
    payload: a serialised `tf.train.Example`.
    leaves: fields of the dataset.
    paths: of the fields to read.
    where: the record is, for messages.

  Raises:
    ValueError: naming where, the step and the field that is wrong.
  """
  record = _Record(payload, leaves, where)
  length = record.length(paths.action[0])
  if length == 0:
    raise ValueError(f'{where}: the episode has no steps; remove it.')
  source, human = _source(record, paths, length)
  return Columns(
    state=_concatenated(record, paths.state, length),
    action=_concatenated(record, paths.action, length),
    source=source,
    end_reason=_end_reason(record, paths, length, human),
    prompt=_prompt(record, paths.language, length),
    reward=record.numbers(paths.reward, length)[:, 0] if paths.reward else None,
    features=_features(record, paths.features, length),
    images={camera: record.images(path, length) for camera, path in paths.images.items() if path},
    metadata=_metadata(record),
  )


class _Record:
  """Decodes the fields of one record."""

  def __init__(self, payload: memoryview | bytes, leaves, where: str):
    self.leaves = leaves
    self._where = where
    try:
      self._values = wire.parse(payload)
    except ValueError as error:
      raise ValueError(
        f'{where}: found no tf.train.Example ({error}); the dataset was written wrongly.'
      ) from error

  def error(self, path: str, message: str, step: int | None = None) -> ValueError:
    at = '' if step is None else f', step {step}'
    return ValueError(f'{self._where}{at}: {path}: {message}')

  def length(self, path: str) -> int:
    """Steps, by the size of a field of numbers."""
    size = self._size(path)
    found = len(self._flat(path))
    if found % size:
      raise self.error(path, f'found {found} numbers, expected a multiple of {size}.')
    return found // size

  def numbers(self, path: str, length: int) -> np.ndarray:
    """[T, size] float32, finite."""
    numbers = self._shaped(path, length).astype(np.float32, copy=False)
    bad = ~np.isfinite(numbers).all(axis=1)
    if bad.any():
      raise self.error(
        path,
        'found NaN or infinity, expected finite numbers; repair or remove the episode.',
        step=int(np.argmax(bad)),
      )
    return numbers

  def texts(self, path: str, length: int) -> list[str]:
    """[T] texts; one of the episode counts for every step."""
    per_step = self.leaves[path].per_step
    encoded = self._decode(path, wire.Values.texts)
    if len(encoded) != (length if per_step else 1):
      raise self.error(path, f'found {len(encoded)} texts, expected {length if per_step else 1}.')
    try:
      texts = [text.decode() for text in encoded]
    except UnicodeDecodeError as error:
      raise self.error(path, f'found bytes that are no UTF-8 ({error}).') from error
    return texts if per_step else texts * length

  def images(self, path: str, length: int) -> Spans | np.ndarray:
    """[T] spans of encoded images, or uint8 [T, H, W, 3] pixels."""
    leaf = self.leaves[path]
    if leaf.kind == 'tensor':
      return self._shaped(path, length).reshape(length, *leaf.shape)
    spans = self._decode(path, wire.Values.spans)
    if len(spans) != length:
      raise self.error(path, f'found {len(spans)} images, expected one a step: {length}.')
    return spans

  def scalar(self, path: str) -> bool | int | float | str:
    """The value of a field of the episode."""
    if self.leaves[path].kind == 'text':
      return self.texts(path, 1)[0]
    found = self._flat(path)
    if len(found) != 1:
      raise self.error(path, f'found {len(found)} values, expected one.')
    return bool(found[0]) if self.leaves[path].dtype == 'bool' else found[0].item()

  def _shaped(self, path: str, length: int) -> np.ndarray:
    """[T, size] in the type stored."""
    flat, size = self._flat(path), self._size(path)
    if len(flat) != length * size:
      raise self.error(path, f'found {len(flat)} numbers, expected {length} steps of {size}.')
    return flat.reshape(length, size)

  def _size(self, path: str) -> int:
    return math.prod(self.leaves[path].shape)

  def _flat(self, path: str) -> np.ndarray:
    """The numbers of a field one after the other."""
    leaf = self.leaves[path]
    if leaf.encoding in ('bytes', 'zlib'):
      parts = self._decode(path, wire.Values.texts)
      if leaf.encoding == 'zlib':
        try:
          parts = [zlib.decompress(part) for part in parts]
        except zlib.error as error:
          raise self.error(path, f'found bytes that zlib did not write ({error}).') from error
      dtype = np.dtype(leaf.dtype).newbyteorder('<')
      if any(len(part) != self._size(path) * dtype.itemsize for part in parts):
        raise self.error(path, f'found another size than {leaf.dtype} {list(leaf.shape)}.')
      return np.frombuffer(b''.join(parts), dtype)
    if 'float' in leaf.dtype:
      return self._decode(path, wire.Values.floats)
    if leaf.dtype == 'uint8':
      return self._decode(path, lambda values: values.integers(np.uint8))
    return self._decode(path, wire.Values.integers)

  def _decode(self, path: str, read) -> Any:
    if path not in self._values:
      raise self.error(path, 'the field is missing in this record.')
    try:
      return read(self._values[path])
    except ValueError as error:
      raise self.error(path, f'{error}; the dataset was written wrongly.') from error


def _concatenated(record: _Record, paths: Sequence[str], length: int) -> np.ndarray:
  return np.concatenate([record.numbers(path, length) for path in paths], axis=1)


def _features(record: _Record, path: str | None, length: int) -> np.ndarray | None:
  if path is None:
    return None
  return record.numbers(path, length).reshape(length, *record.leaves[path].shape)


def _source(
  record: _Record, paths: mapping.Resolved, length: int
) -> tuple[np.ndarray, np.ndarray | None]:
  """[T] int8, and [T] bool where a human acts if the dataset tells that of every step."""
  source = np.full(length, types.Source.DEMO, np.int8)
  if paths.source:
    source = _enumerated(record, paths.source, SOURCES, length)
  of_steps = paths.source is not None and record.leaves[paths.source].per_step
  of_demo = paths.source is not None and source[0] == types.Source.DEMO
  if paths.intervention is None or of_steps or of_demo:
    return source, None
  human = record.numbers(paths.intervention, length)[:, 0] != 0
  return np.where(human, types.Source.HUMAN, types.Source.POLICY).astype(np.int8), human


def _end_reason(
  record: _Record, paths: mapping.Resolved, length: int, human: np.ndarray | None
) -> np.ndarray:
  """[T] int8; the last step always ends a fragment unless the dataset says otherwise."""
  if paths.end_reason:
    return _enumerated(record, paths.end_reason, END_REASONS, length)
  end_reason = np.full(length, types.EndReason.NONE, np.int8)
  if human is not None:
    end_reason[:-1][~human[:-1] & human[1:]] = types.EndReason.TAKEOVER
  if paths.success is None:
    end_reason[-1] = types.EndReason.CUT
  else:
    succeeded = record.scalar(paths.success)
    end_reason[-1] = types.EndReason.SUCCESS if succeeded else types.EndReason.FAILURE
  return end_reason


def _enumerated(record: _Record, path: str, values: Mapping[str, int], length: int) -> np.ndarray:
  """[T] int8 from texts."""
  texts = record.texts(path, length)
  for step, text in enumerate(texts):
    if text not in values:
      raise record.error(
        path,
        f'found {text!r}, expected one of {list(values)}; or map the key to None.',
        step=step if record.leaves[path].per_step else None,
      )
  return np.array([values[text] for text in texts], np.int8)


def _prompt(record: _Record, paths: Sequence[str], length: int) -> list[str]:
  """[T] texts, of every step the first that is not empty."""
  prompt = [''] * length
  for path in paths:
    if all(prompt):
      break
    others = record.texts(path, length)
    prompt = [text or other for text, other in zip(prompt, others, strict=True)]
  return prompt


def _metadata(record: _Record) -> dict[str, bool | int | float | str]:
  """Numbers and texts of the episode: those of `episode_metadata`, else those at the top."""
  names = {
    path: leaf
    for path, leaf in record.leaves.items()
    if not leaf.per_step and leaf.kind in ('tensor', 'text', 'label') and leaf.shape == ()
  }
  inner = 'episode_metadata/'
  prefix = inner if any(path.startswith(inner) for path in record.leaves) else ''
  return {
    path.removeprefix(prefix): record.scalar(path)
    for path in names
    if path.startswith(prefix) and '/' not in path.removeprefix(prefix)
  }
