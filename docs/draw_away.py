"""Draws images/away.png: what the human does in each of the simulators that others have written.

MUJOCO_GL=egl python docs/draw_away.py

Needs the environment of Meta-World and gym-aloha, with OGBench beside them (`docs/simulators.md`),
and a library to draw with: EGL, or OSMesa by MUJOCO_GL=osmesa.
"""

from collections.abc import Callable
import pathlib
from typing import Any, NamedTuple

import mujoco
import numpy as np
from PIL import Image

from aloe_jax.envs import gymnasium_success
from aloe_jax.envs import gymnasium_task


class View(NamedTuple):
  """A camera: what it looks at (metres), from how far (metres), from where (degrees)."""

  at: tuple[float, float, float]
  distance: float
  azimuth: float
  elevation: float


TASKS = {  # as in `config.sim.task`: where it is looked at from, and steps of an episode
  'metaworld:pick-place-wall-v3': (View((0.0, 0.65, 0.1), 1.25, 155, -28), 150),
  'gym_aloha:transfer_cube': (View((0.0, 0.5, 0.1), 1.25, 90, -35), 120),
  'ogbench:scene-v0': (View((0.45, 0.0, 0.1), 1.3, 180, -35), 120),
}
FRAMES = 5  # of an episode, from its first to its last step
HEIGHT, WIDTH = 240, 320  # pixels
GAP = 4  # pixels between frames


def main() -> None:
  """Writes the picture: a row a simulator."""
  rows = [episode(task, view, steps) for task, (view, steps) in TASKS.items()]
  shape = (len(rows) * (HEIGHT + GAP) - GAP, FRAMES * (WIDTH + GAP) - GAP, 3)
  picture = np.full(shape, 255, np.uint8)
  for i, row in enumerate(rows):
    for j, frame in enumerate(row):
      top, left = i * (HEIGHT + GAP), j * (WIDTH + GAP)
      picture[top : top + HEIGHT, left : left + WIDTH] = frame
  path = pathlib.Path(__file__).parent / 'images' / 'away.png'
  Image.fromarray(picture).quantize(256).save(path, optimize=True)


def episode(task: str, view: View, steps: int) -> list[np.ndarray]:
  """Frames [HEIGHT, WIDTH, 3] of the first episode in which the human succeeds."""
  (env,) = gymnasium_task.Task(task).environments(1)
  for seed in range(32):
    observation, info = env.reset(seed=seed)
    human = env.get_wrapper_attr('make_human')(np.random.default_rng(seed))
    draw = camera(env.unwrapped, view)
    frames = [draw()]
    for _ in range(steps):
      observation, reward, terminated, _, info = env.step(human.act(observation, info))
      frames.append(draw())
      if gymnasium_success.succeeded(float(reward), terminated, info):
        return [frames[k] for k in np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)]
      if terminated:
        break
  raise RuntimeError(f'{task}: the human never succeeded.')


def camera(scene: Any, view: View) -> Callable[[], np.ndarray]:
  """What draws an environment as it is, until its next episode.

  Args:
    scene: MuJoCo's model and data, by themselves or as dm_control keeps them.
    view: of the camera.
  """
  physics = getattr(scene, 'physics', None)
  model, data = (physics.model.ptr, physics.data.ptr) if physics else (scene.model, scene.data)
  model.vis.global_.offheight, model.vis.global_.offwidth = HEIGHT, WIDTH
  renderer, free = mujoco.Renderer(model, HEIGHT, WIDTH), mujoco.MjvCamera()
  free.lookat[:], free.distance = view.at, view.distance
  free.azimuth, free.elevation = view.azimuth, view.elevation

  def draw() -> np.ndarray:
    renderer.update_scene(data, free)
    return renderer.render()

  return draw


if __name__ == '__main__':
  main()
