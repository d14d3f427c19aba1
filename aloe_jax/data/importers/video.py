"""Frames out of video files, by time; needs PyAV."""

from collections.abc import Generator
import contextlib
import os
import pathlib

from aloe_jax.data import image_codec


def read(path: str | os.PathLike, *, start: float, count: int, fps: float) -> list[bytes]:
  """Decodes consecutive frames, encoded as JPEGs one by one.

  Args:
    path: of a video in any codec that PyAV decodes (H.264, HEVC, AV1, ...).
    start: time of the first frame, in seconds.
    count: number of frames.
    fps: frames per second.

  Raises:
    FileNotFoundError: if there is no such file.
    ModuleNotFoundError: if PyAV is not installed.
    ValueError: if the file is corrupt, ends too early, or has no frame within half a frame
      of a time.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: the video is missing; copy it from its source.')
  half = 0.5 / fps
  found: list[bytes] = []
  with contextlib.closing(_frames(path, start - half)) as frames:
    for frame in frames:
      if frame.time < start - half:
        continue
      if len(found) == count:
        break
      wanted = start + len(found) / fps
      if abs(frame.time - wanted) > half:
        raise ValueError(
          f'{path}: found a frame at {frame.time:.4f} s, expected one at {wanted:.4f} s: the '
          f'video does not run at {fps:g} frames a second, or lacks a frame.'
        )
      pixels = frame.to_ndarray(format='rgb24')
      found += image_codec.encoded(pixels[None])
  if len(found) < count:
    raise ValueError(
      f'{path}: found {len(found)} frames from {start:.4f} s on, expected {count}: the video is '
      'shorter than the episode.'
    )
  return found


def _frames(path: pathlib.Path, start: float) -> Generator:
  """Yields decoded frames in the order of display from a keyframe at `start` or before it."""
  try:
    import av
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f'{path}: videos are decoded by PyAV, which is not installed; install it with '
      "pip install 'aloe_jax[import]', or pip install av."
    ) from error

  try:
    with av.open(str(path)) as container:
      if not container.streams.video:
        raise ValueError(f'{path}: found no video in the file.')
      stream = container.streams.video[0]
      stream.thread_type = 'AUTO'
      container.seek(int(max(start, 0.0) * av.time_base))  # in microseconds
      yield from container.decode(stream)
  except av.FFmpegError as error:
    raise ValueError(
      f'{path}: the video cannot be decoded ({error}); copy it again from its source.'
    ) from error
