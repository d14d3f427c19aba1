"""Images of many steps at once, decoded by threads straight into the batch."""

from concurrent import futures
import os

import numpy as np
import simplejpeg

from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import scratch
from aloe_jax.data import steps as steps_lib
from aloe_jax.preprocessing import images


class ImageReader:
  """Reads what the cameras saw at some steps.

  Args:
    steps: of all datasets.
    size: edge in pixels of the squares that images are fitted into.
  """

  def __init__(self, steps: steps_lib.Steps, size: int):
    self._steps = steps
    self._size = size
    self._scratch = scratch.Scratch()
    self._workers = os.cpu_count() or 1
    self._pool = futures.ThreadPoolExecutor(self._workers)  # decoders release the lock

  def read(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """{camera: [B, size, size, 3] uint8} and {camera: [B] bool}; zeros where one is missing."""
    shape = (len(types.CAMERAS), len(rows), self._size, self._size, 3)
    images = self._scratch.empty(shape, np.uint8)
    present = np.empty(shape[:2], bool)

    jobs: list[tuple[steps_lib.Read | None, np.ndarray]] = []
    for number, camera in enumerate(types.CAMERAS):
      reads = self._steps.images(camera, rows)
      present[number] = [read is not None for read in reads]
      jobs += zip(reads, images[number], strict=True)

    def fill(worker: int) -> None:
      for number in range(worker, len(jobs), self._workers):
        read, image = jobs[number]
        frame = None if read is None else read()
        try:
          _decode_into(image, frame)
        except (ValueError, OSError, SyntaxError) as error:  # the last is Pillow's
          camera, b = divmod(number, len(rows))
          raise ValueError(
            f'step {rows[b]} of all data: image of {types.CAMERAS[camera]}: it is damaged '
            f'and cannot be decoded ({error}); `data validate DIR` names its file.'
          ) from error

    list(self._pool.map(fill, range(self._workers)))
    by_camera = dict(zip(types.CAMERAS, images, strict=True))
    return by_camera, dict(zip(types.CAMERAS, present, strict=True))


def _decode_into(out: np.ndarray, frame: bytes | np.ndarray | None) -> None:
  """Decodes a frame into a square, resized with padding unless it is of that size already."""
  size = out.shape[0]
  if frame is None:
    out[:] = 0
  elif isinstance(frame, np.ndarray):
    out[:] = images.resize_with_pad(frame, size)
  elif not _fits(out, frame):
    out[:] = images.resize_with_pad(image_codec.decode(frame), size)


def _fits(out: np.ndarray, frame: bytes) -> bool:
  """Decodes a JPEG of the square's size into it; of anything else tells that it is another."""
  try:
    return simplejpeg.decode_jpeg(frame, buffer=out).shape == out.shape
  except ValueError:  # larger than the square, or no JPEG
    return False
