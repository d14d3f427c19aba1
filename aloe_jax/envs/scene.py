"""What a camera would see of the table top: flat coloured shapes at known heights, back to front.

A thing with a thickness is drawn as a dark shape below a bright one, which parallax turns into a
visible side. Lengths in metres, angles in radians, colours RGB in [0, 1].
"""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
import numpy as np

from aloe_jax.envs import tabletop_state

TABLE, FLOOR = (0.80, 0.72, 0.60), (0.25, 0.26, 0.29)
SHADOW, STEEL, DARK = (0.0, 0.0, 0.0), (0.72, 0.74, 0.78), (0.16, 0.17, 0.20)
ARM = ((0.10, 0.45, 0.75), (0.88, 0.42, 0.10))  # left blue, right orange
BOX_HALF_SIZE, BOX_HEIGHT = (0.062, 0.102), 0.03
THICKNESS = {'box': 0.02, 'belt': 0.04, 'shirt': 0.004}  # of the items in each scenery
SHOULDER = np.array([[-0.30, -0.80], [0.30, -0.80]], np.float32)
LEAN = 0.08  # metres the wrist is beside the fingertips at full tilt
FINGER_GAP = 0.045  # from the middle to a finger of the open gripper


@flax.struct.dataclass
class Box:
  """A rounded rectangle lying flat.

  Attributes:
    center: [2] x, y.
    axis: [2] cosine and sine of its turn about the vertical.
    half: [2] half length and half width, rounding included.
    round: [] radius of its corners.
    height: [] above the table.
    color: [3] RGB.
    alpha: [] opacity.
    blur: [] metres over which its edge fades.
  """

  center: jax.Array
  axis: jax.Array
  half: jax.Array
  round: jax.Array
  height: jax.Array
  color: jax.Array
  alpha: jax.Array
  blur: jax.Array

  def distance(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """Signed distance of points of its plane to its edge, negative inside."""
    x, y = x - self.center[0], y - self.center[1]
    along = jnp.abs(self.axis[0] * x + self.axis[1] * y) - self.half[0] + self.round
    across = jnp.abs(self.axis[0] * y - self.axis[1] * x) - self.half[1] + self.round
    outside = jnp.sqrt(jnp.square(jnp.maximum(along, 0.0)) + jnp.square(jnp.maximum(across, 0.0)))
    return outside + jnp.minimum(jnp.maximum(along, across), 0.0) - self.round


@flax.struct.dataclass
class Patch:
  """A convex piece of cloth lying flat.

  Attributes:
    normal: [4, 2] outward unit normals of its edges.
    bound: [4] how far out along its normal each edge lies.
    height: [] above the table.
    color: [3] RGB.
    alpha: [] opacity.
    blur: [] metres over which its edge fades.
  """

  normal: jax.Array
  bound: jax.Array
  height: jax.Array
  color: jax.Array
  alpha: jax.Array
  blur: jax.Array

  def distance(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """Signed distance to its nearest edge line, negative inside."""
    sides = [self.normal[i, 0] * x + self.normal[i, 1] * y - self.bound[i] for i in range(4)]
    return jnp.maximum(jnp.maximum(sides[0], sides[1]), jnp.maximum(sides[2], sides[3]))


def table(state: tabletop_state.State) -> list[Box | Patch]:
  """The table, what stands on it, and the items that nobody holds."""
  shapes: list[Box | Patch] = [_box((0.0, 0.0), 0.0, (0.75, 0.65), 0.0, TABLE)]
  if state.task.scenery == 'box':
    shapes += _box_scenery(state)
  elif state.task.scenery == 'belt':
    shapes += _belt_scenery(state)
  else:
    shapes += _shirt_scenery(state)
  for index in range(len(state.task.items)):
    free = jnp.all(state.held != index)
    shapes += _item(state, jnp.int32(index), 0.0, free)
  return shapes


def held(state: tabletop_state.State) -> list[Box]:
  """What the grippers hold, with its shadow on the table."""
  shapes: list[Box] = []
  for arm in range(2):
    item = jnp.maximum(state.held[arm], 0)
    holds = state.held[arm] >= 0
    half = _half_size(state, item)
    shadow = 0.35 * holds
    pose = state.item[item]
    shapes.append(_box(pose[:2], pose[2], half + 0.01, 0.0, SHADOW, 0.02, shadow, blur=0.03))
    shapes += _item(state, item, jnp.maximum(state.position[arm, 2] - 0.02, 0.0), holds)
  return shapes


def fingers(state: tabletop_state.State) -> list[Box]:
  """Both grippers' fingers, apart by their opening, and the shadows they cast."""
  shapes: list[Box] = []
  for arm in range(2):
    position, yaw, lean = _gripper(state, arm)
    across = jnp.stack([jnp.cos(yaw), jnp.sin(yaw)])
    gap = 0.014 + (FINGER_GAP - 0.014) * state.gripper[arm]
    shapes.append(_box(position[:2], yaw, (0.05, 0.03), 0.0, SHADOW, 0.03, 0.25, blur=0.04))
    for side in (-1.0, 1.0):
      center = position[:2] + side * gap * across
      shapes.append(_box(center, yaw, (0.012, 0.022), position[2], DARK))
      knuckle = center + 0.4 * lean
      shapes.append(_box(knuckle, yaw, (0.009, 0.019), position[2] + 0.02, ARM[arm]))
  return shapes


def arms(state: tabletop_state.State) -> list[Box]:
  """Both arms above their grippers: forearm, wrist and palm; the wrist leans with the tilt."""
  shapes: list[Box] = []
  for arm in range(2):
    position, yaw, lean = _gripper(state, arm)
    wrist = position[:2] + lean
    reach = wrist - SHOULDER[arm]
    length = jnp.linalg.norm(reach)
    middle, direction = SHOULDER[arm] + reach / 2, jnp.arctan2(reach[1], reach[0])
    top = position[2] + 0.07
    shapes += [
      _box(middle, direction, jnp.stack([length / 2, 0.030]), top, DARK, 0.02),
      _box(middle, direction, jnp.stack([length / 2, 0.022]), top + 0.01, STEEL, 0.02),
      _box(wrist, yaw, (0.055, 0.024), top, ARM[arm]),
      _box(wrist, yaw, (0.022, 0.022), top + 0.02, STEEL, 0.022),
    ]
  return shapes


def color(hue: jax.Array, saturation: float = 0.75, value: float = 0.85) -> jax.Array:
  """[3] RGB of a hue in [0, 1)."""
  ramp = jnp.abs((hue + jnp.float32([0.0, 2 / 3, 1 / 3])) % 1.0 * 6.0 - 3.0) - 1.0
  return value * (1.0 - saturation * (1.0 - jnp.clip(ramp, 0.0, 1.0)))


def _box_scenery(state: tabletop_state.State) -> list[Box]:
  """The rigid box that the phone fits into."""
  x, y, yaw = state.target[0]
  center = jnp.stack([x, y])
  half = jnp.float32(BOX_HALF_SIZE)
  return [
    _box(center, yaw, half + 0.014, 0.0, (0.35, 0.33, 0.32)),
    _box(center, yaw, half + 0.012, BOX_HEIGHT, (0.95, 0.94, 0.92)),
    _box(center, yaw, half - 0.004, BOX_HEIGHT, (0.55, 0.53, 0.51)),
  ]


def _belt_scenery(state: tabletop_state.State) -> list[Box]:
  """The belt with its slats behind, a bin for each arm in front."""
  shift = state.target[0, :2] - jnp.float32(state.task.items[0].target[:2])
  y = 0.40 + shift[1]
  shapes = [
    _box((0.0, y), 0.0, (0.66, 0.135), 0.0, STEEL),
    _box((0.0, y), 0.0, (0.66, 0.115), 0.0, (0.24, 0.25, 0.27)),
  ]
  for slat in range(-2, 3):
    shapes.append(_box((0.25 * slat + shift[0], y), 0.0, (0.006, 0.11), 0.0, (0.42, 0.43, 0.45)))
  for x in (-0.38, 0.38):
    shapes.append(_box((x, -0.16), 0.0, (0.185, 0.185), 0.0, (0.30, 0.38, 0.36)))
    shapes.append(_box((x, -0.16), 0.0, (0.165, 0.165), 0.0, (0.62, 0.70, 0.67)))
  return shapes


def _shirt_scenery(state: tabletop_state.State) -> list[Box | Patch]:
  """The shirt as its six points pull it, above the marks where they belong.

  A hem that has been brought up leaves a fold half way to where it lay, and shows the cloth's
  other side; so does a sleeve brought in.
  """
  marks = [
    _box(mark[:2], 0.0, (0.03, 0.03), 0.0, (0.62, 0.54, 0.42), 0.03) for mark in state.target
  ]
  point = state.item[:, :2]
  (left, right), tips, hems = point[:2], point[2:4], point[4:6]
  lay = jnp.float32([item.start[:2] for item in state.task.items[4:6]])
  fold = jnp.where(hems[:, 1:] > lay[:, 1:], (hems + lay) / 2, hems)
  cloth = color(state.hue[0], 0.55, 0.95)
  inside, edge = 0.80 * cloth, 0.62 * cloth
  sleeves = []
  for corner, tip, low in ((left, tips[0], fold[0]), (right, tips[1], fold[1])):
    cuff, armpit = tip + jnp.float32([0.0, 0.05]), 0.55 * corner + 0.45 * low
    sleeves.append(_patch(jnp.stack([corner, cuff, tip, armpit]), inside))
  torso = jnp.stack([left, right, fold[1], fold[0]])
  flap = jnp.stack([fold[0], fold[1], hems[1], hems[0]])
  collar = (left + right) / 2
  return [
    *marks,
    _patch(torso, cloth),
    *sleeves,
    _patch(flap, edge),
    _box(collar, 0.0, (0.05, 0.03), 0.004, edge, 0.03),
  ]


def _item(
  state: tabletop_state.State, index: jax.Array, height: jax.Array | float, alpha: jax.Array
) -> list[Box]:
  """An item lying at `height`: a dark side, a bright top, a mark that shows which way it lies."""
  center, yaw = state.item[index, :2], state.item[index, 2]
  half, paint = _half_size(state, index), color(state.hue[index])
  visible = alpha.astype(jnp.float32)
  screen = jnp.asarray([item.narrow for item in state.task.items])[index]
  inlay = jnp.where(screen, 0.25, 1.3)
  top = height + THICKNESS[state.task.scenery]
  return [
    _box(center, yaw, half, height, 0.5 * paint, alpha=visible),
    _box(center, yaw, half, top, paint, alpha=visible),
    _box(
      center,
      yaw,
      half * jnp.float32([0.7, 0.8]),
      top,
      jnp.minimum(inlay * paint, 1.0),
      alpha=visible,
    ),
  ]


def _half_size(state: tabletop_state.State, index: jax.Array) -> jax.Array:
  """[2] half length and half width of an item."""
  return jnp.float32([item.half_size for item in state.task.items])[index] * state.size[index]


def _gripper(state: tabletop_state.State, arm: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Position [3], yaw [] and lean [2] of the wrist over the fingertips."""
  yaw = state.yaw[arm]
  lean = LEAN * state.tilt[arm] * jnp.stack([-jnp.sin(yaw), jnp.cos(yaw)])
  return state.position[arm], yaw, lean


def _box(
  center: ArrayLike | Sequence[float],
  yaw: ArrayLike,
  half: ArrayLike | Sequence[float],
  height: ArrayLike,
  paint: ArrayLike | Sequence[float],
  corner: ArrayLike = 0.008,
  alpha: ArrayLike = 1.0,
  blur: ArrayLike = 0.0,
) -> Box:
  """A box from numbers or arrays; the fields of `Box` in their order, with its turn."""
  return Box(
    center=jnp.asarray(center),
    axis=jnp.stack([jnp.cos(yaw), jnp.sin(yaw)]),
    half=jnp.asarray(half),
    round=jnp.asarray(corner),
    height=jnp.asarray(height),
    color=jnp.asarray(paint),
    alpha=jnp.asarray(alpha),
    blur=jnp.asarray(blur),
  )


def _patch(corners: jax.Array, paint: jax.Array) -> Patch:
  """A patch of the shirt from its [4, 2] corners in order; two of them may be the same point."""
  edge = jnp.roll(corners, -1, axis=0) - corners
  length = jnp.linalg.norm(edge, axis=1, keepdims=True)
  area = jnp.sum(corners[:, 0] * edge[:, 1] - corners[:, 1] * edge[:, 0]) / 2
  normal = jnp.stack([edge[:, 1], -edge[:, 0]], axis=1) * jnp.sign(area)
  normal = jnp.where(length > 1e-3, normal / jnp.maximum(length, 1e-3), 0.0)
  bound = jnp.sum(normal * corners, axis=1)
  return Patch(
    normal=normal,
    bound=jnp.where(length[:, 0] > 1e-3, bound, 1.0),  # a side without length bounds nothing
    height=jnp.asarray(THICKNESS['shirt']),
    color=paint,
    alpha=(jnp.abs(area) > 5e-3).astype(jnp.float32),
    blur=jnp.asarray(0.0),
  )
