"""One record of any laboratory as the columns of an episode: what its fields mean here.

Sources and ends come from `steps/source` and `steps/end_reason` where they exist. Elsewhere
the source of every step is that of the episode (demo; rollout or policy; intervention or
human), else a demonstration; and the episode ends by its success, else by a cut: a success is
never guessed. `is_last` and `is_terminal` are not read, since many datasets never set them:
the end of the record is the end of the episode.

Where the dataset says of every step whether a human acts, and the episode is no demonstration,
the other steps are the policy's. Without `steps/end_reason`, the last step of the policy before
a human acts ends a fragment by a take-over.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import Any
import zlib

import numpy as np

from aloe_jax import types
from aloe_jax.data import example_proto
from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import flags
from aloe_jax.data import fragments
from aloe_jax.data import image_codec
from aloe_jax.data import mapping
from aloe_jax.data import remarks
from aloe_jax.data import schema

SOURCES = {
  'demo': types.Source.DEMO,
  'demonstration': types.Source.DEMO,
  'policy': types.Source.POLICY,
  'rollout': types.Source.POLICY,
  'autonomous': types.Source.POLICY,
  'human': types.Source.HUMAN,
  'intervention': types.Source.HUMAN,
}
END_REASONS = {'': types.EndReason.NONE} | {
  reason.name.lower(): reason for reason in types.EndReason if reason
}

_LISTS = 'ragged_flat_values'  # below the path of a field that is a list, even of fixed length
_HEAD = 26  # bytes that tell what an image is
_SHOWN = 40  # bytes of a text that is none

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
    success_lost: a step says that the task was done, and the last one says that it is not; or the
      metadata says so, as it does for recordings that were imported.
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
  success_lost: bool = False

  def __len__(self) -> int:
    return len(self.action)


def read(
  payload: memoryview | bytes,
  leaves: Mapping[str, schema.Leaf],
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
  length = record.length(field_path.parse(paths.action[0]).name)
  if length == 0:
    raise ValueError(f'{where}: the episode has no steps; remove it.')
  last = paths.last_action
  source = _source(record, paths, length)
  success = None if paths.end_reason else record.flags('success', paths.success, length)
  metadata = _metadata(record)
  return Columns(
    state=_concatenated(record, paths.state, length),
    action=_concatenated(record, paths.action, length, last),
    source=source,
    end_reason=_end_reason(record, paths, source, success),
    prompt=_prompt(record, paths.prompt, length),
    reward=record.numbers(paths.reward, length, last)[:, 0] if paths.reward else None,
    features=_features(record, paths.features, length),
    images={camera: record.images(path, length) for camera, path in paths.images.items() if path},
    metadata=metadata,
    success_lost=metadata.get(remarks.SUCCESS_LOST) is True
    or (success is not None and flags.lost(success)),
  )


def actions(
  payload: memoryview | bytes,
  leaves: Mapping[str, schema.Leaf],
  paths: mapping.Resolved,
  where: str,
) -> np.ndarray:
  """[T, A] float32 of a record, finite but perhaps for the last; see `read`."""
  record = _Record(payload, leaves, where)
  length = record.length(field_path.parse(paths.action[0]).name)
  return _concatenated(record, paths.action, length, 'drop')


class _Record:
  """Decodes the fields of one record."""

  def __init__(self, payload: memoryview | bytes, leaves: dict[str, Any], where: str):
    self.leaves = leaves
    self._payload = payload
    self._where = where
    try:
      self._values = example_proto.parse(payload)
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

  def numbers(self, path: str, length: int, last_action: str = '') -> np.ndarray:
    """[T, size] float32 of a field or a slice of one; finite, but for the last with 'drop'."""
    wanted = field_path.parse(path)
    numbers = self._shaped(wanted.name, length)[:, wanted.columns(self._size(wanted.name))]
    numbers = numbers.astype(np.float32, copy=False)
    bad = ~np.isfinite(numbers).all(axis=1)
    only_last = np.count_nonzero(bad) == bad[-1]
    if bad.any() and not (only_last and last_action == 'drop'):
      option = ' config.data.mapping.last_action=drop leaves the last action of every episode out.'
      raise self.error(
        path,
        'found NaN or infinity, expected finite numbers; repair or remove the episode.'
        + (option if only_last and last_action else ''),
        step=int(np.argmax(bad)),
      )
    return numbers

  def texts(self, path: str, length: int) -> list[str]:
    """[T] texts, or names of labels; one of the episode counts for every step."""
    leaf = self.leaves[path]
    texts = self._labels(path) if leaf.names else self._decoded_texts(path)
    if len(texts) != (length if leaf.per_step else 1):
      expected = length if leaf.per_step else 1
      raise self.error(path, f'found {len(texts)} texts, expected {expected}.')
    return texts if leaf.per_step else texts * length

  def images(self, path: str, length: int) -> Spans | np.ndarray:
    """[T] spans of encoded images, or uint8 [T, H, W, 3] pixels."""
    leaf = self.leaves[path]
    if leaf.kind == 'tensor':
      return self._shaped(path, length).reshape(length, *leaf.shape)
    spans = self._decode(path, example_proto.Values.spans)
    if len(spans) != length:
      raise self.error(path, f'found {len(spans)} images, expected one a step: {length}.')
    for step, (offset, size) in enumerate(spans):
      head = bytes(self._payload[offset : offset + min(size, _HEAD)])
      if head and (problem := image_codec.head_problem(head)):
        raise self.error(path, f'{problem}.', step=step)
    return spans

  def flags(self, key: str, text: str | None, length: int) -> np.ndarray | None:
    """[T] bool, or [1] of the episode, of a field and its comparison; None if there is none."""
    if text is None:
      return None
    flag = flags.parse(text)
    path, leaf = flag.name, self.leaves[flag.name]
    values: np.ndarray | list[str | None]
    if leaf.names:
      values = [name or None for name in self._labels(path)]
    elif leaf.kind == 'text':
      values = [value or None for value in self._decoded_texts(path)]
    else:
      values = self._flat(path)
    if len(values) != (length if leaf.per_step else 1):
      expected = f'one a step: {length}' if leaf.per_step else 'one'
      raise self.error(path, f'found {len(values)} values, expected {expected}.')
    return flags.read(
      values,
      dataclasses.replace(flag, name=path.removeprefix('steps/')),
      option=f'config.data.mapping.{key}',
      refuse=lambda step, message: self.error(path, message, step=step),
      words=field_names.OUTCOMES if key == 'success' else flags.WORDS,
      per_step=leaf.per_step,
    )

  def scalar(self, path: str) -> bool | int | float | str:
    """The value of a field of the episode."""
    leaf = self.leaves[path]
    if leaf.names:
      found = self._labels(path)
    elif leaf.kind == 'text':
      found = [
        text.decode(errors='replace') for text in self._decode(path, example_proto.Values.texts)
      ]
    else:
      found = self._flat(path).tolist()
    if len(found) != 1:
      raise self.error(path, f'found {len(found)} values, expected one.')
    return bool(found[0]) if leaf.dtype == 'bool' else found[0]

  def _decoded_texts(self, path: str) -> list[str]:
    texts = []
    for step, encoded in enumerate(self._decode(path, example_proto.Values.texts)):
      try:
        texts.append(encoded.decode())
      except UnicodeDecodeError as error:
        raise self.error(
          path,
          f'found {encoded[:_SHOWN]!r}, expected UTF-8; map the key to none, or to another field.',
          step=step if self.leaves[path].per_step else None,
        ) from error
    return texts

  def _labels(self, path: str) -> list[str]:
    """Names of labels; empty where one is missing, which TFDS writes as -1."""
    names, numbers = self.leaves[path].names, self._flat(path).tolist()
    for step, number in enumerate(numbers):
      if not -1 <= number < len(names):
        raise self.error(
          path,
          f'found the label {number}, expected at most {len(names) - 1}.',
          step=step if self.leaves[path].per_step else None,
        )
    return [names[number] if number >= 0 else '' for number in numbers]

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
      parts = self._decode(path, example_proto.Values.texts)
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
      return self._decode(path, example_proto.Values.floats)
    if leaf.dtype in ('uint8', 'uint64'):
      return self._decode(path, lambda values: values.integers(np.dtype(leaf.dtype).type))
    return self._decode(path, example_proto.Values.integers)

  def _decode(self, path: str, read: Callable[[Any], Any]) -> Any:
    values = self._values.get(path, self._values.get(f'{path}/{_LISTS}'))
    if values is None:
      raise self.error(path, 'the field is missing in this record.')
    try:
      return read(values)
    except ValueError as error:
      raise self.error(path, f'{error}; the dataset was written wrongly.') from error


def _concatenated(
  record: _Record, paths: Sequence[str], length: int, last_action: str = ''
) -> np.ndarray:
  return np.concatenate([record.numbers(path, length, last_action) for path in paths], axis=1)


def _features(record: _Record, path: str | None, length: int) -> np.ndarray | None:
  if path is None:
    return None
  return record.numbers(path, length).reshape(length, *record.leaves[path].shape)


def _source(record: _Record, paths: mapping.Resolved, length: int) -> np.ndarray:
  """[T] int8."""
  source = np.full(length, types.Source.DEMO, np.int8)
  if paths.source:
    source = _enumerated(record, paths.source, SOURCES, length)
  of_steps = paths.source is not None and record.leaves[paths.source].per_step
  of_demo = paths.source is not None and source[0] == types.Source.DEMO
  if paths.intervention is None or of_steps or of_demo:
    return source
  human = record.flags('intervention', paths.intervention, length)
  return np.where(human, types.Source.HUMAN, types.Source.POLICY).astype(np.int8)


def _end_reason(
  record: _Record, paths: mapping.Resolved, source: np.ndarray, success: np.ndarray | None
) -> np.ndarray:
  """[T] int8; the last step always ends a fragment unless the dataset says otherwise.

  Args:
    record: of the episode.
    paths: of the fields to read.
    source: [T] int8.
    success: [T] or [1] bool, of which the last counts; None where nothing is said of it.
  """
  if paths.end_reason:
    return _enumerated(record, paths.end_reason, END_REASONS, len(source))
  end_reason = np.full(len(source), types.EndReason.NONE, np.int8)
  end_reason[fragments.takeovers(source)] = types.EndReason.TAKEOVER
  if success is None:
    end_reason[-1] = types.EndReason.CUT
  else:
    end_reason[-1] = types.EndReason.SUCCESS if success[-1] else types.EndReason.FAILURE
  return end_reason


def _enumerated(record: _Record, path: str, values: Mapping[str, int], length: int) -> np.ndarray:
  """[T] int8 from texts."""
  texts = record.texts(path, length)
  for step, text in enumerate(texts):
    if text.lower() not in values:
      raise record.error(
        path,
        f'found {text!r}, expected one of {list(values)}; or map the key to none.',
        step=step if record.leaves[path].per_step else None,
      )
  return np.array([values[text.lower()] for text in texts], np.int8)


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
