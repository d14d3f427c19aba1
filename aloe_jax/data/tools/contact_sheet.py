"""Steps of an episode as one image: a row for each step, its cameras side by side."""

import os
import pathlib

from matplotlib import figure

from aloe_jax import plots
from aloe_jax.data.tools import inspection

_EDGE = 2.4  # inches of one camera


def write(path: str | os.PathLike, scene: inspection.Scene) -> None:
  """Draws a scene; the file appears complete or not at all.

  Args:
    path: of the image; its ending names the format, such as `.png`.
    scene: with a camera at least.
  """
  rows, cameras = len(scene.captions), len(scene.frames)
  drawing = figure.Figure(
    figsize=(max(_EDGE * cameras, 5), _EDGE * rows + 0.5), dpi=120, layout='constrained'
  )
  drawing.suptitle(scene.title, fontsize=9, wrap=True)
  grid = drawing.subplots(rows, cameras, squeeze=False)
  for column, (camera, frames) in enumerate(scene.frames.items()):
    grid[0, column].set_title(camera, fontsize=9)
    for row, frame in enumerate(frames):
      axes = grid[row, column]
      axes.set(xticks=[], yticks=[])
      if frame is None:
        axes.text(0.5, 0.5, 'missing', ha='center', va='center', transform=axes.transAxes)
      else:
        axes.imshow(frame)
  for axes, caption in zip(grid[:, 0], scene.captions, strict=True):
    axes.set_ylabel(caption, fontsize=8)
  plots.save(drawing, pathlib.Path(path))
