"""Pictures of many steps at once, decoded by threads straight into the batch."""

from concurrent import futures
import os

import numpy as np
import simplejpeg

from aloe_jax import images
from aloe_jax import types
from aloe_jax.data import image_codec
from aloe_jax.data import steps as steps_lib


class Pictures:
  """Reads what the cameras saw at some steps.

  Args:
    steps: of all datasets.
    size: edge in pixels of the squares that pictures are fitted into.
  """

  def __init__(self, steps: steps_lib.Steps, size: int):
    self._steps = steps
    self._size = size
    self._pool = futures.ThreadPoolExecutor(os.cpu_count())  # decoders release the lock

  def read(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """{camera: [B, size, size, 3] uint8} and {camera: [B] bool}; zeros where one is missing."""
    shape = (len(rows), self._size, self._size, 3)
    pictures = {camera: np.zeros(shape, np.uint8) for camera in types.CAMERAS}
    present = {camera: np.zeros(len(rows), bool) for camera in types.CAMERAS}

    def fill(b: int) -> None:
      for camera in types.CAMERAS:
        frame = self._steps.image(camera, rows[b])
        present[camera][b] = frame is not None
        if frame is not None:
          _decode_into(pictures[camera][b], frame)

    list(self._pool.map(fill, range(len(rows))))
    return pictures, present


def _decode_into(out: np.ndarray, frame: bytes | np.ndarray) -> None:
  """Decodes a frame into a square, resized with padding unless it is of that size already."""
  size = out.shape[0]
  if isinstance(frame, np.ndarray):
    out[:] = images.resize_with_pad(frame, size)
  elif image_codec.frame_format(frame) == ('jpeg', size, size):
    simplejpeg.decode_jpeg(frame, buffer=out)
  else:
    out[:] = images.resize_with_pad(image_codec.decode(frame), size)
