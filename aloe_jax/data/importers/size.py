"""How much an import will write, told before it is written: pictures are most of it."""

import dataclasses
import pathlib
import shutil

from aloe_jax.data import image_codec
from aloe_jax.data import rlds


def encoded(episode: rlds.Episode) -> rlds.Episode:
  """The episode with its images as they will lie on the disk."""
  images = {
    camera: image_codec.encoded(frames) for camera, frames in (episode.images or {}).items()
  }
  return dataclasses.replace(episode, images=images or None)


def message(episode: rlds.Episode, steps: int, directory: pathlib.Path) -> str:
  """What the images of all recordings come to, and whether the disk has that much room.

  Args:
    episode: the first one, `encoded`; the others are taken to be like it.
    steps: of all recordings.
    directory: that is to be made.

  Returns:
    One sentence, or the empty string if there are no images.
  """
  images = list((episode.images or {}).values())
  if not images:
    return ''
  size = sum(len(frame) for frames in images for frame in frames) * steps / len(episode)
  kinds = sorted({image_codec.common_format(frames[:1])[0].upper() for frames in images})
  text = f'about {_shown(size)} of {" and ".join(kinds)}s will be written to {directory}'
  free = shutil.disk_usage(_existing(directory)).free
  if free < size:
    text += (
      f', but only {_shown(free)} are free there: make room, or the import will stop when the disk '
      'is full and leave nothing'
    )
  return f'{text} (judged by the first episode).'


def _existing(directory: pathlib.Path) -> pathlib.Path:
  path = directory.absolute()
  while not path.exists():
    path = path.parent
  return path


def _shown(size: float) -> str:
  for unit in ('bytes', 'KB', 'MB', 'GB', 'TB'):
    if size < 1000 or unit == 'TB':
      break
    size /= 1000
  return f'{size:.3g} {unit}'
