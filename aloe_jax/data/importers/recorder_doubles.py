"""Episodes of a recorder that would count double: copies, and scenes that were played twice.

A copy has the times of what it was copied from, however much of it there is: one that was made
while the episode was being recorded is the beginning of it. A simulator that begins with the same
seed again plays the same at another time.
"""

import hashlib
import pathlib

import numpy as np

from aloe_client import episode_files
from aloe_client import wire

_SAME = ('state', 'features', 'requested', 'executed', 'who', 'prompt')  # of a step


class Doubles:
  """The episodes that were met so far."""

  def __init__(self) -> None:
    self._begun: dict[bytes, tuple[pathlib.Path, int]] = {}  # with how many steps
    self._played: dict[bytes, pathlib.Path] = {}

  def beginning_of(self, found: episode_files.Episode) -> pathlib.Path | None:
    """The finished episode that one of a program that died is only the beginning of, or None."""
    other, steps = self._begun.get(_begin(found), (None, 0))
    is_open = found.path.name.startswith(episode_files.OPEN)
    return other if is_open and len(found.steps) <= steps else None

  def add(self, found: episode_files.Episode) -> None:
    """Remembers an episode.

    Raises:
      ValueError: it is a copy of another, or the same was played twice; names both.
    """
    other, _ = self._begun.setdefault(_begin(found), (found.path, len(found.steps)))
    if other != found.path:
      raise ValueError(
        f'{found.path} holds the same episode as {other}: both begin at the same instant, and '
        'it would count double; remove one of the two.'
      )
    if _stands_still(found):
      return
    before = self._played.setdefault(_content(found), found.path)
    if before != found.path and _pictures(before, found) == _pictures(found.path, found):
      raise ValueError(
        f'{found.path} holds the same steps as {before}, number for number, at another time: one '
        'scene that was played twice, as with the same --seed. It would count double; remove one '
        'of the two.'
      )


def _begin(found: episode_files.Episode) -> bytes:
  """Tells one recording from all others: its first step, and when that was."""
  first = {name: value for name, value in found.steps[0].items() if name != 'dt'}
  return hashlib.sha256(wire.pack(first)).digest()


def _stands_still(found: episode_files.Episode) -> bool:
  """Whether a state never changes: two episodes that were ended at once may well be alike."""
  first = found.steps[0]['state']
  return all(np.array_equal(step['state'], first) for step in found.steps)


def _content(found: episode_files.Episode) -> bytes:
  """Of all that was done, whenever that was."""
  digest = hashlib.sha256(found.summary['end_reason'].encode())
  for step in found.steps:
    digest.update(wire.pack({name: step.get(name) for name in _SAME}))
  return digest.digest()


def _pictures(path: pathlib.Path, found: episode_files.Episode) -> list[bytes]:
  """A digest of each camera's file of a folder, of the cameras of an episode."""
  digests = []
  for camera in found.summary['cameras']:
    file = path / f'{camera}{episode_files.IMAGES}'
    if file.is_file():
      with file.open('rb') as opened:
        digests.append(hashlib.file_digest(opened, 'sha256').digest())
  return digests
