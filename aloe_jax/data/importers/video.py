"""Frames out of video files, by time; needs PyAV.

The times of all frames of a file are listed first, without decoding any, so that every step is
known to have a frame of its own before the work begins. A frame that the decoder would have to mend
is refused: what it makes up looks like a picture.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
import contextlib
import dataclasses
import functools
import pathlib
import re
from types import ModuleType
from typing import Any

import numpy as np

from aloe_jax.data import image_codec

_FILES = 32  # whose times are kept: several episodes lie in a file, and each has cameras
_DEEP = re.compile(r'^gray(9|1[0-6])|16(le|be)$')  # colour of 10 or 12 bits is right
_SAME = 1e-6  # seconds between two readings of one time
_HOLE = bytes(64)  # what a disk or a copy leaves where it has lost something; decoders may miss it
_DENSE = ('h264', 'hevc', 'av1', 'vp8', 'vp9')  # codecs whose frames have no such stretch


@dataclasses.dataclass(frozen=True)
class Clip:
  """Where an episode lies in a video.

  Attributes:
    path: of the file, in any codec that PyAV decodes (H.264, HEVC, AV1, ...).
    start: time in the file where the episode begins, in seconds.
    stop: time where it ends and another may begin, or None for the end of the file.
  """

  path: pathlib.Path
  start: float = 0.0
  stop: float | None = None


@dataclasses.dataclass(frozen=True)
class Frames:
  """The pictures of an episode.

  Attributes:
    jpegs: [T] one a step.
    surplus: frames of the clip after the last step, if it is longer by more than half a frame.
  """

  jpegs: list[bytes]
  surplus: int


@dataclasses.dataclass(frozen=True, eq=False)
class _Listing:
  """The frames of a file, known without decoding it; times in seconds, ascending.

  Attributes:
    times: [F] float64, when each frame is shown.
    keys: of the frames that decoding may begin at.
    holes: of the frames that have lost something.
  """

  times: np.ndarray
  keys: np.ndarray
  holes: np.ndarray


def read(
  clip: Clip, times: np.ndarray, *, fps: float, where: str, threads: int | None = None
) -> Frames:
  """The frame nearest to each step in time, encoded as a JPEG as soon as it is decoded.

  Args:
    clip: of the episode.
    times: [T] float64 of the steps, in seconds since the clip began, ascending.
    fps: steps per second.
    where: the episode, for messages.
    threads: to decode with, where others decode other videos; None for what PyAV thinks best.

  Raises:
    FileNotFoundError: if there is no such file.
    ModuleNotFoundError: if PyAV is not installed.
    ValueError: if the file is corrupt or frames that are needed are damaged, or if a step has no
      frame within half a step of it, or the same one as the step before.
  """
  if not clip.path.is_file():
    raise FileNotFoundError(f'{where}: {clip.path}: the video is missing; copy it from its source.')
  try:
    listing = _listed(clip.path)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from error
  picked, surplus = _pick(listing.times, clip, times, fps, where)
  _check_whole(listing, picked, clip.path, where)
  return Frames(_decoded(clip.path, picked, 0.5 / fps, threads, where), surplus)


def size(path: pathlib.Path) -> tuple[int, int]:
  """Height and width of the pictures of a file, without decoding it."""
  with _opened(path) as (_, _, stream):
    return stream.codec_context.height, stream.codec_context.width


def unowned(path: pathlib.Path, clips: Sequence[Clip], *, fps: float) -> int:
  """How many frames of a file lie outside of all its clips by more than half a frame.

  Args:
    path: of the file, which is there.
    clips: all that lie in it.
    fps: steps per second.
  """
  times = _listed(path).times
  owned = np.zeros(len(times), bool)
  for clip in clips:
    stop = np.inf if clip.stop is None else clip.stop
    owned |= (times >= clip.start - 0.5 / fps) & (times < stop - 0.5 / fps)
  return int((~owned).sum())


def _pick(
  found: np.ndarray, clip: Clip, times: np.ndarray, fps: float, where: str
) -> tuple[np.ndarray, int]:
  """[T] times of frames, and how many come after the last."""
  half = 0.5 / fps
  inside = found >= clip.start - half
  if clip.stop is not None:
    inside &= found < clip.stop - half
  own, wanted = found[inside], clip.start + times
  if not len(own):
    span = f'from {clip.start:.4f} s on' + ('' if clip.stop is None else f' to {clip.stop:.4f} s')
    raise ValueError(f'{where}: {clip.path}: found no frame {span}, expected {len(times)}.')
  after = np.searchsorted(own, wanted)
  left, right = (after - 1).clip(min=0), after.clip(max=len(own) - 1)
  near = np.where(np.abs(own[left] - wanted) <= np.abs(own[right] - wanted), left, right)
  apart = np.abs(own[near] - wanted) > half + _SAME
  if apart.any():
    step = int(np.argmax(apart))
    at = f'{where}, step {step}: {clip.path}: found the nearest frame at {own[near[step]]:.4f} s'
    if wanted[step] > own[-1]:
      raise ValueError(
        f'{at}, expected one at {wanted[step]:.4f} s: the video is shorter than the episode, whose '
        f'last {apart[step:].sum()} of {len(times)} steps have no frame.'
      )
    raise ValueError(
      f'{at}, expected one at {wanted[step]:.4f} s: the video lacks a frame, or does not run at '
      f'{fps:g} frames a second.'
    )
  twice = np.diff(near) == 0
  if twice.any():
    step = int(np.argmax(twice)) + 1
    raise ValueError(
      f'{where}, step {step}: {clip.path}: found the frame at {own[near[step]]:.4f} s nearest to '
      f'two steps, at {wanted[step - 1]:.4f} s and {wanted[step]:.4f} s, expected one for each.'
    )
  period = float(np.median(np.diff(own))) if len(own) > 1 else 2 * half
  is_longer = own[-1] + period - (wanted[-1] + 2 * half) > half
  return own[near], int((own > wanted[-1] + half).sum()) if is_longer else 0


# Decoding


def _listed(path: pathlib.Path) -> _Listing:
  status = path.stat()
  return _listed_once(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(_FILES)
def _listed_once(path: pathlib.Path, size: int, changed: int) -> _Listing:
  """The frames of a file of this size and age."""
  del size, changed
  stamps, keys, holes = [], [], []
  with _opened(path) as (_, container, stream):
    is_dense = stream.codec_context.name.removeprefix('lib').startswith((*_DENSE, 'dav1d'))
    for packet in container.demux(stream):
      if not packet.size:
        continue
      if not packet.is_discard:
        stamps.append(packet.pts)
      if packet.is_keyframe:
        keys.append(packet.pts)
      if is_dense and _HOLE in bytes(packet).rstrip(b'\0'):  # some writers fill up at the end
        holes.append(packet.pts)
    if None not in stamps + keys + holes:
      return _Listing(*(_seconds(found, stream.time_base) for found in (stamps, keys, holes)))
  with _opened(path) as (_, container, stream):  # a container that does not tell them
    times = np.sort(np.array([frame.time for frame in container.decode(stream)], np.float64))
    return _Listing(times, times[:1], np.zeros(0))


def _seconds(stamps: Sequence[int], base: Any) -> np.ndarray:
  return np.sort(np.array([float(stamp * base) for stamp in stamps], np.float64))


def _check_whole(listing: _Listing, picked: np.ndarray, path: pathlib.Path, where: str) -> None:
  """Raises if a frame that has to be decoded for those picked has lost something."""
  before = np.searchsorted(listing.keys, picked[0] + _SAME) - 1
  first = listing.keys[before] if before >= 0 else -np.inf
  lost = listing.holes[(listing.holes >= first - _SAME) & (listing.holes <= picked[-1] + _SAME)]
  if len(lost):
    step = min(int(np.searchsorted(picked, lost[0] - _SAME)), len(picked) - 1)
    raise ValueError(
      f'{where}, step {step}: {path}: the video cannot be decoded: the frame at {lost[0]:.4f} s is '
      f'damaged, as {len(_HOLE)} or more of its bytes are 0; copy it again from its source.'
    )


def _decoded(
  path: pathlib.Path, picked: np.ndarray, margin: float, threads: int | None, where: str
) -> list[bytes]:
  """The JPEGs of the frames at these times, ascending."""
  problem = ''
  for start in (picked[0] - margin, None):  # from the file's start, where it cannot be sought in
    jpegs: list[bytes] = []
    try:
      with contextlib.closing(_frames(path, start, threads)) as frames:
        for frame, convert in frames:
          if frame.is_corrupt:
            problem = f'the frame at {frame.time:.4f} s is damaged'
            break
          if frame.time < picked[len(jpegs)] - _SAME:
            continue
          if frame.time > picked[len(jpegs)] + _SAME:
            problem = f'the frame at {picked[len(jpegs)]:.4f} s is lost'
            break
          jpegs += image_codec.encoded(convert(frame).to_ndarray()[None])
          if len(jpegs) == len(picked):
            return jpegs
    except ValueError as error:
      problem = str(error.__cause__ or error)
  raise ValueError(
    f'{where}, step {len(jpegs)}: {path}: the video cannot be decoded here or soon after: '
    f'{problem or "the file ends"}; copy it again from its source.'
  )


def _frames(
  path: pathlib.Path, start: float | None, threads: int | None
) -> Generator[tuple[Any, Callable[[Any], Any]]]:
  """Yields frames in the order of display from a keyframe at `start` or before it.

  With each comes what makes it RGB: one converter for all, as making it takes longer than a frame.
  """
  with _opened(path) as (av, container, stream):
    stream.thread_type = 'AUTO'
    stream.codec_context.options = {'err_detect': 'explode'}  # instead of mending what is damaged
    if threads is not None:
      stream.codec_context.thread_count = threads
    converter = av.video.reformatter.VideoReformatter()
    convert = functools.partial(converter.reformat, format='rgb24')
    if start is not None:
      container.seek(int(max(start, 0.0) * av.time_base))  # in microseconds
    for frame in container.decode(stream):
      yield frame, convert


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[ModuleType, Any, Any]]:
  """PyAV, the open file and its video; what goes wrong with the file is named."""
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
      if _DEEP.search(stream.pix_fmt or ''):
        raise ValueError(
          f'{path}: found pixels of more than 8 bits ({stream.pix_fmt}), which is depth; leave it '
          'out: choose another picture by --camera.'
        )
      yield av, container, stream
  except av.FFmpegError as error:
    raise ValueError(
      f'{path}: the video cannot be decoded ({error}); copy it again from its source.'
    ) from error
