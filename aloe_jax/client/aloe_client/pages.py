"""What a page of the cockpit is told, and what becomes of what it says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
import time
from typing import Any

import numpy as np
from websockets.sync import server as server_lib

from aloe_client import commands as commands_lib
from aloe_client import images as images_lib
from aloe_client import watch as watch_lib

_PERIOD = 0.1  # seconds between two states
_EVENTS = 40
_SIDE = 480  # pixels of a picture's longer side, at most
_log = logging.getLogger('aloe_client')


class Views:
  """What all pages see. It is looked at all the time, so that a new page sees the whole episode."""

  def __init__(self, recorder: Any):
    self._watch = watch_lib.Watch(recorder)
    self._lock = threading.Lock()
    self._state = self._watch.look()
    self._encode = images_lib.encoder()
    self._pictures: dict[str, tuple[Any, bytes]] = {}  # by camera: pixels, and their file
    self._ended = threading.Event()

  def run(self) -> None:
    """Looks, until `end`."""
    while not self._ended.wait(_PERIOD):
      try:
        self._state = self._watch.look()
      except Exception:  # pages show that they get nothing
        _log.exception('the cockpit cannot look at the recorder')

  def end(self) -> None:
    """See `run`."""
    self._ended.set()

  def get(self) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The state, and the file of each camera's picture, which is made when a page asks."""
    with self._lock:
      state = self._state
      for camera, pixels in state['images'].items():
        if pixels is None:
          self._pictures.pop(camera, None)
        elif camera not in self._pictures or self._pictures[camera][0] is not pixels:
          self._pictures[camera] = pixels, self._encode(_small(pixels))
      return state, {camera: data for camera, (_, data) in self._pictures.items()}


class Page:
  """One page."""

  def __init__(
    self,
    connection: server_lib.ServerConnection,
    commands: commands_lib.Commands,
    views: Views,
  ):
    self._connection, self._commands, self._views = connection, commands, views
    self._state: Any = None
    self._number = 0  # of states
    self._seen = 0  # likewise, by the page
    self._trace, self._points = -1, 0
    self._last_event: Any = None
    self._shown: dict[str, bytes] = {}

  def run(self) -> None:
    """Until the page is closed."""
    buttons = [dataclasses.asdict(command) for command in commands_lib.ALL]
    self._connection.send(json.dumps({'commands': buttons}))
    due = time.monotonic()
    while True:
      if self._seen == self._number and time.monotonic() >= due:
        due = time.monotonic() + _PERIOD
        self._show()
      # What has been drawn, or a command; a page that draws slowly gets fewer states.
      patience = max(due - time.monotonic(), 0.001) if self._seen == self._number else None
      with contextlib.suppress(TimeoutError):
        self._hear(read(self._connection.recv(timeout=patience)))

  def _hear(self, told: dict[str, Any]) -> None:
    if isinstance(told.get('seen'), int):
      self._seen = told['seen']
    if 'command' in told:
      episode = told.get('episode')
      try:
        text, done = self._commands.run(str(told['command']), episode), True
      except commands_lib.RefusedError as error:
        text, done = str(error), False
      self._connection.send(json.dumps({'answer': told.get('id'), 'done': done, 'text': text}))

  def _show(self) -> None:
    state, pictures = self._views.get()
    if state is self._state:  # what is not looked at any more is not shown as if it were new
      return
    self._state = state
    self._number += 1
    told = {name: x for name, x in state.items() if name not in ('images', 'points', 'events')}
    told['number'] = self._number
    told['cameras'] = {camera: camera in pictures for camera in state['images']}
    if state['trace'] != self._trace:
      self._trace, self._points = state['trace'], 0
      told['begins'] = True
    told['points'] = state['points'][self._points :]
    self._points = len(state['points'])
    events = state['events']
    if events and events[-1] is not self._last_event:
      self._last_event = events[-1]
      told['events'] = [
        {'time': e.time, 'kind': e.kind, 'text': e.text, 'loud': e.loud} for e in events[-_EVENTS:]
      ]
    for camera, data in pictures.items():
      if self._shown.get(camera) is not data:
        name = camera.encode()[:255]
        self._connection.send(bytes([len(name)]) + name + data)
        self._shown[camera] = data
    self._connection.send(json.dumps(told))


def read(data: Any) -> dict[str, Any]:
  """What a page says; {} where it makes no sense."""
  try:
    found = json.loads(data)
  except (ValueError, RecursionError):
    return {}
  return found if isinstance(found, dict) else {}


def _small(pixels: np.ndarray) -> np.ndarray:
  """A picture [H, W, 3] of which rows and columns are left out evenly."""
  step = -(-max(pixels.shape[:2]) // _SIDE)
  return np.ascontiguousarray(pixels[::step, ::step])
