"""Three cameras over the table top: one at the head, one at each wrist.

Every shape of `scene` lies flat at some height, so a pixel's ray meets its plane in one point, and
the shape's signed distance there says how much of the pixel it covers: exact perspective, smooth
edges, no triangles.
"""

import itertools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax import types
from aloe_jax.envs import scene
from aloe_jax.envs import tabletop_state

HEAD_POSITION = np.array([0.0, -0.65, 1.40], np.float32)
HEAD_LOOKS_AT = np.array([0.0, -0.02, 0.0], np.float32)
HEAD_ZOOM = 0.43  # tangent of half the field of view
WRIST_HEIGHT = 0.20  # of the camera above the fingertips
WRIST_ZOOM = 0.60


@flax.struct.dataclass
class Camera:
  """A pinhole.

  Attributes:
    position: [3] metres.
    right: [3] unit vector, to the right in the image.
    up: [3] unit vector, up in the image.
    zoom: tangent of half the field of view.
  """

  position: jax.Array
  right: jax.Array
  up: jax.Array
  zoom: jax.Array

  def rays(self, size: int) -> jax.Array:
    """[size, size, 3] directions of the pixels, from the top left."""
    grid = self.zoom * ((2.0 * jnp.arange(size) + 1.0) / size - 1.0)
    forward, right, up = (
      axis[None, None] for axis in (jnp.cross(self.up, self.right), self.right, self.up)
    )
    return forward + grid[None, :, None] * right - grid[:, None, None] * up


def head_camera() -> Camera:
  """The fixed camera behind and above the robot's shoulders."""
  forward = HEAD_LOOKS_AT - HEAD_POSITION
  forward /= np.linalg.norm(forward)
  right = np.array([1.0, 0.0, 0.0], np.float32)
  axes = (HEAD_POSITION, right, np.cross(right, forward), HEAD_ZOOM)
  return Camera(*map(jnp.asarray, axes))


def wrist_cameras(state: tabletop_state.State) -> Camera:
  """Both cameras above the grippers, with a leading axis [2]; they look down and turn along."""
  cos, sin, zero = jnp.cos(state.yaw), jnp.sin(state.yaw), jnp.zeros(2)
  return Camera(
    position=state.position + jnp.float32([[0.0, 0.0, WRIST_HEIGHT]]),
    right=jnp.stack([cos, sin, zero], axis=1),
    up=jnp.stack([-sin, cos, zero], axis=1),
    zoom=jnp.full(2, WRIST_ZOOM),
  )


def render(state: tabletop_state.State, size: int) -> dict[str, jax.Array]:
  """Images of one environment, {camera: [size, size, 3] uint8}; callers vmap."""
  shapes = [*scene.table(state), *scene.held(state), *scene.fingers(state)]
  head = _paint(head_camera(), [*shapes, *scene.arms(state)], size)
  wrists = jax.vmap(_paint, in_axes=(0, None, None))(wrist_cameras(state), shapes, size)
  return dict(zip(types.CAMERAS, (head, *wrists), strict=True))


def _paint(camera: Camera, shapes: list[scene.Box | scene.Patch], size: int) -> jax.Array:
  """Paints shapes over each other in their order, [size, size, 3] uint8."""
  rays = camera.rays(size)
  slope = rays[..., :2] / jnp.minimum(rays[..., 2:], -1e-3)  # way on x and y per metre of height
  pixel = 2.0 * camera.zoom / size  # width of a pixel one metre away

  def paint(
    channels: tuple[jax.Array, ...], shape: scene.Box | scene.Patch
  ) -> tuple[tuple[jax.Array, ...], None]:
    fall = shape.height - camera.position[2]
    distance = shape.distance(
      camera.position[0] + slope[..., 0] * fall, camera.position[1] + slope[..., 1] * fall
    )
    opacity = jnp.where(fall < -0.02, shape.alpha, 0.0)  # what is above the lens is not seen
    fade = jnp.maximum(-pixel * fall, 1e-4) + shape.blur
    cover = opacity * jnp.clip(0.5 - distance / fade, 0.0, 1.0)
    return tuple(c + cover * (shape.color[i] - c) for i, c in enumerate(channels)), None

  channels = tuple(jnp.full((size, size), value) for value in scene.FLOOR)
  for _, layers in itertools.groupby(shapes, type):
    channels, _ = jax.lax.scan(paint, channels, jax.tree.map(_stack, *layers))
  return jnp.round(255.0 * jnp.stack(channels, axis=-1)).astype(jnp.uint8)


def _stack(*leaves: jax.Array) -> jax.Array:
  """The same field of several shapes along a leading axis."""
  return jnp.stack([jnp.asarray(leaf, jnp.float32) for leaf in leaves])
