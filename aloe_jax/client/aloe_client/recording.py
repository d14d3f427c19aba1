"""An open episode: what is added to it is counted here and written by an `EpisodeWriter`."""

from __future__ import annotations

import pathlib
import threading
from typing import Any, Protocol

import numpy as np

from aloe_client import episode_files
from aloe_client import events as events_lib
from aloe_client import wire

_LOUD = 3  # images of a camera after which a person is told again
_OF_STEP = ('dt', 'who', 'held', 'requested', 'executed', 'plan')  # that a summary is made of
_OF_PLAN = ('checkpoint', 'checkpoint_step')


class Writes(Protocol):
  """What queues the parts of an episode for the disk; see `episode_writer.EpisodeWriter`."""

  events: events_lib.Events

  def put_step(self, recording: Recording, content: bytes) -> None:
    """Queues a record."""

  def put_fault(self, recording: Recording) -> None:
    """Queues that an episode is not to be trained on."""

  def put_image(self, recording: Recording, camera: str, step: int, pixels: np.ndarray) -> bool:
    """Queues an image; False if too many wait already."""

  def put_end(self, recording: Recording, end: str | None, more: dict[str, Any]) -> None:
    """Queues the end of an episode; None discards it."""


class Recording:
  """An open episode; its methods return at once.

  Attributes:
    lost: images that were not written, by camera.
    place: directory of it while it is open.
    stored: set when all steps are on the disk.
  """

  def __init__(self, writer: Writes, path: pathlib.Path, header: dict[str, Any]):
    self.lost = dict.fromkeys(header['cameras'], 0)
    self.place = path
    self.stored = threading.Event()
    self._writer, self._header = writer, header
    self._steps: list[dict[str, Any]] = []  # what the summary needs of them
    self._plans: dict[int, dict[str, Any]] = {}  # likewise
    self._problems: list[str] = []

  def add(self, record: dict[str, Any]) -> None:
    """Writes a step, a chunk or an event.

    Raises:
      wire.WireError: it holds what cannot be written, and nothing of it was.
    """
    content = wire.pack(record)  # before it counts
    if record['type'] == 'step':
      self._steps.append({name: record[name] for name in _OF_STEP})
    elif record['type'] == 'plan':
      self._plans[record['number']] = {name: record.get(name) for name in _OF_PLAN}
    self._writer.put_step(self, content)

  def image(self, camera: str, step: int, pixels: np.ndarray | None) -> None:
    """Writes an image, uint8 [H, W, 3] that nobody changes; None for one that is missing."""
    if pixels is None or not self._writer.put_image(self, camera, step, pixels):
      self._lose(camera, step, 'the camera gave none' if pixels is None else 'the disk is too slow')

  def finish(self, end: str, **more: Any) -> None:
    """Closes the episode; it gets its number when all of it is on the disk."""
    self._writer.put_end(self, end, more)

  def discard(self) -> None:
    """Puts the episode aside."""
    self._writer.put_end(self, None, {})

  def summary(self, end: str, more: dict[str, Any]) -> dict[str, Any]:
    """What episode.json says."""
    problems = tuple(self._problems)
    found = episode_files.summarised(
      self._header, self._steps, end, self.lost, problems, self._plans
    )
    return {**found, **more}

  def fail(self, text: str) -> None:
    """Notes, from any thread, that something of it could not be written."""
    if text not in self._problems:
      self._problems.append(text)
      self._writer.put_fault(self)
      self._writer.events.add('disk', f'{text}: this episode will not be exported.', loud=True)

  def _lose(self, camera: str, step: int, why: str) -> None:
    self.lost[camera] = count = self.lost[camera] + 1
    if count == 1:
      self._writer.put_fault(self)
    if count in (1, _LOUD) or count % 100 == 0:
      self._writer.events.add(
        'images',
        f'{count} image{"s" * (count > 1)} of {camera} lost, at step {step} ({why}): this episode '
        'will not be exported.',
        loud=True,
      )
