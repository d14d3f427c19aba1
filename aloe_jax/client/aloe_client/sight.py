"""What a robot sees, observation after observation, held to the first one.

An episode is an array [T, n] and pictures of one size: a state that has another width all at once,
or a camera another size, fits in none. It is found here, when it is seen, and not when the episode
is brought home.
"""

from __future__ import annotations

from collections.abc import Mapping
import re
from typing import Any

import numpy as np

from aloe_client import arguments
from aloe_client import events as events_lib
from aloe_client import observing

_NUMBER = re.compile(r'[-\d.]+')


class Sight:
  """Reads observations.

  Attributes:
    layout: where they hold what; None before the first one.
    state: [n] of the last one that was of use; None before the first one.
    images: {camera: uint8 [H, W, 3], or None where it gave none} of that one.
    count: observations that were looked at, of use or not.
  """

  def __init__(self, metadata: Mapping[str, Any], task: str, events: events_lib.Events):
    """Has seen nothing.

    Args:
      metadata: what the server said of itself.
      task: the prompt of observations without one.
      events: to tell of what is of no use.
    """
    self.layout: observing.Layout | None = None
    self.state: np.ndarray | None = None
    self.images: dict[str, np.ndarray | None] = {}
    self.count = 0
    self._metadata, self._task, self._events = metadata, task, events
    self._prompt_key = str((metadata.get('aloe') or {}).get('prompt_key') or 'prompt')
    self._sizes: dict[str, list[int]] = {}
    self._pictures: dict[str, tuple[int, ...]] = {}
    self._problem = ''

  def look(
    self, observation: Mapping[str, Any], *, begins: bool = True
  ) -> tuple[dict[str, Any], np.ndarray]:
    """The request of an observation, and its state [n].

    Args:
      observation: of the robot.
      begins: whether no step of the episode is there yet; then cameras may have another size.

    Raises:
      ValueError: naming the key that is wrong, what was found there and what was expected.
    """
    self.count += 1
    if not isinstance(observation, Mapping):
      raise ValueError(f'observation: found {type(observation).__name__}, expected a map.')
    request = {self._prompt_key: self._task, **observation}
    if text := arguments.unwritable(request[self._prompt_key]):
      raise ValueError(f'{self._prompt_key}: {text}')
    if self.layout is None:
      self.layout = observing.Layout(self._metadata, request)
    state = self.layout.read_state(request)
    self.layout.read_features(request)
    sizes = self.layout.sizes(request)
    for key, found in sizes.items():
      if (expected := self._sizes.get(key, found)) != found:
        raise ValueError(
          f'{key}: found {_shown(found)}, expected {_shown(expected)} as in the first observation.'
        )
    images = self.layout.read_images(request)
    seen = {camera: image.shape for camera, image in images.items() if image is not None}
    for camera, shape in () if begins else seen.items():
      if (before := self._pictures.get(camera, shape)) != shape:
        raise ValueError(
          f'{self.layout.cameras[camera]}: found a picture of {shape[0]} x {shape[1]}, expected '
          f'{before[0]} x {before[1]} as in the first step of the episode.'
        )
    self._sizes, self.state, self.images = sizes, state, images
    self._pictures = seen if begins else seen | self._pictures
    return request, state

  def find(
    self, observation: Mapping[str, Any], where: str
  ) -> tuple[dict[str, Any], np.ndarray] | None:
    """As `look` within an episode; None where the observation is of no use, which is told once.

    Args:
      observation: of the robot.
      where: episode and step, for a person.
    """
    try:
      found = self.look(observation, begins=False)
    except Exception as error:  # whatever a camera or a driver gives, the robot's loop goes on
      kind = _NUMBER.sub('', str(error))  # its numbers may be others each time
      if kind != self._problem:
        text = (
          f'{where}: {error} The robot holds and nothing is recorded until what it sees is of use '
          'again; what was recorded stays.'
        )
        self._events.add('unseen', text, loud=True)
      self._problem = kind
      return None
    if self._problem:
      self._events.add('seen', 'What the robot sees is of use again.')
    self._problem = ''
    return found

  def prompt(self, request: Mapping[str, Any]) -> str:
    """What the robot is asked to do."""
    return str(request[self._prompt_key])


def _shown(size: list[int]) -> str:
  return f'{size[0]} numbers' if len(size) == 1 else f'numbers {size}'
