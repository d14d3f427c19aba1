"""Writes episodes from threads of its own: neither a slow disk nor a slow encoder stalls the loop.

Steps go through one thread and images through another, so that a step is on the disk although an
image waits. What waits is bounded: an image that finds no room is lost, counted, and its episode is
not to be trained on. One episode's files are open at a time in each thread.
"""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses
import os
import pathlib
import queue
import shutil
import threading
import time
from typing import Any

import numpy as np

from aloe_client import episode_files
from aloe_client import events as events_lib
from aloe_client import images as images_lib
from aloe_client import recording as recording_lib
from aloe_client import records
from aloe_client import wire

_ROOM = 256 * 2**20  # bytes of images that wait
_LEAST_FREE = 2**30  # bytes of a disk, before an episode begins


class FullDiskError(OSError):
  """There is too little room for another episode."""


@dataclasses.dataclass
class _Ended:
  """An episode that can be taken back.

  Attributes:
    number: that it has, or will have when it is written; None where it could not be finished.
    place: directory of it.
  """

  number: int | None
  place: pathlib.Path


class EpisodeWriter:
  """Holds the directory that episodes are written in.

  Attributes:
    events: of what happens.
  """

  def __init__(
    self,
    root: pathlib.Path,
    events: events_lib.Events,
    *,
    encode: Callable[[np.ndarray], bytes] | None = None,
    room: int = _ROOM,
  ):
    """Locks the directory, and finishes what a program that died left open.

    Args:
      root: of the episodes; made if it is not there.
      events: to tell of losses.
      encode: bytes of an image.
      room: bytes of images that may wait.

    Raises:
      episode_files.LockedError: another program records there.
      OSError: the directory cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    self.events = events
    self._root, self._room = root, room
    self._encode = encode or images_lib.encoder()
    self._held = contextlib.ExitStack()
    self._held.enter_context(episode_files.locked(root))
    try:
      for sentence in episode_files.recover(root):
        events.add('recovered', sentence, loud=True)
      places = episode_files.finished(root)
    except OSError as error:
      self._held.close()
      why = error.strerror or error
      raise OSError(f'{root}: what was left open there cannot be finished: {why}.') from error
    self._ended = [_Ended(int(place.name), place) for place in places]  # the last is the last
    self._largest = max(map(_bytes, places[-3:]), default=0)
    self._waiting, self._lock = 0, threading.Lock()
    self._steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
    self._images: queue.SimpleQueue[Any] = queue.SimpleQueue()
    self._threads = [
      threading.Thread(target=work, name=name, daemon=True)
      for name, work in (('aloe_steps', self._write_steps), ('aloe_images', self._write_images))
    ]
    for thread in self._threads:
      thread.start()

  @property
  def count(self) -> int:
    """Number of the next episode, after those that are still being written."""
    with self._lock:
      return self._next()

  def _next(self) -> int:
    numbers = (ended.number for ended in reversed(self._ended))
    return next((number for number in numbers if number is not None), -1) + 1

  @property
  def waiting(self) -> int:
    """Bytes of images that are not written yet."""
    return self._waiting

  def check_free(self) -> None:
    """Refuses to begin an episode that the disk has no room for.

    Raises:
      FullDiskError: saying how much is free and how much is wanted.
    """
    wanted = max(_LEAST_FREE, 2 * self._largest)
    free = shutil.disk_usage(self._root).free
    if free < wanted:
      raise FullDiskError(
        f'{self._root}: {free / 1e9:.2f} GB are free and an episode may need '
        f'{wanted / 1e9:.2f} GB: nothing is recorded, nothing moves. Make room, then begin again.'
      )

  def begin(self, header: dict[str, Any]) -> recording_lib.Recording:
    """Opens an episode.

    Args:
      header: of JSON; `cameras` lists the names of its cameras.

    Raises:
      FullDiskError: see `check_free`.
      OSError: it cannot be opened; nothing of it is left.
      ValueError: the header holds what cannot be written; likewise.
    """
    self.check_free()
    path = self._root / f'{episode_files.OPEN}{time.time_ns():020d}'
    path.mkdir()
    try:
      episode_files.write_json(path / episode_files.HEADER, header)
      (path / episode_files.SOUND).touch()
    except BaseException:
      shutil.rmtree(path, ignore_errors=True)
      raise
    recording = recording_lib.Recording(self, path, header)
    self._steps.put(_Item(recording))
    return recording

  def discard_last(self) -> str:
    """Puts the episode that ended last aside, once it is written.

    Returns:
      Which one, for a person; empty if there is none.
    """
    with self._lock:
      ended = self._ended.pop() if self._ended else None
      unfinished = ended is not None and ended.number is None
    if ended is None:
      return ''
    self._images.put(_Item(None, ended=ended))
    return 'The episode that could not be finished' if unfinished else f'Episode {ended.number}'

  def put_step(self, recording: recording_lib.Recording, content: bytes) -> None:
    """Queues a record."""
    self._steps.put(_Item(recording, data=content))

  def put_fault(self, recording: recording_lib.Recording) -> None:
    """Queues that an episode is not to be trained on, should the program die before its end."""
    self._steps.put(_Item(recording, faulty=True))

  def put_image(
    self, recording: recording_lib.Recording, camera: str, step: int, pixels: np.ndarray
  ) -> bool:
    """Queues an image; False if too many wait already."""
    with self._lock:
      if self._waiting + pixels.nbytes > self._room:
        return False
      self._waiting += pixels.nbytes
    self._images.put(_Item(recording, data=pixels, camera=camera, step=step))
    return True

  def put_end(
    self, recording: recording_lib.Recording, end: str | None, more: dict[str, Any]
  ) -> None:
    """Queues the end of an episode; None discards it."""
    ended = None
    if end is not None:
      with self._lock:
        ended = _Ended(self._next(), recording.place)
        self._ended.append(ended)
    item = _Item(recording, ends=True, end=end, more=more, ended=ended)
    self._steps.put(item)
    self._images.put(item)

  def flush(self, timeout: float | None = None) -> bool:
    """Waits until all that was queued is on the disk; False if it is not in time."""
    done = threading.Event()
    self._images.put(done)
    return done.wait(timeout)

  def close(self, timeout: float = 60.0) -> None:
    """Writes what waits and frees the directory."""
    if not self._threads[0].is_alive():
      return
    if not self.flush(timeout):
      self.events.add(
        'disk',
        f'{self._waiting / 1e6:.0f} MB of images were not written in {timeout:g} s; the last '
        'episode is finished when the next program begins.',
        loud=True,
      )
      return
    self._steps.put(None)
    self._images.put(None)
    for thread in self._threads:
      thread.join()
    self._held.close()

  # Threads

  def _write_steps(self) -> None:
    file: records.Writer | None = None
    current = None
    while (item := self._steps.get()) is not None:
      recording = item.recording
      try:
        if item.faulty:
          (recording.place / episode_files.SOUND).unlink(missing_ok=True)
        elif item.data is None and not item.ends:
          current, file = recording, None
          file = records.Writer(recording.place / episode_files.STEPS)
        elif recording is not current:  # an event that came after its end
          continue
        elif item.ends:
          if file is not None:  # what a person said of it outlives the program from here on
            file.add(wire.pack({'type': 'end', 'reason': item.end or episode_files.TAKEN_BACK}))
            file.close()
        elif file is not None:
          file.add(item.data)
      except OSError as error:
        recording.fail(f'steps were not written ({error.strerror or error})')
      if item.ends:
        current = file = None
        recording.stored.set()

  def _write_images(self) -> None:
    files: dict[str, records.Writer] = {}
    before: dict[str, np.ndarray] = {}
    while (item := self._images.get()) is not None:
      if isinstance(item, threading.Event):
        item.set()
      elif item.recording is None:
        self._take_back(item.ended)
      elif item.ends:
        self._finish(item, files)
        files, before = {}, {}
      else:
        self._write_image(item, files, before)

  def _write_image(
    self, item: _Item, files: dict[str, records.Writer], before: dict[str, np.ndarray]
  ) -> None:
    recording, camera = item.recording, item.camera
    try:
      same = camera in before and np.array_equal(before[camera], item.data)
      data = b'' if same else self._encode(item.data)
      if camera not in files:
        files[camera] = records.Writer(recording.place / f'{camera}{episode_files.IMAGES}')
      files[camera].add(wire.pack({'step': item.step, 'data': data}))
      before[camera] = item.data
    except Exception as error:  # of an encoder too: the thread goes on
      recording.lost[camera] += 1
      why = getattr(error, 'strerror', None) or error
      recording.fail(f'images of {camera} were not written ({why})')
    finally:
      with self._lock:
        self._waiting -= item.data.nbytes

  def _finish(self, item: _Item, files: dict[str, records.Writer]) -> None:
    recording = item.recording
    for file in files.values():
      try:
        file.close()
      except OSError as error:
        recording.fail(f'images were not written ({error.strerror or error})')
    recording.stored.wait()
    try:
      if item.end is None:
        episode_files.discard(recording.place)
        return
      place = episode_files.close(recording.place, recording.summary(item.end, item.more))
      with self._lock:
        item.ended.number, item.ended.place = int(place.name), place
      self._largest = max(self._largest, _bytes(place))
      self.events.add('closed', f'{place}: {item.end}.')
    except Exception as error:  # whatever it is, the thread goes on
      why = getattr(error, 'strerror', None) or error
      with self._lock:
        if item.ended is not None:
          item.ended.number = None
      self.events.add(
        'disk',
        f'{recording.place} was not finished ({why}); its end, {item.end}, is '
        'kept, and it gets its number when the next program records here.',
        loud=True,
      )

  def _take_back(self, ended: _Ended) -> None:
    try:
      episode_files.discard(ended.place)
      self.events.add('discarded', f'{ended.place} was taken back.')
    except OSError as error:
      self.events.add('disk', f'{ended.place} was not taken back ({error}).', loud=True)


@dataclasses.dataclass(frozen=True)
class _Item:
  """What a thread has to do."""

  recording: Any
  data: Any = None
  camera: str = ''
  step: int = 0
  faulty: bool = False
  ends: bool = False
  end: str | None = None
  ended: Any = None
  more: dict[str, Any] = dataclasses.field(default_factory=dict)


def _bytes(path: pathlib.Path) -> int:
  return sum(entry.stat().st_size for entry in os.scandir(path))
