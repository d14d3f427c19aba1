"""Camera images as bytes: JPEG or PNG in, uint8 arrays out, and back.

`frames` is T images of one camera: encoded ones, bytes in a sequence, or uint8 [T, H, W, 3].
"""

from collections.abc import Sequence
import io

import numpy as np
from PIL import Image
import simplejpeg

_JPEG_QUALITY = 95
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_BITS = 24  # where a PNG says how many bits a channel has
_JPEG_SIGNATURE = b'\xff\xd8\xff'
_PNG_END = b'IEND\xaeB`\x82'
_JPEG_SCAN, _JPEG_END = b'\xff\xda', b'\xff\xd9'  # neither occurs among the pixels
_TAIL = 64  # bytes in which images end, but for what some writers put behind

Frames = Sequence[bytes] | np.ndarray


def encoded(frames: Frames) -> list[bytes]:
  """The frames as bytes; arrays become JPEGs."""
  if _are_encoded(frames):
    return list(frames)
  contiguous = np.ascontiguousarray(frames)
  return [simplejpeg.encode_jpeg(frame, quality=_JPEG_QUALITY) for frame in contiguous]


def decoded(frames: Frames) -> np.ndarray:
  """The frames as uint8 [T, H, W, 3]; grey ones become RGB."""
  if not _are_encoded(frames):
    return np.asarray(frames)
  return np.stack([decode(frame) for frame in frames])


def common_format(frames: Frames) -> tuple[str, int, int]:
  """Format ('jpeg' or 'png'), height and width of all frames, once `encoded`.

  Raises:
    ValueError: naming the step whose image is of another kind.
  """
  if not _are_encoded(frames):
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
      raise ValueError(f'found {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3].')
    return 'jpeg', frames.shape[1], frames.shape[2]
  formats = []
  for step, frame in enumerate(frames):
    try:
      formats.append(frame_format(frame))
    except ValueError as error:
      raise ValueError(f'step {step}: {error}.') from error
    if problem := cut_problem(frame):
      raise ValueError(f'step {step}: {problem}.')
    if formats[-1] != formats[0]:
      raise ValueError(
        f'step {step}: found {formats[-1]}, expected {formats[0]} as in step 0; resize and '
        'encode the images alike.'
      )
  return formats[0]


def _are_encoded(frames: Frames) -> bool:
  return isinstance(frames[0], bytes)


def head_problem(head: bytes) -> str:
  """What is wrong with an encoded image, by its first 26 bytes; or empty.

  A PNG of more than 8 bits a channel is depth nearly always; as 8 bits most of it would be white.
  """
  if head.startswith(_JPEG_SIGNATURE):
    return ''
  if not head.startswith(_PNG_SIGNATURE):
    return f'found bytes that begin with {head[:8]!r}, expected a JPEG or a PNG'
  if len(head) > _PNG_BITS and head[_PNG_BITS] > 8:
    return (
      f'found a PNG of {head[_PNG_BITS]} bits a channel, expected 8; leave out depth, and save '
      'pictures in colour with 8 bits'
    )
  return ''


def cut_problem(frame: bytes | memoryview) -> str:
  """What is wrong with a JPEG or PNG that ends before its end, without decoding it; or empty."""
  is_png = bytes(frame[: len(_PNG_SIGNATURE)]) == _PNG_SIGNATURE
  if (_PNG_END if is_png else _JPEG_END) in bytes(frame[-_TAIL:]):
    return ''
  whole = bytes(frame)
  if is_png:
    return '' if _PNG_END in whole else 'found a PNG that is cut off, expected it whole'
  is_whole = whole.rfind(_JPEG_END) > whole.rfind(_JPEG_SCAN)
  return '' if is_whole else 'found a JPEG that is cut off, expected it whole'


def frame_format(frame: bytes) -> tuple[str, int, int]:
  """Format, height and width of an encoded frame, from its header.

  Raises:
    ValueError: if it is neither JPEG nor PNG, or has more than 8 bits a channel.
  """
  if frame.startswith(_PNG_SIGNATURE):
    if problem := head_problem(frame):
      raise ValueError(problem)
    return 'png', int.from_bytes(frame[20:24]), int.from_bytes(frame[16:20])
  try:
    height, width, *_ = simplejpeg.decode_jpeg_header(frame)
  except ValueError as error:
    raise ValueError(f'found neither JPEG nor PNG ({error})') from error
  return 'jpeg', height, width


def decode(frame: bytes) -> np.ndarray:
  """One frame as uint8 [H, W, 3]; a grey one becomes RGB.

  Raises:
    ValueError: if it has more than 8 bits a channel.
  """
  if not frame.startswith(_PNG_SIGNATURE):
    return simplejpeg.decode_jpeg(frame)
  if problem := head_problem(frame):
    raise ValueError(problem)
  with Image.open(io.BytesIO(frame)) as image:
    return np.asarray(image.convert('RGB'))
