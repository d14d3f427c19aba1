"""What a message holds under a key: numbers, an image, or what is named in an error."""

from collections.abc import Iterator, Mapping, Sequence
import difflib
from typing import Any

import numpy as np

_LONGEST_EDGE = 8192  # pixels of an image
_THINNEST = 16  # of two edges, the longer over the shorter


class RequestError(ValueError):
  """A message that cannot be answered; its text is for whoever sent it."""


def look(message: Mapping, path: str) -> Any:
  """What a message has under a key or a path of keys; None for nothing."""
  if path in message:
    return message[path]
  first, _, rest = path.partition('/')
  inner = message.get(first)
  return look(inner, rest) if rest and isinstance(inner, Mapping) else None


def paths(message: Mapping, known: tuple[str, ...]) -> Iterator[str]:
  """Keys of a message, of its maps the keys inside where such a path is known."""
  for key, value in message.items():
    key = key if isinstance(key, str) else repr(key)
    inside = any(path.startswith(f'{key}/') for path in known)
    if key not in known and inside and isinstance(value, Mapping):
      below = tuple(p.partition('/')[2] for p in known if p.startswith(f'{key}/'))
      yield from (f'{key}/{path}' for path in paths(value, below))
    else:
      yield key


def closest(key: str, known: Sequence[str]) -> str:
  """A question whether another key was meant, or ''."""
  close = difflib.get_close_matches(key[:80], known, n=1)  # what is longer is compared for hours
  return f'did you mean {close[0]!r}?' if close else ''


def _are_numbers(value: Any) -> bool:
  """Whether lists hold nothing but numbers; NumPy would make long texts of one that they hold."""
  if isinstance(value, list):
    return all(map(_are_numbers, value))
  return isinstance(value, (int, float, np.ndarray, np.generic)) and not isinstance(value, bool)


def numbers(key: str, value: Any) -> np.ndarray:
  """Finite float32 numbers.

  Raises:
    RequestError: it holds something else; names the key.
  """
  try:
    found = np.asarray(value) if _are_numbers(value) else np.empty((), object)
  except ValueError:  # lists of unequal lengths
    found = np.empty((), object)
  if found.dtype.kind not in 'fiu':
    raise RequestError(f'{key}: found {kind(value)}, expected numbers.')
  with np.errstate(over='ignore', invalid='ignore'):
    numbers = found.astype(np.float32)
  if not np.isfinite(numbers).all():
    bad = np.argwhere(~np.isfinite(numbers))[0].tolist()
    raise RequestError(
      f'{key}: found {found[tuple(bad)]} at {bad}, expected finite numbers everywhere.'
    )
  return numbers


def image(key: str, value: Any) -> np.ndarray:
  """[H, W, 3] uint8 of any of the layouts that cameras and openpi's clients have.

  Raises:
    RequestError: it is none of them; names the key.
  """
  if not isinstance(value, np.ndarray) or value.ndim != 3 or 0 in value.shape:
    raise RequestError(f'{key}: found {kind(value)}, expected an image [H, W, 3] or [3, H, W].')
  first, last = value.shape[0] == 3, value.shape[2] == 3
  if first == last:
    raise RequestError(
      f'{key}: found {kind(value)}, expected an image [H, W, 3] or [3, H, W] of which only one '
      'axis can be that of the colours.'
    )
  edges = value.shape[1:] if first else value.shape[:2]
  if max(edges) > _LONGEST_EDGE or min(edges) * _THINNEST < max(edges):
    raise RequestError(
      f'{key}: found {kind(value)}, expected up to {_LONGEST_EDGE} pixels, and an edge that is at '
      f'most {_THINNEST} times the other.'
    )
  if value.dtype.kind == 'f':
    low, high = float(value.min()), float(value.max())
    if not 0 <= low <= high <= 1:  # of NaN too
      raise RequestError(
        f'{key}: found {value.dtype} from {low:.6g} to {high:.6g}, expected 0 to 1, or uint8.'
      )
    value = (255 * value).astype(np.uint8)
  if value.dtype != np.uint8:
    raise RequestError(f'{key}: found {kind(value)}, expected uint8, or floats from 0 to 1.')
  return np.ascontiguousarray(value.transpose(1, 2, 0) if first else value)


def kind(value: Any) -> str:
  """What a value is, in a few words."""
  if isinstance(value, (np.ndarray, np.generic)):
    return f'{value.dtype} {list(value.shape)}'
  if isinstance(value, (str, bytes)):
    return f'{type(value).__name__} of {len(value)}'
  return type(value).__name__


def shown(value: Any) -> str:
  """A number as it is, anything else by its kind: an array may hold texts that Python cannot."""
  return f'{value}'[:40] if isinstance(value, (bool, int, float, np.number)) else kind(value)
