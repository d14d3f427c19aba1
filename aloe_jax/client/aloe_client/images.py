"""Pixels as files of pictures: JPEG where Pillow is installed, else PNG without compression."""

from __future__ import annotations

import importlib
import io
import struct
import zlib

import numpy as np

_QUALITY = 95


def encoder(kind: str = 'auto') -> Encoder:
  """What makes bytes of uint8 [H, W, 3].

  Args:
    kind: jpeg (small, not exact, needs Pillow), png (exact, slow), raw (PNG as large as the pixels)
      or auto, which is jpeg where that can be and raw elsewhere.

  Raises:
    ModuleNotFoundError: jpeg without Pillow.
    ValueError: another kind.
  """
  if kind not in ('auto', 'jpeg', 'png', 'raw'):
    raise ValueError(f'images: found {kind!r}, expected auto, jpeg, png or raw.')
  if kind in ('auto', 'jpeg'):
    try:
      return _Jpeg()
    except ModuleNotFoundError:
      if kind == 'jpeg':
        raise
  return _Png(1 if kind == 'png' else 0)


class Encoder:
  """Makes bytes of pixels."""

  def __call__(self, pixels: np.ndarray) -> bytes:
    """The picture's file; `pixels` are uint8 [H, W, 3]."""
    raise NotImplementedError


class _Jpeg(Encoder):
  def __init__(self) -> None:
    try:
      self._image = importlib.import_module('PIL.Image')
    except ModuleNotFoundError as error:
      raise ModuleNotFoundError('images: jpeg needs Pillow: pip install pillow') from error

  def __call__(self, pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    self._image.fromarray(pixels).save(buffer, 'jpeg', quality=_QUALITY)
    return buffer.getvalue()


class _Png(Encoder):
  def __init__(self, level: int):
    self._level = level

  def __call__(self, pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows, self._level)
    chunks = ((b'IHDR', header), (b'IDAT', data), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
  checksum = zlib.crc32(content, zlib.crc32(name))
  return struct.pack('>I', len(content)) + name + content + struct.pack('>I', checksum)
