"""The fields of one record, decoded by the types that the dataset gives them."""

from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import Any
import zlib

import numpy as np

from aloe_jax.data import example_proto
from aloe_jax.data import field_names
from aloe_jax.data import field_path
from aloe_jax.data import flags
from aloe_jax.data import image_codec
from aloe_jax.data import schema

_LISTS = 'ragged_flat_values'  # below the path of a field that is a list, even of fixed length
_HEAD = 26  # bytes that tell what an image is
_SHOWN = 40  # bytes of a text that is none

Spans = list[tuple[int, int]]  # [T] (offset in the payload, length); length 0 if missing


class RecordFields:
  """The fields of one record, each decoded when it is asked for.

  Args:
    payload: a serialised `tf.train.Example`.
    leaves: fields of the dataset.
    where: the record is, for messages.

  Raises:
    ValueError: it is no `tf.train.Example`. All methods raise it too, naming the record, the field
      and where it can be told the step.
  """

  def __init__(self, payload: memoryview | bytes, leaves: Mapping[str, schema.Leaf], where: str):
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
    """What is wrong with a field, to be raised."""
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
    found = [(step, offset, size) for step, (offset, size) in enumerate(spans) if size]
    for step, offset, size in found:
      head = bytes(self._payload[offset : offset + min(size, _HEAD)])
      if problem := image_codec.head_problem(head):
        raise self.error(path, f'{problem}.', step=step)
    for step, offset, size in found:  # of images, at the least
      if problem := image_codec.cut_problem(self._payload[offset : offset + size]):
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
