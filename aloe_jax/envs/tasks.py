"""The three tasks as tables: what each item is, where it goes, how exact one has to be.

Lengths are metres, angles radians, seen from above: x to the right, y away from the robot, the
table spans about +-0.7. The tasks follow Appendix D of the paper, shrunk to a table top: a phone
that jams at the rim of its box, a shirt whose folds have an order, bins emptied onto a belt.
"""

import dataclasses

LEFT, RIGHT = 0, 1
ANY_YAW = 4.0  # more than half a turn, whatever the episode's tolerance scale


@dataclasses.dataclass(frozen=True)
class Item:
  """Something one arm has to grasp, carry and place.

  Attributes:
    name: what a person calls it.
    owner: the only arm that handles it, `LEFT` or `RIGHT`.
    start: (x, y, yaw) on the table before the episode's random shift.
    shift: largest random shift of `start` on each axis.
    target: (x, y, yaw) where it belongs before the shift that all targets share.
    grasp_tolerance: distance (m) and yaw error (rad) within which the gripper gets hold of it.
    place_tolerance: distance (m) and yaw error (rad) within which a release counts as placed.
    slip: probability of a drop per step, held at the worst tilt, at full speed.
    half_size: half length and half width (m), for the image.
    after: indices of the items that have to be placed before this one is touched.
    narrow: whether it jams at a rim when it comes down beside its target.
  """

  name: str
  owner: int
  start: tuple[float, float, float]
  shift: tuple[float, float, float]
  target: tuple[float, float, float]
  grasp_tolerance: tuple[float, float]
  place_tolerance: tuple[float, float]
  slip: float
  half_size: tuple[float, float]
  after: tuple[int, ...] = ()
  narrow: bool = False


@dataclasses.dataclass(frozen=True)
class Task:
  """A task: its prompt, its items and its time limit.

  Attributes:
    name: key of the task in `TASKS`.
    prompt: the language instruction, Tables I-III.
    max_steps: an episode that lasts this many steps times out.
    items: what has to be placed; success is all of them placed.
    target_shift: largest random shift (x, y, yaw) of all targets together.
    scenery: what stands on the table: 'box', 'belt' or 'shirt'.
  """

  name: str
  prompt: str
  max_steps: int
  items: tuple[Item, ...]
  target_shift: tuple[float, float, float]
  scenery: str


def _pack_phone() -> Task:
  """Charger and cable, then the phone, which may jam, then the manual, then the lid.

  The paper packs the phone alone. With only two items to carry, demonstrations that are kept
  because they succeeded are so good that imitation starts near 70 %.
  """

  def accessory(
    name: str,
    owner: int,
    start: tuple[float, float],
    target_y: float,
    after: tuple[int, ...] = (),
  ) -> Item:
    return Item(
      name,
      owner,
      start=(*start, 0.0),
      shift=(0.05, 0.05, 0.5),
      target=(0.0, target_y, 0.0),
      grasp_tolerance=(0.048, 0.56),
      place_tolerance=(0.045, 0.40),
      slip=0.042,
      half_size=(0.030, 0.035),
      after=after,
    )

  charger = accessory('charger', LEFT, (-0.46, 0.15), 0.16)
  cable = accessory('cable', RIGHT, (0.46, 0.15), 0.08)
  phone = Item(
    'phone',
    RIGHT,
    start=(0.40, -0.12, 0.0),
    shift=(0.08, 0.10, 0.5),
    target=(0.0, 0.12, 0.0),
    grasp_tolerance=(0.048, 0.56),
    place_tolerance=(0.026, 0.24),
    slip=0.042,
    half_size=(0.045, 0.085),
    after=(0, 1),
    narrow=True,
  )
  manual = accessory('manual', LEFT, (-0.15, -0.36), 0.12, after=(0, 1, 2))
  lid = Item(
    'lid',
    LEFT,
    start=(-0.42, -0.10, 0.0),
    shift=(0.08, 0.10, 0.4),
    target=(0.0, 0.12, 0.0),
    grasp_tolerance=(0.048, 0.64),
    place_tolerance=(0.035, 0.32),
    slip=0.042,
    half_size=(0.065, 0.105),
    after=(0, 1, 2, 3),
  )
  return Task(
    'pack_phone',
    'Place the phone in the container, then cover it with the lid',
    max_steps=280,
    items=(charger, cable, phone, manual, lid),
    target_shift=(0.05, 0.06, 0.4),
    scenery='box',
  )


def _sort_products() -> Task:
  def product(name: str, owner: int, x: float, belt_x: float) -> Item:
    side = -1.0 if owner == LEFT else 1.0
    return Item(
      f'{"left" if owner == LEFT else "right"} {name}',
      owner,
      start=(side * x, -0.16, 0.0),
      shift=(0.025, 0.09, 0.5),
      target=(side * belt_x, 0.40, 0.0),
      grasp_tolerance=(0.035, 0.56),
      place_tolerance=(0.12, ANY_YAW),
      slip=0.022,
      half_size=(0.030, 0.050),
    )

  columns = (('outer', 0.47, 0.42), ('middle', 0.38, 0.29), ('inner', 0.29, 0.16))
  return Task(
    'sort_products',
    'Retrieve the objects from the front bin and place them onto the conveyor belt.',
    max_steps=220,
    items=tuple(product(name, arm, x, belt) for arm in (LEFT, RIGHT) for name, x, belt in columns),
    target_shift=(0.03, 0.03, 0.0),
    scenery='belt',
  )


def _fold_laundry() -> Task:
  def point(
    name: str,
    owner: int,
    start: tuple[float, float],
    target: tuple[float, float],
    place: float,
    after: tuple[int, ...],
  ) -> Item:
    side = -1.0 if owner == LEFT else 1.0
    return Item(
      f'{"left" if owner == LEFT else "right"} {name}',
      owner,
      start=(side * start[0], start[1], 0.0),
      shift=(0.03, 0.03, 0.3),
      target=(side * target[0], target[1], 0.0),
      grasp_tolerance=(0.045, 0.96),
      place_tolerance=(place, ANY_YAW),
      slip=0.040,
      half_size=(0.022, 0.022),
      after=after,
    )

  items = []
  for name, start, target, place, after in (
    ('corner', (0.09, 0.10), (0.22, 0.32), 0.080, ()),
    ('sleeve', (0.46, 0.10), (0.10, 0.10), 0.056, (0, 1)),
    ('hem', (0.22, -0.28), (0.20, 0.22), 0.048, (0, 1, 2, 3)),
  ):
    items += [point(name, arm, start, target, place, after) for arm in (LEFT, RIGHT)]
  return Task(
    'fold_laundry',
    'Fold the t-shirt',
    max_steps=240,
    items=tuple(items),
    target_shift=(0.03, 0.03, 0.0),
    scenery='shirt',
  )


TASKS = {task.name: task for task in (_pack_phone(), _sort_products(), _fold_laundry())}
